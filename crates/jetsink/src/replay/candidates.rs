//! The events that may be stored, and those of them that a look-up finds.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::Bytes;

use crate::message::envelope::Envelope;
use crate::message::subject::Subject;
use crate::outcome::SpoolError;
use crate::publisher::look_up::StoredId;
use crate::publisher::window::MAX_WINDOW;
use crate::spool::{Chunk, Place, Spool, Unread, Unreconciled};

/// Replay waits for the disk with this many delivered events still on it.
pub(crate) const MAX_DELIVERED: usize = 16_384;

/// The maximum number of events of a subject in flight, or acknowledged and not yet removed.
pub(crate) const MAX_SENT: usize = 2 * MAX_WINDOW + MAX_DELIVERED;

/// Records read at a time; only their ids are kept.
const CHUNK: usize = 512;

/// The maximum bytes of the payloads in [`Candidates::oldest`].
const MAX_PAYLOADS: usize = 16 << 20;

/// The newest ids of a subject that are remembered besides those of candidates.
const MAX_OTHERS: usize = 64;

/// The length of the random part of a minted id, which is followed by a dot and a number.
const MINTED: usize = 22;

/// An event that may be stored.
#[derive(Debug)]
struct Candidate {
    place: Place,
    /// `None` if its stream stores another payload.
    payload_bytes: Option<usize>,
    /// Whether it was sent, as far as is known.
    was_sent: bool,
}

#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// By message id. An id has two if a caller emitted the event again.
    by_id: HashMap<String, Vec<Candidate>>,
    found: Vec<Place>,
    /// Other ids that are stored under a subject, the newest last.
    others: HashMap<Subject, VecDeque<String>>,
    /// The oldest event of each subject, which a look-up may send again. Past [`MAX_PAYLOADS`] the payloads are empty.
    pub(super) oldest: Vec<Envelope>,
    /// Subjects with events that could not be read.
    pub(super) unread: Vec<Subject>,
}

impl Candidates {
    /// Reads the first events of each subject, which replay may have sent, and those that were sent before they
    /// were spooled, which may be behind newer events of other callers.
    pub(super) async fn read(
        spool: &Spool,
        subjects: &[Subject],
        unreconciled: &Unreconciled,
    ) -> Result<Self, SpoolError> {
        let mut candidates = Self::default();
        // By subject: the number of its events, and the oldest one that is a candidate.
        let mut read: Vec<(usize, Option<Envelope>)> = vec![(0, None); subjects.len()];
        let mut room = MAX_PAYLOADS;
        let mut visit = |number: usize, chunk: Chunk| {
            let subject = &subjects[number];
            let (read, first) = &mut read[number];
            let last_sent = unreconciled.last_sent(subject);
            if chunk.failed.is_some() {
                candidates.unread.push(subject.clone());
            }
            for (index, bytes, record) in chunk.entries {
                // A damaged event has no id; replay reports it.
                let Ok(record) = record else { continue };
                *read += 1;
                if let Some(id) = record.envelope.message_id()
                    && (*read <= MAX_SENT || record.may_be_stored)
                {
                    let candidate = Candidate {
                        place: Place {
                            subject: subject.clone(),
                            index,
                            bytes,
                        },
                        payload_bytes: stored_payload_bytes(&record.envelope),
                        was_sent: record.may_be_stored || index <= last_sent,
                    };
                    let of_id = candidates.by_id.entry(id.as_str().to_owned()).or_default();
                    of_id.push(candidate);
                    first.get_or_insert_with(|| detached(record.envelope, &mut room));
                }
            }
            *read < MAX_SENT || chunk.next <= last_sent
        };
        let mut unread = Unread::new(subjects, CHUNK);
        while spool.read_next(&mut unread, &mut visit).await? {}
        candidates.oldest = read.into_iter().filter_map(|(_, first)| first).collect();
        Ok(candidates)
    }

    /// A message with this id is stored.
    pub(super) fn stored(&mut self, stored: StoredId<'_>) {
        let Some(candidates) = self.by_id.get_mut(stored.id) else {
            if let Some(subject) = stored.captured.get(stored.subject) {
                let others = self.others.entry(subject.clone()).or_default();
                if others.len() == MAX_OTHERS {
                    others.pop_front();
                }
                others.push_back(stored.id.to_owned());
            }
            return;
        };
        // Another stream may have an event with the same id, or another process that shares the sink's state.
        let of_stream = |candidate: &mut Candidate| {
            let sizes = stored.payload_bytes.zip(candidate.payload_bytes);
            stored.captured.contains(&candidate.place.subject)
                && sizes.is_none_or(|(stored, sent)| stored == sent)
        };
        let found = candidates.extract_if(.., of_stream);
        let found = found.inspect(|candidate| stored.is_event_of(&candidate.place.subject));
        self.found.extend(found.map(|candidate| candidate.place));
    }

    /// The events that are stored.
    pub(super) fn found(&self) -> &[Place] {
        &self.found
    }

    /// Takes out the events whose id an earlier event of their subject has, too. That one was just read, is
    /// intact, and is sent.
    pub(super) fn take_twins(&mut self, is_read: impl Fn(&Subject) -> bool) -> Vec<Place> {
        let mut twins = Vec::new();
        for candidates in self.by_id.values_mut() {
            if candidates.len() < 2 {
                continue;
            }
            let mut seen = HashSet::new();
            let is_twin = |candidate: &mut Candidate| {
                let subject = &candidate.place.subject;
                is_read(subject) && !seen.insert(subject.clone())
            };
            twins.extend(candidates.extract_if(.., is_twin).map(|twin| twin.place));
        }
        twins
    }

    /// Takes the events of these subjects out that are obsolete: the stream keeps `kept` messages per subject, and
    /// has at least that number of later events of their subject.
    pub(super) fn take_obsolete(&mut self, subjects: &HashSet<&Subject>, kept: u64) -> Vec<Place> {
        let mut stored: HashMap<&Subject, Vec<u64>> = HashMap::new();
        for place in &self.found {
            stored.entry(&place.subject).or_default().push(place.index);
        }
        for indexes in stored.values_mut() {
            indexes.sort_unstable();
        }
        let others = &self.others;
        let mut obsolete = Vec::new();
        for (id, candidates) in &mut self.by_id {
            let is_obsolete = |candidate: &mut Candidate| {
                let subject = &candidate.place.subject;
                if !subjects.contains(subject) || !candidate.was_sent {
                    return false;
                }
                let later = stored.get(subject).map_or(0, |indexes| {
                    indexes.len() - indexes.partition_point(|at| *at <= candidate.place.index)
                });
                let newer = others.get(subject).into_iter().flatten();
                let newer = newer.filter(|other| is_minted_after(other, id)).count();
                (later + newer) as u64 >= kept
            };
            let taken = candidates.extract_if(.., is_obsolete);
            obsolete.extend(taken.map(|candidate| candidate.place));
        }
        obsolete
    }

    /// The indexes of the events of each of these subjects that were sent, and were not found.
    pub(super) fn in_doubt(&self, subjects: &HashSet<&Subject>) -> HashMap<Subject, Vec<u64>> {
        let mut in_doubt: HashMap<Subject, Vec<u64>> = HashMap::new();
        for candidate in self.by_id.values().flatten() {
            let subject = &candidate.place.subject;
            if candidate.was_sent && subjects.contains(subject) {
                let indexes = in_doubt.entry(subject.clone()).or_default();
                indexes.push(candidate.place.index);
            }
        }
        in_doubt
    }
}

/// The size of the payload under which a stream stores the event. A counter stream stores its total instead.
fn stored_payload_bytes(event: &Envelope) -> Option<usize> {
    let mut headers = event.headers().iter();
    let is_increment = headers.any(|(name, _)| name == "Nats-Incr");
    (!is_increment).then(|| event.payload().len())
}

/// Copies the payload if it fits into `room`, and drops it otherwise: it shares the memory of a whole read of the disk.
fn detached(envelope: Envelope, room: &mut usize) -> Envelope {
    let payload = match room.checked_sub(envelope.payload().len()) {
        Some(left) => {
            *room = left;
            Bytes::copy_from_slice(envelope.payload())
        }
        None => Bytes::new(),
    };
    envelope.with_payload(payload)
}

/// Whether one sink minted both ids, this one later. Ids of callers are in no order.
fn is_minted_after(id: &str, other: &str) -> bool {
    fn parts(id: &str) -> Option<(&str, u64)> {
        let (prefix, number) = id.rsplit_once('.')?;
        // A sink id may precede the random part.
        let random = prefix.rsplit('.').next()?;
        let is_random =
            random.len() == MINTED && random.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_random.then_some(())?;
        Some((prefix, number.parse().ok()?))
    }
    match (parts(id), parts(other)) {
        (Some((prefix, number)), Some((other, before))) => prefix == other && number > before,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(indexes: &[u64]) -> Candidates {
        let subject = Subject::new("a").unwrap();
        let mut candidates = Candidates::default();
        for index in indexes {
            let place = Place {
                subject: subject.clone(),
                index: *index,
                bytes: 1,
            };
            let candidate = Candidate {
                place,
                payload_bytes: Some(1),
                was_sent: true,
            };
            let id = format!("AAAAAAAAAAAAAAAAAAAAAA.{index}");
            candidates.by_id.entry(id).or_default().push(candidate);
        }
        candidates
    }

    fn obsolete(candidates: &mut Candidates, kept: u64) -> Vec<u64> {
        let subject = Subject::new("a").unwrap();
        let taken = candidates.take_obsolete(&HashSet::from([&subject]), kept);
        let mut taken: Vec<u64> = taken.into_iter().map(|place| place.index).collect();
        taken.sort_unstable();
        taken
    }

    #[test]
    fn event_is_obsolete_if_enough_later_ones_of_its_subject_are_stored() {
        let subject = Subject::new("a").unwrap();
        let captured = HashSet::from([subject.clone()]);
        let store = |candidates: &mut Candidates, number: u64| {
            let id = format!("AAAAAAAAAAAAAAAAAAAAAA.{number}");
            candidates.stored(StoredId::new(&captured, "a", &id));
        };
        let mut some = candidates(&[1, 2, 3, 4]);
        store(&mut some, 3);
        assert_eq!(obsolete(&mut some, 2), Vec::<u64>::new());
        assert_eq!(obsolete(&mut some, 1), [1, 2]);
        // A later one of the sink that has left the spool.
        let mut some = candidates(&[1, 2, 4]);
        store(&mut some, 3);
        assert_eq!(obsolete(&mut some, 1), [1, 2]);
        let in_doubt = some.in_doubt(&HashSet::from([&subject]));
        assert_eq!(in_doubt[&subject].len(), 1);
        // One of another publisher says nothing.
        let mut some = candidates(&[1]);
        some.stored(StoredId::new(&captured, "a", "other.3"));
        assert_eq!(obsolete(&mut some, 1), Vec::<u64>::new());
    }

    #[test]
    fn event_of_another_size_is_another_event() {
        let captured = HashSet::from([Subject::new("a").unwrap()]);
        let mut some = candidates(&[1]);
        for (bytes, found) in [(Some(2), 0), (Some(1), 1)] {
            let id = format!("{}.1", "A".repeat(MINTED));
            some.stored(StoredId::new(&captured, "a", &id).with_payload_bytes(bytes));
            assert_eq!(some.found().len(), found);
        }
    }

    #[test]
    fn ids_of_callers_are_in_no_order() {
        let random = "A".repeat(MINTED);
        let after = |id: &str, other: &str| is_minted_after(id, other);
        assert!(after(&format!("{random}.10"), &format!("{random}.9")));
        assert!(!after(&format!("{random}.9"), &format!("{random}.10")));
        assert!(!after("order.10", "order.9"));
        assert!(!after(
            &format!("{random}.10"),
            &format!("B{}.9", &random[1..])
        ));
    }

    #[test]
    fn id_is_minted_later_only_by_the_same_sink_with_or_without_an_id_of_its_own() {
        let (random, other) = ("A".repeat(MINTED), "B".repeat(MINTED));
        for prefix in [
            random.clone(),
            format!("me.{random}"),
            format!("a.b.{random}"),
        ] {
            let later = |id: &str| is_minted_after(id, &format!("{prefix}.7"));
            assert!(later(&format!("{prefix}.8")));
            assert!(!later(&format!("{prefix}.7")));
            assert!(!later(&format!("me.{other}.8")));
        }
        let of_caller = "C".repeat(32);
        assert!(!is_minted_after(
            &format!("{of_caller}.2"),
            &format!("{of_caller}.1")
        ));
    }
}
