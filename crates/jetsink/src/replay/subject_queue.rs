//! The events of one subject, as replay reads them from the disk.

use std::collections::VecDeque;

use tokio::time::Instant;
use tracing::warn;

use super::expiry::{Expiry, dead_letter, move_to_dead_letters};
use crate::message::subject::Subject;
use crate::outcome::SpoolError;
use crate::spool::{Place, Reading, Record, Spool};

/// Events read at a time; then the next subject is served.
const CHUNK: usize = 512;

pub(super) struct SubjectQueue {
    subject: Subject,
    /// The index to read from.
    next: u64,
    read: VecDeque<(Place, Record)>,
    /// The events behind those, while they are read from the disk.
    ahead: Option<Reading>,
    pub(super) in_flight: usize,
    /// Whether it is ready or delayed; if not, a result makes it ready again.
    pub(super) is_scheduled: bool,
    /// After a failure: nothing is sent before this time, and then one event at a time.
    pub(super) delayed_until: Option<Instant>,
    probing: bool,
    /// An event failed: reading starts over at the first event once nothing is in flight.
    restart: bool,
}

impl SubjectQueue {
    pub(super) fn new(subject: Subject) -> Self {
        Self {
            subject,
            next: 0,
            read: VecDeque::new(),
            ahead: None,
            in_flight: 0,
            is_scheduled: true,
            delayed_until: None,
            probing: false,
            restart: false,
        }
    }

    pub(super) fn waits(&self, now: Instant) -> bool {
        self.delayed_until.is_some_and(|until| now < until) || self.waits_for_results()
    }

    /// Whether nothing may be sent before the events in flight have their results.
    pub(super) fn waits_for_results(&self) -> bool {
        (self.probing || self.restart) && self.in_flight > 0
    }

    /// Whether the next event of this subject is sent before those of others.
    pub(super) fn continues(&self) -> bool {
        !self.read.is_empty() && !self.probing
    }

    pub(super) fn delivered(&mut self) {
        self.in_flight -= 1;
        self.probing = false;
        self.delayed_until = None;
    }

    /// Reads from the beginning again. Only while nothing is in flight.
    pub(super) fn start_over(&mut self) {
        self.restart = true;
        self.read.clear();
        self.ahead = None;
    }

    pub(super) fn failed(&mut self, delayed_until: Instant) {
        self.in_flight -= 1;
        self.restart = true;
        self.probing = true;
        self.read.clear();
        self.ahead = None;
        self.delayed_until = Some(delayed_until);
    }

    /// Takes the next event to send, which is in flight from now on; `None` if there is none.
    pub(super) async fn next(
        &mut self,
        spool: &Spool,
        expiry: &Expiry,
        reads_ahead: bool,
    ) -> Result<Option<(Place, Record)>, SpoolError> {
        if self.restart {
            self.restart = false;
            self.next = 0;
        }
        loop {
            if self.read.is_empty() {
                self.fill(spool, expiry, reads_ahead).await?;
            }
            let Some((place, record)) = self.read.pop_front() else {
                return Ok(None);
            };
            // A low rate may have delayed it since it was read.
            match expiry.reason(&record, spool.now()) {
                None => {
                    self.in_flight += 1;
                    return Ok(Some((place, record)));
                }
                Some(reason) => {
                    let expired = vec![(dead_letter(record, 0, reason), place)];
                    move_to_dead_letters(spool, &self.subject, expired).await?;
                }
            }
        }
    }

    async fn fill(
        &mut self,
        spool: &Spool,
        expiry: &Expiry,
        reads_ahead: bool,
    ) -> Result<(), SpoolError> {
        let limit = if self.probing { 1 } else { CHUNK };
        loop {
            let reading = self.ahead.take();
            let reading =
                reading.unwrap_or_else(|| spool.begin_reading(&self.subject, self.next, limit));
            let chunk = spool.finish_reading(reading).await?;
            self.next = chunk.next;
            if chunk.more && !self.probing && reads_ahead {
                self.ahead = Some(spool.begin_reading(&self.subject, self.next, limit));
            }
            let now = spool.now();
            let mut expired = Vec::new();
            for (index, bytes, record) in chunk.entries {
                let place = Place {
                    subject: self.subject.clone(),
                    index,
                    bytes,
                };
                match record {
                    Ok(record) => match expiry.reason(&record, now) {
                        None => self.read.push_back((place, record)),
                        Some(reason) => expired.push((dead_letter(record, 0, reason), place)),
                    },
                    Err(damage) => {
                        warn!(subject = %self.subject, index, %damage, "a spooled event is damaged and lost");
                        spool.damaged(place);
                    }
                }
            }
            move_to_dead_letters(spool, &self.subject, expired).await?;
            if !self.read.is_empty() || !chunk.more {
                return Ok(());
            }
        }
    }
}
