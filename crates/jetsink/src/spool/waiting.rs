//! The pending events by subject, and waits for their arrival and their end.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use tokio::time::{Instant, timeout_at};

use super::Spool;
use crate::message::subject::Subject;
use crate::outcome::{SpoolError, Unavailable};
use crate::sync::lock;

impl Spool {
    /// Whether no event waits here.
    pub(crate) fn is_empty(&self) -> bool {
        self.shared.is_empty()
    }

    /// Whether the next event may find room.
    pub(crate) fn accepts(&self) -> Result<(), Unavailable> {
        if self.shared.has_failed() {
            return Err(Unavailable::SpoolFailed);
        }
        match self.shared.full_at() {
            None => Ok(()),
            Some(used_bytes) => Err(Unavailable::SpoolFull {
                used_bytes,
                limit_bytes: self.shared.limit_bytes,
            }),
        }
    }

    /// Whether events of `subject` wait here, so that new ones must queue behind them.
    pub(crate) fn holds(&self, subject: &Subject) -> bool {
        self.waiting(subject) > 0
    }

    /// The number of pending events of `subject`, as far as they are counted.
    pub(crate) fn counted(&self, subject: &Subject) -> u64 {
        if self.shared.counts_none() {
            return 0;
        }
        let index = lock(&self.index);
        index
            .subjects
            .get(subject)
            .map_or(0, |pending| pending.events)
    }

    /// The number of pending events of `subject`: any number, until the scan has ended.
    pub(crate) fn waiting(&self, subject: &Subject) -> u64 {
        match self.shared.is_complete() {
            true => self.counted(subject),
            false => u64::MAX,
        }
    }

    /// Waits until the spool has no pending event of `subject`, at most until `deadline`.
    pub(crate) async fn drained(&self, subject: &Subject, deadline: Instant) -> bool {
        let empty = self.when_drained(|| (!self.holds(subject)).then_some(()));
        timeout_at(deadline, empty).await.is_ok()
    }

    /// Waits until the spool is empty or closed, at most until `deadline`.
    pub(crate) async fn emptied(&self, deadline: Instant) {
        let is_over = || self.is_empty() || self.shared.is_closed.load(Ordering::Relaxed);
        let over = self.when_drained(|| is_over().then_some(()));
        let _ = timeout_at(deadline, over).await;
    }

    /// Waits until the scan has ended.
    ///
    /// # Errors
    /// [`SpoolError::Closed`] or [`SpoolError::Failed`] if it does not end.
    pub(crate) async fn scanned(&self) -> Result<(), SpoolError> {
        let check = || {
            if self.shared.is_complete() {
                Some(Ok(()))
            } else if self.shared.has_failed() || self.shared.is_closed.load(Ordering::Relaxed) {
                Some(Err(self.ended()))
            } else {
                None
            }
        };
        self.when_drained(check).await
    }

    /// Waits until `check` has a result. It is called again when a subject has drained, and when the scan or the spool
    /// ends.
    async fn when_drained<T>(&self, check: impl Fn() -> Option<T>) -> T {
        loop {
            let mut drained = std::pin::pin!(self.shared.drained.notified());
            drained.as_mut().enable();
            if let Some(result) = check() {
                return result;
            }
            drained.await;
        }
    }

    /// Waits until a pending event is counted. It may not be readable yet: it is on its way to the disk, or behind the
    /// part of the log that is scanned.
    pub(crate) async fn filled(&self) {
        while self.shared.counts_none() {
            self.shared.came_in.notified().await;
        }
    }

    /// Waits until an event comes in.
    pub(crate) async fn came_in(&self) {
        self.shared.came_in.notified().await;
    }

    /// Takes the subjects that got an event since the last call.
    pub(crate) fn take_entered(&self) -> HashSet<Subject> {
        std::mem::take(&mut lock(&self.shared.entered))
    }
}
