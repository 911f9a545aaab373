//! The progress of replay through the events of one subject. Pure.
//!
//! Invariants:
//! 1. Events are read, and then sent, in the order of the log. Each failure and each look-up begins an epoch, and events
//!    that were read before it are not sent.
//! 2. After a failure events are read again from the first one, once nothing is in flight, and are sent one at a
//!    time until one is stored.

use tokio::time::Instant;

use crate::message::subject::Subject;

/// The state of a subject in the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// In the schedule, ready or delayed.
    Scheduled,
    /// Events are being read from the disk.
    Reading,
    /// All its events are sent or read, or it must be reconciled. A result, a look-up or a new event makes it
    /// ready again.
    Idle,
}

#[derive(Debug)]
pub(super) struct SubjectQueue {
    pub(super) subject: Subject,
    pub(super) turn: Turn,
    /// Events that were read in another epoch are not sent.
    pub(super) epoch: u64,
    /// The index to read from.
    pub(super) next: u64,
    /// Whether there may be events behind `next`.
    pub(super) has_more: bool,
    /// Events that were read and not sent.
    pub(super) read: usize,
    pub(super) in_flight: usize,
    /// After a failure: nothing is sent before this time.
    pub(super) delayed_until: Option<Instant>,
    probing: bool,
    restarts: bool,
}

impl SubjectQueue {
    /// A subject whose events may all be unread.
    pub(super) fn new(subject: Subject, epoch: u64) -> Self {
        Self {
            subject,
            turn: Turn::Scheduled,
            epoch,
            next: 0,
            has_more: true,
            read: 0,
            in_flight: 0,
            delayed_until: None,
            probing: false,
            restarts: false,
        }
    }

    /// Whether nothing may be read before the events that were read and sent have their results.
    pub(super) fn waits_for_results(&self) -> bool {
        (self.probing || self.restarts) && self.read + self.in_flight > 0
    }

    pub(super) fn is_done(&self) -> bool {
        !self.has_more && self.read + self.in_flight == 0
    }

    /// Begins to read; returns the index to read from, and the maximum number of events.
    pub(super) fn begin_reading(&mut self) -> (u64, usize) {
        self.turn = Turn::Reading;
        self.restarts = false;
        self.has_more = false;
        (self.next, if self.probing { 1 } else { usize::MAX })
    }

    pub(super) fn sent(&mut self) {
        self.read -= 1;
        self.in_flight += 1;
    }

    pub(super) fn delivered(&mut self) {
        self.in_flight -= 1;
        self.probing = false;
        self.delayed_until = None;
    }

    /// Reads from the beginning again, once nothing is in flight.
    pub(super) fn start_over(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.next = 0;
        self.has_more = true;
        self.read = 0;
        self.restarts = true;
        if self.turn == Turn::Reading {
            self.turn = Turn::Idle;
        }
    }

    pub(super) fn failed(&mut self, epoch: u64, delayed_until: Instant) {
        self.in_flight -= 1;
        self.probing = true;
        self.delayed_until = Some(delayed_until);
        self.start_over(epoch);
    }
}
