//! The emits of one sink that are under way, and the end of taking more.
//!
//! Who emits counts itself first and looks at `closed` then; who closes sets `closed` first and looks at
//! the count then. Both touch the count by changing it, and one of the two comes first: either the
//! emit sees that it is too late, or the close sees the emit and waits for it.

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::outcome::{Delivery, EmitError, Known};
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Emits {
    under_way: AtomicUsize,
    idle: Notify,
    closed: AtomicBool,
    unknown: AtomicU64,
}

impl Emits {
    /// Counts one in, until what this gives is dropped; `None` once closed.
    pub(crate) fn begin(&self) -> Option<UnderWay<'_>> {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let under_way = UnderWay(self);
        (!self.is_closed()).then_some(under_way)
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// One load: no more than an open circuit's rejection may cost.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }

    /// Waits until nothing is under way, until `deadline` at the most.
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

    /// Changes the count by nothing where a load would do under `SeqCst`: loom, which checks this, does
    /// not model that order for loads, and would let one miss an emit that saw no close.
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.fetch_add(0, Ordering::SeqCst) == 0
    }

    /// Notes what an emit came to, for the receipt.
    pub(crate) fn ended(&self, result: &Result<Delivery, EmitError>) {
        if let Err(error) = result
            && error.known() == Known::OutcomeUnknown
        {
            self.unknown.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Those that ended without anybody knowing what became of the event.
    pub(crate) fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }
}

/// One emit that `flush` and `close` wait for.
#[derive(Debug)]
pub(crate) struct UnderWay<'a>(&'a Emits);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if self.0.under_way.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}
