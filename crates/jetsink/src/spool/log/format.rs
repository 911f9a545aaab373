//! The bytes of a segment file. Pure.
//!
//! A segment is a sequence of records, each aligned to 8 bytes:
//!
//! ```text
//! segment id │ index │ durable below │ replaces │ time │ length │ kind, flags │ crc of body │ crc of head │ body │ 0…
//!     8      │   8   │       8       │    8     │  8   │   4    │      4      │      4      │      4      │      │
//! ```
//!
//! Each record begins with the random segment id, which is in the file name, too. So a reader finds the next
//! record behind damage, and no payload can imitate one.

use std::collections::BTreeMap;

use bytes::{Buf as _, BufMut as _};

use crate::publisher::baseline::{Baseline, Baselines};

/// The version of this layout, in each segment's start record.
pub(crate) const VERSION: u32 = 4;

/// The length of a record without its body.
pub(crate) const HEAD: usize = 56;

/// The bytes that a disk may fail to read, or a power cut may spoil, together. The two copies of a record lie on different pages.
pub(crate) const PAGE: u64 = 4_096;

/// The `replaces` of a record that replaces none.
pub(crate) const NONE: u64 = u64::MAX;

/// The kind of a record. Only the first three take an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An event that waits for its stream.
    Event,
    /// An event that was refused for good. Replaces the event.
    DeadLetter,
    /// The replay marker and the baselines; the latest one holds.
    State,
    /// The first record of a segment, and once more a page behind.
    Start,
    /// Indexes in this segment that have left the spool.
    Delivered,
    /// In a file of its own, when the writer becomes idle; its `durable_below` proves all records.
    Seal,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Event,
        Self::DeadLetter,
        Self::State,
        Self::Start,
        Self::Delivered,
        Self::Seal,
    ];
}

/// A record without its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) index: u64,
    /// All records with a lower index were synced before this one was written.
    pub(crate) durable_below: u64,
    /// The index of a record that this one takes the place of, or [`NONE`].
    pub(crate) replaces: u64,
    /// When the event was spooled, in milliseconds since the Unix epoch.
    pub(crate) time: u64,
    pub(crate) length: u32,
    pub(crate) kind: Kind,
    /// Whether the event was sent before it was spooled, and its outcome is unknown.
    pub(crate) sent: bool,
    pub(crate) body_checksum: u32,
}

impl Head {
    /// A head of `kind` for `body` that replaces nothing.
    pub(crate) fn of(kind: Kind, index: u64, durable_below: u64, body: &[u8]) -> Self {
        Self {
            index,
            durable_below,
            replaces: NONE,
            time: 0,
            length: length(body.len()),
            kind,
            sent: false,
            body_checksum: crc32fast::hash(body),
        }
    }

    pub(crate) fn encode(&self, segment: u64, into: &mut Vec<u8>) {
        let start = into.len();
        into.put_u64_le(segment);
        into.put_u64_le(self.index);
        into.put_u64_le(self.durable_below);
        into.put_u64_le(self.replaces);
        into.put_u64_le(self.time);
        into.put_u32_le(self.length);
        into.put_slice(&[self.kind as u8, u8::from(self.sent), 0, 0]);
        into.put_u32_le(self.body_checksum);
        into.put_u32_le(crc32fast::hash(&into[start..]));
    }

    /// The head at the start of `bytes`, if it is one of `segment`.
    pub(crate) fn decode(mut bytes: &[u8], segment: u64) -> Option<Self> {
        let (head, checksum) = bytes.get(..HEAD)?.split_at(HEAD - 4);
        let found = bytes.get_u64_le();
        if found != segment || checksum != crc32fast::hash(head).to_le_bytes() {
            return None;
        }
        Some(Self {
            index: bytes.get_u64_le(),
            durable_below: bytes.get_u64_le(),
            replaces: bytes.get_u64_le(),
            time: bytes.get_u64_le(),
            length: bytes.get_u32_le(),
            kind: *Kind::ALL.get(usize::from(bytes.get_u8()))?,
            sent: bytes.get_u8() != 0,
            body_checksum: {
                bytes.advance(2);
                bytes.get_u32_le()
            },
        })
    }

    pub(crate) fn has_body(&self, body: &[u8]) -> bool {
        body.len() == self.length as usize && crc32fast::hash(body) == self.body_checksum
    }

    /// The bytes from this record to the next.
    pub(crate) fn size(&self) -> u64 {
        size_of(self.length as usize)
    }
}

/// The size of a record with a body of this length.
pub(crate) fn size_of(body: usize) -> u64 {
    (HEAD + body).next_multiple_of(8) as u64
}

/// Appends a record with its body and padding.
pub(crate) fn put_record(head: &Head, segment: u64, body: &[u8], into: &mut Vec<u8>) {
    head.encode(segment, into);
    into.extend_from_slice(body);
    into.resize(into.len().next_multiple_of(8), 0);
}

/// The replay marker and the baselines, always complete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Whether something in the spool may be stored already.
    pub(crate) replay_began: bool,
    /// By stream: nothing up to this sequence is among the events in the spool.
    pub(crate) baselines: Baselines,
}

impl State {
    /// Everything may be stored, anywhere in each stream.
    pub(crate) fn unknown() -> Self {
        Self {
            replay_began: true,
            baselines: Baselines::new(),
        }
    }

    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        into.put_u8(u8::from(self.replay_began));
        into.put_u32_le(length(self.baselines.len()));
        for (stream, baseline) in &self.baselines {
            put(into, stream.as_bytes());
            into.put_u64_le(baseline.sequence);
            // Neither is empty if it is known.
            for known in [&baseline.domain, &baseline.created] {
                put(into, known.as_deref().unwrap_or("").as_bytes());
            }
        }
    }

    pub(crate) fn decode(rest: &mut &[u8]) -> Option<Self> {
        let replay_began = rest.try_get_u8().ok()? != 0;
        let mut baselines = Baselines::new();
        for _ in 0..rest.try_get_u32_le().ok()? {
            let stream = text(rest)?.to_owned();
            let baseline = Baseline::new(rest.try_get_u64_le().ok()?);
            let mut known = || Some(Some(text(rest)?.to_owned()).filter(|text| !text.is_empty()));
            let baseline = baseline.with_domain(known()?).with_created(known()?);
            baselines.insert(stream, baseline);
        }
        Some(Self {
            replay_began,
            baselines,
        })
    }
}

/// The start record's body. Its head's index is the first of the segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    /// The state when the segment was begun.
    pub(crate) state: State,
    /// The older segments of that moment, by id.
    pub(crate) older: BTreeMap<u64, Range>,
    /// Their indexes that had left without a mark, in order.
    pub(crate) left: Vec<u64>,
}

/// The indexes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u64,
    /// Behind the last one.
    pub(crate) end: u64,
    /// The bytes of its live records, or an upper bound.
    pub(crate) bytes: u64,
}

/// More indexes than a segment can have: 16 MiB of the smallest records are 300,000.
pub(crate) const MAX_INDEXES: u64 = 1 << 20;

impl Range {
    /// This range, if no writer makes it then a part of it.
    pub(crate) fn bounded(self) -> Self {
        let end = self.end.min(self.first.saturating_add(MAX_INDEXES));
        Self { end, ..self }
    }
}

impl Start {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_u32_le(VERSION);
        self.state.encode(&mut body);
        body.put_u32_le(length(self.older.len()));
        for (id, range) in &self.older {
            for number in [*id, range.first, range.end, range.bytes] {
                body.put_u64_le(number);
            }
        }
        body.extend(encode_runs(&self.left));
        body
    }

    /// # Errors
    /// The version, if it is another.
    pub(crate) fn decode(mut rest: &[u8]) -> Result<Option<Self>, u32> {
        match rest.try_get_u32_le() {
            Ok(VERSION) => Ok(Self::decode_fields(&mut rest)),
            Ok(other) => Err(other),
            Err(_) => Ok(None),
        }
    }

    fn decode_fields(rest: &mut &[u8]) -> Option<Self> {
        let state = State::decode(rest)?;
        let mut older = BTreeMap::new();
        for _ in 0..rest.try_get_u32_le().ok()? {
            let mut number = || rest.try_get_u64_le().ok();
            let id = number()?;
            let (first, end, bytes) = (number()?, number()?, number()?);
            older.insert(id, Range { first, end, bytes });
        }
        let left = decode_runs(rest).flat_map(|(first, count)| first..first.saturating_add(count));
        Some(Self {
            state,
            older,
            left: left.take(MAX_INDEXES as usize).collect(),
        })
    }
}

/// The body of a [`Kind::Delivered`] record: runs of `indexes`, which are in order.
pub(crate) fn encode_runs(indexes: &[u64]) -> Vec<u8> {
    let mut body = Vec::new();
    for run in indexes.chunk_by(|a, b| a + 1 == *b) {
        body.put_u64_le(run[0]);
        body.put_u32_le(length(run.len()));
    }
    body
}

/// A mark: these indexes, which are in order, have left.
pub(crate) fn mark(segment: u64, first: u64, durable: u64, indexes: &[u64]) -> Vec<u8> {
    let runs = encode_runs(indexes);
    let head = Head::of(Kind::Delivered, first, durable, &runs);
    let mut bytes = Vec::new();
    put_record(&head, segment, &runs, &mut bytes);
    bytes
}

/// The runs as first index and count.
pub(crate) fn decode_runs(body: &[u8]) -> impl Iterator<Item = (u64, u64)> {
    let runs = body.chunks_exact(12);
    runs.map(|mut run| (run.get_u64_le(), u64::from(run.get_u32_le())))
}

/// No part of a record comes near 4 GiB: the broker's own limit is 64 MiB.
pub(crate) fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

pub(crate) fn put(into: &mut Vec<u8>, part: &[u8]) {
    into.put_u32_le(length(part.len()));
    into.extend_from_slice(part);
}

pub(crate) fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(rest.try_get_u32_le().ok()?).ok()?;
    let (part, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    std::str::from_utf8(part).ok()
}
