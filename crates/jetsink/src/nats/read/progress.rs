//! Keeps the messages that a look-up has read one by one, so that the next one continues behind them.
//!
//! A slow stream is left for a later look-up, and a request over a slow link may get no answer in time.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::grouping::StreamRef;
use crate::sync::lock;

/// The maximum number of messages that are kept of one stream.
const MAX_KEPT: usize = 32_768;

/// The maximum number of streams with kept messages: those that were read last.
const MAX_STREAMS: usize = 8;

/// The part of a message that a look-up needs.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) sequence: u64,
    pub(super) subject: String,
    pub(super) id: Option<String>,
    pub(super) payload_bytes: Option<usize>,
}

/// The messages of a stream, without a gap that was not read.
#[derive(Debug, Default)]
struct Read {
    created: String,
    /// The first sequence number that was asked for.
    from: u64,
    seen: Vec<Seen>,
}

/// The messages that unfinished look-ups have read, by stream; the stream that was read last is at the end.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<VecDeque<(StreamRef, Read)>>);

impl Progress {
    /// Continues a reading of the stream with this creation time from the sequence number `from` on, or begins one.
    /// Without a creation time, nothing is kept: another stream may have the name by then.
    pub(super) fn resume(
        &self,
        stream: &StreamRef,
        created: Option<&str>,
        from: u64,
    ) -> Resumed<'_> {
        let is_known = created.is_some();
        let created = created.unwrap_or_default();
        let kept = self.take(stream);
        let kept = kept.filter(|read| is_known && read.created == created && read.from <= from);
        let mut read = kept.unwrap_or_else(|| Read {
            created: created.to_owned(),
            from,
            seen: Vec::new(),
        });
        read.seen.retain(|seen| seen.sequence >= from);
        read.from = from;
        Resumed {
            kept_in: is_known.then_some(self),
            stream: stream.clone(),
            read,
        }
    }

    fn take(&self, stream: &StreamRef) -> Option<Read> {
        let mut kept = lock(&self.0);
        let index = kept.iter().position(|(of, _)| of == stream)?;
        kept.remove(index).map(|(_, read)| read)
    }

    /// Keeps a reading, in place of the oldest one if there are too many.
    fn keep(&self, stream: StreamRef, read: Read) {
        let mut kept = lock(&self.0);
        kept.retain(|(of, _)| *of != stream);
        if kept.len() == MAX_STREAMS {
            kept.pop_front();
        }
        kept.push_back((stream, read));
    }
}

/// A reading that is kept for the next look-up unless it ends.
pub(super) struct Resumed<'a> {
    /// `None` once nothing is to be kept.
    kept_in: Option<&'a Progress>,
    stream: StreamRef,
    read: Read,
}

impl Resumed<'_> {
    /// The messages that were read before.
    pub(super) fn seen(&self) -> &[Seen] {
        &self.read.seen
    }

    pub(super) fn push(&mut self, seen: Seen) {
        if self.read.seen.len() < MAX_KEPT {
            self.read.seen.push(seen);
        }
    }

    /// The whole stream was read.
    pub(super) fn ended(mut self) {
        self.kept_in = None;
    }
}

impl Drop for Resumed<'_> {
    fn drop(&mut self) {
        let Some(progress) = self.kept_in else { return };
        if self.read.seen.is_empty() {
            return;
        }
        progress.keep(self.stream.clone(), std::mem::take(&mut self.read));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> StreamRef {
        stream_of("S")
    }

    fn stream_of(name: &str) -> StreamRef {
        StreamRef {
            name: name.parse().unwrap(),
            domain: None,
            is_mapped: false,
        }
    }

    fn seen(sequence: u64) -> Seen {
        Seen {
            sequence,
            subject: "a".to_owned(),
            id: None,
            payload_bytes: Some(1),
        }
    }

    /// The sequence numbers that a reading finds read already.
    fn kept(progress: &Progress, created: Option<&str>, from: u64) -> Vec<u64> {
        let resumed = progress.resume(&stream(), created, from);
        resumed.seen().iter().map(|seen| seen.sequence).collect()
    }

    fn read(progress: &Progress, created: Option<&str>, from: u64, to: u64) {
        let mut resumed = progress.resume(&stream(), created, from);
        for sequence in from..=to {
            resumed.push(seen(sequence));
        }
    }

    #[test]
    fn reading_continues_behind_the_messages_of_the_last_one() {
        let progress = Progress::default();
        read(&progress, Some("t"), 5, 7);
        assert_eq!(kept(&progress, Some("t"), 5), [5, 6, 7]);
        assert_eq!(kept(&progress, Some("t"), 6), [6, 7], "a later baseline");
        assert_eq!(kept(&progress, Some("t"), 5), [0; 0], "an earlier baseline");
    }

    #[test]
    fn nothing_is_kept_of_another_stream_or_of_a_reading_that_ended() {
        let progress = Progress::default();
        read(&progress, Some("t"), 5, 7);
        assert_eq!(kept(&progress, Some("u"), 5), [0; 0]);
        read(&progress, None, 5, 7);
        assert_eq!(kept(&progress, None, 5), [0; 0]);
        let mut resumed = progress.resume(&stream(), Some("t"), 5);
        resumed.push(seen(5));
        resumed.ended();
        assert_eq!(kept(&progress, Some("t"), 5), [0; 0]);
    }

    #[test]
    fn first_messages_are_kept_up_to_the_maximum() {
        let progress = Progress::default();
        read(&progress, Some("t"), 1, MAX_KEPT as u64 + 9);
        let kept = kept(&progress, Some("t"), 1);
        assert_eq!(
            (kept.len(), kept.last()),
            (MAX_KEPT, Some(&(MAX_KEPT as u64)))
        );
    }

    /// Eight readings that were never resumed kept every further one from its progress.
    #[test]
    fn reading_of_one_more_stream_replaces_the_oldest() {
        let progress = Progress::default();
        let names: Vec<String> = (0..=MAX_STREAMS).map(|number| number.to_string()).collect();
        let read = |name: &str| {
            let mut resumed = progress.resume(&stream_of(name), Some("t"), 1);
            let is_new = resumed.seen().is_empty();
            resumed.push(seen(1));
            is_new
        };
        assert!(names[..MAX_STREAMS].iter().all(|name| read(name)));
        assert!(!read(&names[0]), "it is kept, and now the newest");
        assert!(read(&names[MAX_STREAMS]));
        assert!(read(&names[1]), "it was the oldest");
        assert!(!read(&names[0]) && !read(&names[MAX_STREAMS]));
        assert_eq!(lock(&progress.0).len(), MAX_STREAMS);
    }
}
