//! A caller of a log that keeps account of each event, and compares the log with it.

use std::collections::BTreeMap;

use bytes::Bytes;
use trial::Dice;

use crate::outcome::{SpoolError, SpoolLoss};
use crate::publisher::baseline::Baseline;
use crate::spool::log::event::NewRecord;
use crate::spool::log::format::State;
use crate::spool::log::marks::Marked;
use crate::spool::log::opening;
use crate::spool::log::reader;
use crate::spool::log::tests::Removed;
use crate::spool::log::tests::events_of;
use crate::spool::log::writer::Log;
use crate::spool::record::DeadRecord;
use crate::spool::record::Record;
use crate::spool::tests::simulated_disk::SimulatedDisk;
use crate::sync::lock;
use crate::{Envelope, MessageId, Subject};

/// Small, so that a history has many segments.
pub(super) const ACCESS: Option<u64> = Some(32 << 10);

const SUBJECTS: [&str; 3] = ["a", "b", "c.d"];

/// The fate of an event, as far as its caller knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Spooled,
    /// A definite error.
    Refused,
    Unknown,
    /// It left; its mark may be missing.
    Going,
    Gone,
    /// Its burial failed.
    Dying,
    /// It left while its burial was in doubt.
    Either,
    Dead,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) events: BTreeMap<u64, (usize, Fate)>,
    pub(super) next: u64,
}

/// The contents of a log, by number of event.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) events: Vec<(u64, Record)>,
    pub(super) letters: Vec<(u64, u64, DeadRecord)>,
    pub(super) damaged: u64,
}

pub(super) fn subject(number: usize) -> Subject {
    Subject::new(SUBJECTS[number]).unwrap()
}

/// Events from this number on have about 200 kB.
pub(super) const LARGE: u64 = 1_000_000;

fn payload(number: u64) -> Bytes {
    let length = match number % 11 {
        _ if number >= LARGE => 200_000 + number as usize % 1_000,
        10 => 9_000 + number as usize * 37 % 3_000,
        n => 40 * n as usize,
    };
    let mut text = format!("event {number} ");
    text.extend(std::iter::repeat_n('x', length));
    text.into()
}

fn number_of(record: &Record) -> u64 {
    let id = record.envelope.message_id().unwrap().as_str();
    id.strip_prefix("sink.").unwrap().parse().unwrap()
}

/// Opens the log of a disk, and reads all of it.
pub(super) fn open(disk: &SimulatedDisk) -> Result<(Log, SpoolLoss), SpoolError> {
    let (log, mut backlog) = opening::open(disk.open(), ACCESS)?;
    backlog.scan();
    let found = read(&log);
    let status = lock(&log.index).status();
    let counted = (status.events, status.dead_letters);
    let read = (found.events.len() as u64, found.letters.len() as u64);
    assert_eq!(counted, read);
    Ok((log, backlog.loss))
}

pub(super) fn read(log: &Log) -> Found {
    let mut found = Found::default();
    let subjects: Vec<Subject> = lock(&log.index).subjects.keys().cloned().collect();
    for subject in subjects {
        let mut next = 0;
        loop {
            let chunk = events_of(&log.index, &subject, next, 7);
            for (index, _, record) in chunk.entries {
                let Ok(record) = record else {
                    found.damaged += 1;
                    continue;
                };
                assert_eq!(record.index, index);
                assert_eq!(record.envelope.subject(), &subject);
                let number = number_of(&record);
                assert_eq!(record.envelope.payload(), &payload(number));
                found.events.push((number, record));
            }
            next = chunk.next;
            if !chunk.more {
                break;
            }
        }
    }
    let chunk = reader::letters(&log.index, 0, usize::MAX);
    for (index, _, letter) in chunk.entries {
        let letter = letter.unwrap();
        assert_eq!(letter.reason, "too large");
        found
            .letters
            .push((number_of(&letter.record), index, letter));
    }
    found
}

impl Model {
    /// One thing that a caller does; returns whether it succeeded.
    pub(super) fn act(&mut self, log: &mut Log, disk: &SimulatedDisk, dice: &mut Dice) -> bool {
        match dice.weighted(&[8, 4, 1, 1, 1, 1, 1]) {
            0 => self.append(log, disk, 1 + dice.index(20), dice),
            1 => self.leave(log, dice.index(3), dice.index(30)),
            2 => self.move_to_dead_letters(log, disk, dice.index(3)),
            3 => self.revive(log, disk),
            4 => log.seal().is_ok(),
            5 => {
                log.rewrite(|_| true);
                true
            }
            _ => {
                let state = State {
                    replay_began: true,
                    baselines: [("S".to_owned(), Baseline::new(self.next))].into(),
                };
                log.set_state(state).is_ok()
            }
        }
    }

    pub(super) fn append(
        &mut self,
        log: &mut Log,
        disk: &SimulatedDisk,
        count: usize,
        dice: &mut Dice,
    ) -> bool {
        let mut records = Vec::new();
        let mut numbers = Vec::new();
        for _ in 0..count {
            let number = self.next;
            self.next += 1;
            let to = dice.index(3);
            let envelope = Envelope::new(subject(to), payload(number))
                .with_message_id(MessageId::new(format!("sink.{number}")).unwrap());
            let record = Record {
                index: 0,
                spooled_at: number,
                may_be_stored: false,
                envelope,
            };
            records.push(NewRecord::event(&record, None));
            numbers.push((number, to));
        }
        let result = log.append_reserved(&records.iter().collect::<Vec<_>>());
        let fate = match &result {
            Ok(()) => Fate::Spooled,
            Err(failed) if failed.in_doubt || disk.is_dead() => Fate::Unknown,
            Err(_) => Fate::Refused,
        };
        for (number, to) in numbers {
            self.events.insert(number, (to, fate));
        }
        result.is_ok()
    }

    pub(super) fn leave(&mut self, log: &mut Log, from: usize, count: usize) -> bool {
        let chunk = events_of(&log.index, &subject(from), 0, count);
        if chunk.failed.is_some() {
            return false;
        }
        let mut left = Vec::new();
        for (index, bytes, record) in chunk.entries {
            let Ok(record) = record else { return false };
            let number = number_of(&record);
            self.set(
                number,
                match self.events[&number].1 {
                    Fate::Dying | Fate::Either => Fate::Either,
                    _ => Fate::Going,
                },
            );
            left.push(Removed {
                subject: Some(subject(from)),
                index,
                bytes,
            });
        }
        let marked = matches!(log.deliver(&left), Ok(Marked::OnDisk));
        if marked {
            for (_, fate) in self.events.values_mut() {
                if *fate == Fate::Going {
                    *fate = Fate::Gone;
                }
            }
        }
        marked
    }

    fn move_to_dead_letters(&mut self, log: &mut Log, disk: &SimulatedDisk, from: usize) -> bool {
        let chunk = events_of(&log.index, &subject(from), 0, 1);
        if chunk.failed.is_some() {
            return false;
        }
        let Some((index, bytes, Ok(record))) = chunk.entries.into_iter().next() else {
            return true;
        };
        let number = number_of(&record);
        let before = self.events[&number].1;
        self.set(number, Fate::Dying);
        let letter = DeadRecord {
            record,
            code: 10_054,
            died_at: 7,
            reason: "too large".to_owned(),
        };
        let result = log.append_reserved(&[&NewRecord::dead_letter(&letter)]);
        match result {
            Ok(()) => {
                self.set(number, Fate::Dead);
                let subject = Some(subject(from));
                let event = Removed {
                    subject,
                    index,
                    bytes,
                };
                log.deliver(&[event]).is_ok()
            }
            Err(failed) => {
                if !failed.in_doubt && !disk.is_dead() {
                    self.set(number, before);
                }
                false
            }
        }
    }

    fn revive(&mut self, log: &mut Log, disk: &SimulatedDisk) -> bool {
        let chunk = reader::letters(&log.index, 0, 1);
        if chunk.failed.is_some() {
            return false;
        }
        let Some((index, bytes, Ok(letter))) = chunk.entries.into_iter().next() else {
            return true;
        };
        let number = number_of(&letter.record);
        let before = self.events[&number].1;
        self.set(number, Fate::Dying);
        match log.append_reserved(&[&NewRecord::event(&letter.record, Some(index))]) {
            Ok(()) => {
                self.set(number, Fate::Spooled);
                let letter = Removed {
                    subject: None,
                    index,
                    bytes,
                };
                log.deliver(&[letter]).is_ok()
            }
            Err(failed) => {
                if !failed.in_doubt && !disk.is_dead() {
                    self.set(number, before);
                }
                false
            }
        }
    }

    fn set(&mut self, number: u64, fate: Fate) {
        self.events.get_mut(&number).unwrap().1 = fate;
    }

    /// Compares a log with the model, and takes its contents as known.
    pub(super) fn check(&mut self, log: &Log) {
        let found = read(log);
        assert_eq!(found.damaged, 0);
        for (number, (to, fate)) in &mut self.events {
            let events = found.events.iter().filter(|(n, _)| n == number);
            let events: Vec<_> = events
                .map(|(_, record)| record.envelope.subject())
                .collect();
            assert!(events.iter().all(|of| **of == subject(*to)));
            let dead = found.letters.iter().filter(|(n, ..)| n == number).count();
            let counts = (events.len(), dead);
            let agrees = match fate {
                Fate::Spooled => counts == (1, 0),
                Fate::Refused | Fate::Gone => counts == (0, 0),
                Fate::Unknown | Fate::Going => counts.0 <= 1 && dead == 0,
                Fate::Dead => counts == (0, 1),
                Fate::Dying => counts.0 + dead == 1,
                Fate::Either => counts.0 + dead <= 1,
            };
            assert!(
                agrees,
                "event {number} was {fate:?}; found {counts:?} as event and letter"
            );
            *fate = match counts {
                (1, 0) => Fate::Spooled,
                (0, 1) => Fate::Dead,
                // Its mark may be in the page cache alone.
                _ if matches!(fate, Fate::Going | Fate::Either) => *fate,
                _ => Fate::Gone,
            };
        }
        let known = |number: &u64| self.events.contains_key(number);
        assert!(found.events.iter().all(|(number, _)| known(number)));
    }
}
