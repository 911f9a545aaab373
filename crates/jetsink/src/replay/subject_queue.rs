//! One subject's events, as replay reads them off the disk.

use std::collections::VecDeque;
use std::time::SystemTime;

use tokio::time::Instant;
use tracing::warn;

use super::expiry::{Expiry, bury, letter};
use crate::message::subject::Subject;
use crate::outcome::SpoolError;
use crate::spool::{Place, Reading, Record, Spool};

/// Events read at a time; then it is the next subject's turn.
const TURN: usize = 512;

/// One subject's events, as far as they are read.
pub(super) struct Lane {
    subject: Subject,
    /// The index to read from.
    next: u64,
    read: VecDeque<(Place, Record)>,
    /// What comes behind, on its way from the disk.
    ahead: Option<Reading>,
    pub(super) in_flight: usize,
    /// Whether it stands in the row, or waits for its time; otherwise a result brings it back.
    pub(super) has_turn: bool,
    /// After a failure: nothing of it goes out before, and then one at a time.
    pub(super) waits_until: Option<Instant>,
    probing: bool,
    /// Something of it failed: read again from its first event once nothing is in flight.
    restart: bool,
}

impl Lane {
    pub(super) fn new(subject: Subject) -> Self {
        Self {
            subject,
            next: 0,
            read: VecDeque::new(),
            ahead: None,
            in_flight: 0,
            has_turn: true,
            waits_until: None,
            probing: false,
            restart: false,
        }
    }

    pub(super) fn waits(&self, now: Instant) -> bool {
        self.waits_until.is_some_and(|until| now < until) || self.waits_for_results()
    }

    /// Whether nothing of it may go out before what is in flight has its result.
    pub(super) fn waits_for_results(&self) -> bool {
        (self.probing || self.restart) && self.in_flight > 0
    }

    /// Whether its turn goes on.
    pub(super) fn goes_on(&self) -> bool {
        !self.read.is_empty() && !self.probing
    }

    pub(super) fn delivered(&mut self) {
        self.in_flight -= 1;
        self.probing = false;
        self.waits_until = None;
    }

    pub(super) fn failed(&mut self, waits_until: Instant) {
        self.in_flight -= 1;
        self.restart = true;
        self.probing = true;
        self.read.clear();
        self.ahead = None;
        self.waits_until = Some(waits_until);
    }

    /// The next to be sent: in flight from now on. `None` where there is no more.
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
            // A slow rate may have held it back since it was read.
            match expiry.reason(&record, SystemTime::now()) {
                None => {
                    self.in_flight += 1;
                    return Ok(Some((place, record)));
                }
                Some(reason) => {
                    let expired = vec![(letter(record, 0, reason), place)];
                    bury(spool, &self.subject, expired).await?;
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
        let limit = if self.probing { 1 } else { TURN };
        loop {
            let reading = self.ahead.take();
            let reading =
                reading.unwrap_or_else(|| spool.begin_reading(&self.subject, self.next, limit));
            let chunk = spool.finish_reading(reading).await?;
            self.next = chunk.next;
            if chunk.more && !self.probing && reads_ahead {
                self.ahead = Some(spool.begin_reading(&self.subject, self.next, limit));
            }
            let now = SystemTime::now();
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
                        Some(reason) => expired.push((letter(record, 0, reason), place)),
                    },
                    Err(damage) => {
                        warn!(subject = %self.subject, index, %damage, "a spooled event is damaged and lost");
                        spool.damaged(place);
                    }
                }
            }
            bury(spool, &self.subject, expired).await?;
            if !self.read.is_empty() || !chunk.more {
                return Ok(());
            }
        }
    }
}
