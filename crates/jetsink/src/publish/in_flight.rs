//! Counts the emits of one sink that are in flight, and closes the sink to new ones.
//!
//! An emit increments the count and then reads `closed`; a close sets `closed` and then reads the
//! count. Both access the count by a read-modify-write, so one of the two comes first: either the emit
//! sees the close, or the close sees the emit and waits for it.

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::outcome::{Delivery, EmitError, Known};
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// The emits of one sink that have begun and not ended.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    count: AtomicUsize,
    idle: Notify,
    closed: AtomicBool,
    unknown: AtomicU64,
}

impl InFlight {
    /// Counts one emit until the guard is dropped; `None` after [`close`](Self::close).
    pub(crate) fn begin(&self) -> Option<InFlightGuard<'_>> {
        self.count.fetch_add(1, Ordering::SeqCst);
        let guard = InFlightGuard {
            emits: self,
            may_be_sent: false,
        };
        (!self.is_closed()).then_some(guard)
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Costs one load, the most that a rejection by an open circuit may cost.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until no emit is in flight, at most until `deadline`.
    pub(crate) async fn idle(&self, deadline: Instant) {
        let idle = async {
            loop {
                let mut notified = std::pin::pin!(self.idle.notified());
                notified.as_mut().enable();
                if self.is_idle() {
                    return;
                }
                notified.await;
            }
        };
        let _ = timeout_at(deadline, idle).await;
    }

    /// Adds zero, although a `SeqCst` load is enough: loom, which checks this, does not model that
    /// order for loads, and would report a close that misses an emit.
    pub(crate) fn is_idle(&self) -> bool {
        self.count.fetch_add(0, Ordering::SeqCst) == 0
    }

    /// Counts the result of an emit for the receipt.
    pub(crate) fn ended(&self, result: &Result<Delivery, EmitError>) {
        if let Err(error) = result
            && error.known() == Known::OutcomeUnknown
        {
            self.unknown.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts events whose sender was dropped after they may have been sent.
    pub(crate) fn abandoned(&self, events: u64) {
        self.unknown.fetch_add(events, Ordering::Relaxed);
    }

    /// The number of emits with an unknown outcome, including those in flight. The count comes first: an emit that
    /// ends between the two loads is counted twice rather than not at all.
    pub(crate) fn unknown(&self) -> u64 {
        self.count() as u64 + self.unknown.load(Ordering::Relaxed)
    }
}

/// One emit that `flush` and `close` wait for.
#[derive(Debug)]
pub(crate) struct InFlightGuard<'a> {
    emits: &'a InFlight,
    may_be_sent: bool,
}

impl InFlightGuard<'_> {
    /// Counts the emit as unknown if it is dropped from now on without an [end](Self::end).
    pub(crate) fn may_be_sent(&mut self) {
        self.may_be_sent = true;
    }

    pub(crate) fn end(mut self, result: &Result<Delivery, EmitError>) {
        self.may_be_sent = false;
        self.emits.ended(result);
    }
}

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        if self.may_be_sent {
            self.emits.abandoned(1);
        }
        if self.emits.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.emits.idle.notify_waiters();
        }
    }
}
