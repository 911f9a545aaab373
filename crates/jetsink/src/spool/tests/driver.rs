//! A caller of a spool on a simulated disk: appends, reads, lets leave and buries, and keeps a ledger of
//! the results.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use trial::Dice;

use crate::outcome::SpoolError;
use crate::spool::tests::ledger::{Fate, Ledger, number_of, payload};
use crate::spool::tests::simulated_disk::SimulatedDisk;
use crate::spool::{Baseline, Baselines, DeadRecord, Place, Spool};
use crate::{Envelope, MessageId, Subject};

const SUBJECTS: [&str; 3] = ["a", "b", "c.d"];

/// One thing that it does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Append {
        subject: usize,
        sent_before: bool,
    },
    /// The oldest of a subject leave.
    Leave {
        subject: usize,
        count: usize,
    },
    /// The oldest of a subject dies.
    Bury {
        subject: usize,
    },
    ReplayBegins,
}

impl Act {
    pub(super) fn rolled(dice: &mut Dice) -> Self {
        let subject = dice.index(SUBJECTS.len());
        match dice.weighted(&[8, 3, 1, 1]) {
            0 => Self::Append {
                subject,
                sent_before: dice.once_in(5),
            },
            1 => Self::Leave {
                subject,
                count: 1 + dice.index(6),
            },
            2 => Self::Bury { subject },
            _ => Self::ReplayBegins,
        }
    }
}

pub(super) struct Driver {
    pub(super) disk: SimulatedDisk,
    pub(super) ledger: Ledger,
    next: u64,
    runtime: Runtime,
}

impl Driver {
    pub(super) fn new() -> Self {
        Self {
            disk: SimulatedDisk::default(),
            ledger: Ledger::default(),
            next: 0,
            runtime: Builder::new_current_thread().enable_time().build().unwrap(),
        }
    }

    pub(super) fn open(&self) -> Result<Spool, SpoolError> {
        Spool::at_once(self.disk.open(), 1 << 30)
    }

    /// Acts, and returns the result.
    pub(super) fn act(&mut self, spool: &Spool, act: Act) -> Result<(), SpoolError> {
        match act {
            Act::Append {
                subject,
                sent_before,
            } => self.append(spool, subject, sent_before),
            Act::Leave { subject, count } => self.leave(spool, subject, count),
            Act::Bury { subject } => self.move_to_dead_letters(spool, subject),
            Act::ReplayBegins => {
                let baselines = Baselines::from([("S".to_owned(), Baseline::new(self.next))]);
                self.runtime.block_on(spool.replay_begins(&baselines))
            }
        }
    }

    fn append(
        &mut self,
        spool: &Spool,
        subject: usize,
        sent_before: bool,
    ) -> Result<(), SpoolError> {
        let number = self.next;
        self.next += 1;
        let subject = subject_of(subject);
        let envelope = Envelope::new(subject.clone(), payload(number))
            .with_message_id(MessageId::new(format!("sink.{number}")).unwrap());
        let sent = Baselines::from([("S".to_owned(), Baseline::new(number))]);
        let sent = sent_before.then_some(&sent);
        let deadline = Instant::now() + Duration::from_secs(600);
        let append = spool.append_event(&envelope, sent, deadline);
        let result = self.runtime.block_on(append);
        let fate = match &result {
            Ok(()) => Fate::Spooled,
            Err(error) if error.may_be_spooled() || self.disk.is_dead() => Fate::Unknown,
            Err(_) => Fate::Refused,
        };
        self.ledger.0.insert(number, (subject, fate));
        result
    }

    fn oldest(
        &self,
        spool: &Spool,
        subject: &Subject,
        count: usize,
    ) -> Result<Vec<(u64, Place, crate::spool::Record)>, SpoolError> {
        let chunk = self.runtime.block_on(spool.read_from(subject, 0, count))?;
        let entries = chunk.entries.into_iter().take(count);
        let entries = entries.map(|(index, bytes, record)| {
            let record = record.unwrap();
            let number = number_of(record.envelope.message_id().unwrap().as_str());
            let subject = subject.clone();
            let place = Place {
                subject,
                index,
                bytes,
            };
            (number, place, record)
        });
        Ok(entries.collect())
    }

    fn leave(&mut self, spool: &Spool, subject: usize, count: usize) -> Result<(), SpoolError> {
        let subject = subject_of(subject);
        for (number, place, _) in self.oldest(spool, &subject, count)? {
            if self.ledger.note(number, Fate::Going) == Fate::Dying {
                self.ledger.note(number, Fate::Either);
            }
            spool.delivered(&place);
        }
        let removed = self
            .runtime
            .block_on(spool.remove_delivered(&Baselines::new()));
        // Without room the marks are in memory.
        let is_marked = |spool: &Spool| {
            let index = spool.index.lock().unwrap();
            index
                .segments
                .values()
                .all(|segment| segment.unmarked.is_empty())
        };
        if removed.is_ok() && is_marked(spool) {
            // Those of an earlier failure too.
            for subject in SUBJECTS.map(|name| Subject::new(name).unwrap()) {
                for number in self.ledger.of(&subject, Fate::Going) {
                    self.ledger.note(number, Fate::Gone);
                }
            }
        }
        removed
    }

    fn move_to_dead_letters(&mut self, spool: &Spool, subject: usize) -> Result<(), SpoolError> {
        let subject = subject_of(subject);
        let Some((number, place, record)) = self.oldest(spool, &subject, 1)?.pop() else {
            return Ok(());
        };
        let before = self.ledger.note(number, Fate::Dying);
        let letter = DeadRecord {
            record,
            code: 10_054,
            died_at: number,
            reason: "too large".to_owned(),
        };
        let buried = self
            .runtime
            .block_on(spool.move_to_dead_letters(vec![(letter, place)]));
        match &buried {
            Ok(()) => self.ledger.note(number, Fate::Buried),
            Err(error) if error.may_be_spooled() || self.disk.is_dead() => Fate::Dying,
            Err(_) => self.ledger.note(number, before),
        };
        buried
    }
}

fn subject_of(number: usize) -> Subject {
    Subject::new(SUBJECTS[number]).unwrap()
}
