//! The stop of a server, as its connections see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Connections end once they have no request in flight.
    Stopping,
    /// All connections end.
    Ended,
}

/// The server's side. Its drop ends all connections.
#[derive(Debug)]
pub(super) struct Stop {
    phase: watch::Sender<Phase>,
    /// Whether a request was in flight when its connection was ended.
    cut_off: Arc<AtomicBool>,
}

/// A connection's side.
#[derive(Debug)]
pub(super) struct StopSignal {
    phase: watch::Receiver<Phase>,
    cut_off: Arc<AtomicBool>,
}

impl Stop {
    pub(super) fn new() -> Self {
        Self {
            phase: watch::channel(Phase::Serving).0,
            cut_off: Arc::default(),
        }
    }

    pub(super) fn signal(&self) -> StopSignal {
        StopSignal {
            phase: self.phase.subscribe(),
            cut_off: Arc::clone(&self.cut_off),
        }
    }

    /// Waits at most `patience` for requests in flight, then ends all connections. Returns whether all requests were
    /// answered. Call it once no connection can be accepted any more.
    pub(super) async fn end(&self, patience: Duration) -> bool {
        self.phase.send_replace(Phase::Stopping);
        if timeout(patience, self.phase.closed()).await.is_err() {
            self.phase.send_replace(Phase::Ended);
            // Each connection ends at its next poll.
            self.phase.closed().await;
        }
        !self.cut_off.load(Ordering::Acquire)
    }
}

impl StopSignal {
    /// Completes once the server stops.
    pub(super) async fn stopping(&mut self) {
        let _ = self.phase.wait_for(|phase| *phase != Phase::Serving).await;
    }

    /// Completes once the connection must end, also if it has requests in flight.
    pub(super) async fn ended(&mut self) {
        let _ = self.phase.wait_for(|phase| *phase == Phase::Ended).await;
    }

    /// Records that a request was in flight at the end.
    pub(super) fn cut_off(&self) {
        self.cut_off.store(true, Ordering::Release);
    }
}
