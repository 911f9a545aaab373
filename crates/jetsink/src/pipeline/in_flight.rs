//! The envelopes of a pipeline that are on their way to the broker.
//!
//! Invariants:
//! 1. `count` is the number of entries in flight.
//! 2. All of them were sent over one connection: the window changes only while none is in flight.
//! 3. `subjects`, while it is kept, has the subjects of exactly these entries.

use std::task::{Context, Poll};

use tokio::sync::watch;
use tokio::time::Instant;

use super::entry::Entry;
use super::queue::Queue;
use super::subjects::Counts;
use crate::message::subject::Subject;
use crate::publisher::window::{Window, WindowResult};
use crate::publisher::{ConnectionState, Publisher};

pub(super) struct InFlightSet<'a> {
    window: Option<Box<dyn Window + 'a>>,
    count: usize,
    /// Kept only while the spool contains events or a subject is delayed.
    subjects: Option<Counts>,
    connection: Option<watch::Receiver<ConnectionState>>,
    /// The number of the connection of the window.
    connection_in_use: Option<u64>,
}

impl<'a> InFlightSet<'a> {
    pub(super) fn new(connection: Option<watch::Receiver<ConnectionState>>) -> Self {
        Self {
            window: None,
            count: 0,
            subjects: None,
            connection,
            connection_in_use: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Opens a window over the current connection, unless envelopes are in flight over another one.
    #[inline]
    pub(super) fn follow_connection<P: Publisher>(&mut self, publisher: &'a P) {
        if self.is_empty() {
            self.open_window(publisher);
        }
    }

    fn open_window<P: Publisher>(&mut self, publisher: &'a P) {
        let connection = self.connection.as_ref();
        let current = connection.map(|connection| connection.borrow().number);
        if self.window.is_none() || current != self.connection_in_use {
            self.connection_in_use = current;
            self.window = Some(publisher.window(current));
        }
    }

    /// Sends an entry whose flight has begun.
    #[inline]
    pub(super) fn send(&mut self, number: u64, entry: &Entry<'a>, deadline: Instant) {
        let Some(window) = &mut self.window else {
            return; // each round begins with `follow_connection`
        };
        if let Some(subjects) = &mut self.subjects {
            subjects.add(entry.envelope.subject());
        }
        window.send(number, &entry.envelope, deadline);
        self.count += 1;
    }

    #[inline]
    pub(super) fn poll_result(&mut self, context: &mut Context<'_>) -> Poll<WindowResult> {
        match &mut self.window {
            Some(window) => window.poll_result(context),
            None => Poll::Pending,
        }
    }

    /// An entry of this subject is in flight no longer.
    #[inline]
    pub(super) fn landed(&mut self, subject: &Subject) {
        self.count -= 1;
        if let Some(subjects) = &mut self.subjects {
            subjects.take(subject);
        }
    }

    /// Whether an event of this subject is in flight.
    pub(super) fn contains(&mut self, subject: &Subject, queue: &Queue<'a>) -> bool {
        if self.is_empty() {
            return false;
        }
        let count = || Counts::of(queue.subjects_in_flight());
        self.subjects.get_or_insert_with(count).contains(subject)
    }

    /// Stops counting subjects: the counts are not read while the spool is empty and no subject is delayed.
    pub(super) fn forget_subjects(&mut self) {
        self.subjects = None;
    }
}
