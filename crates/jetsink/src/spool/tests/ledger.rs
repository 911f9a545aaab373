//! The results of the calls of a spool, compared with the file.

use std::collections::BTreeMap;

use crate::Subject;
use crate::spool::log::reader;
use crate::spool::log::tests::events_of;
use crate::spool::{DeadRecord, Spool};

/// The fate of one event, as far as the results show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Told Ok: there.
    Spooled,
    /// An append returned that it is not spooled.
    Refused,
    /// Unknown: spooled or not.
    Unknown,
    /// Its removal returned Ok.
    Gone,
    /// Its removal returned an error: pending, or gone.
    Going,
    /// Its burial returned Ok: a dead letter.
    Buried,
    /// Its burial returned an error: pending, or a dead letter.
    Dying,
    /// It left while its burial was in doubt.
    Either,
}

/// Events by their number, which is in their id and payload.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(pub(super) BTreeMap<u64, (Subject, Fate)>);

impl Ledger {
    /// Returns the fate before.
    pub(super) fn note(&mut self, number: u64, fate: Fate) -> Fate {
        std::mem::replace(&mut self.0.get_mut(&number).unwrap().1, fate)
    }

    /// Those of one fate, by subject and in their order.
    pub(super) fn of(&self, subject: &Subject, wanted: Fate) -> Vec<u64> {
        let events = self.0.iter();
        let events = events.filter(|(_, (of, fate))| of == subject && *fate == wanted);
        events.map(|(number, _)| *number).collect()
    }

    /// Compares the file with the results, and then takes its content for known.
    pub(super) fn check(&mut self, spool: &Spool) {
        let (mut there, mut dead) = (Vec::new(), Vec::new());
        for subject in self.subjects() {
            let before = there.len();
            let chunk = all_events(spool, &subject);
            for record in chunk {
                let number = number_of(record.envelope.message_id().unwrap().as_str());
                assert_eq!(record.envelope.payload(), &payload(number));
                assert_eq!(record.envelope.subject(), &subject);
                there.push(number);
            }
            assert!(there[before..].is_sorted(), "out of order: {there:?}");
        }
        for (_, _, letter) in reader::letters(&spool.index, 0, usize::MAX).entries {
            let DeadRecord { record, .. } = letter.unwrap();
            dead.push(number_of(record.envelope.message_id().unwrap().as_str()));
        }
        for (number, (_, fate)) in &mut self.0 {
            let (is_there, is_dead) = (
                there.iter().filter(|n| *n == number).count(),
                dead.iter().filter(|n| *n == number).count(),
            );
            let agrees = match fate {
                Fate::Spooled => (is_there, is_dead) == (1, 0),
                Fate::Refused | Fate::Gone => (is_there, is_dead) == (0, 0),
                Fate::Unknown | Fate::Going => is_there <= 1 && is_dead == 0,
                Fate::Buried => (is_there, is_dead) == (0, 1),
                Fate::Dying => is_there + is_dead == 1,
                Fate::Either => is_there + is_dead <= 1,
            };
            assert!(
                agrees,
                "event {number} was {fate:?}, and is there {is_there} times, dead {is_dead} times"
            );
            *fate = match (is_there, is_dead) {
                (1, 0) => Fate::Spooled,
                (0, 1) => Fate::Buried,
                _ => Fate::Gone,
            };
        }
        let known = |number: &u64| self.0.contains_key(number);
        assert!(there.iter().chain(&dead).all(known), "an invented event");
    }

    fn subjects(&self) -> Vec<Subject> {
        let mut subjects: Vec<Subject> = self.0.values().map(|(s, _)| s.clone()).collect();
        subjects.sort_unstable();
        subjects.dedup();
        subjects
    }
}

pub(super) fn number_of(id: &str) -> u64 {
    id.strip_prefix("sink.").unwrap().parse().unwrap()
}

/// An event's payload: some short, some over several pages.
pub(super) fn payload(number: u64) -> bytes::Bytes {
    let length = match number % 11 {
        10 => 9_000 + number as usize,
        n => 40 * n as usize,
    };
    let mut text = format!("event {number} ");
    text.extend(std::iter::repeat_n('x', length));
    text.into()
}

fn all_events(spool: &Spool, subject: &Subject) -> Vec<crate::spool::Record> {
    let (mut events, mut next) = (Vec::new(), 0);
    loop {
        let chunk = events_of(&spool.index, subject, next, 1_000);
        events.extend(
            chunk
                .entries
                .into_iter()
                .map(|(_, _, record)| record.unwrap()),
        );
        next = chunk.next;
        if !chunk.more {
            return events;
        }
    }
}
