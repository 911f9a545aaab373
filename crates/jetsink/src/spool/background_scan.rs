//! Counts the backlog of an earlier process while new events are appended and replay begins at the oldest ones.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use tracing::error;

use super::append_queue::AppendQueue;
use super::log::backlog::Backlog;
use super::shared::Shared;
use crate::outcome::SpoolLoss;
use crate::sync::lock;

/// A backlog of up to this many segments is scanned before the spool opens, so that its status is exact from the
/// start. A thread scans a larger one.
const MAX_SCANNED_AT_ONCE: usize = 2;

/// The pause before a segment that can't be read is read again.
const PAUSE: Duration = Duration::from_secs(1);

/// The maximum number of reads of such a segment, in about ten minutes. Then it is left to the next opening, and later
/// events of its subjects are sent before its own.
const MAX_FAILURES: u32 = 600;

/// Scans the segments that existed when the spool was opened.
pub(super) struct Scan {
    pub(super) backlog: Backlog,
    /// The damage that the opening has found and logged.
    pub(super) logged: SpoolLoss,
    /// Whether the events that are found may be stored: left by a process that sent, it is not known which.
    pub(super) may_be_stored: bool,
    pub(super) shared: Arc<Shared>,
    pub(super) appends: Arc<Mutex<AppendQueue>>,
}

impl Scan {
    /// Scans a small backlog at once. A thread scans a large one, and the rest behind a segment that can't be read.
    pub(super) fn start(mut self) -> io::Result<()> {
        if self.backlog.unscanned.len() <= MAX_SCANNED_AT_ONCE && self.advance() {
            return Ok(());
        }
        let thread = std::thread::Builder::new().name("jetsink-spool-scan".to_owned());
        let shared = Arc::clone(&self.shared);
        let scan = move || shared.run(|| self.run(|| sleep(PAUSE)));
        thread.spawn(scan).map(|_| ())
    }

    /// Scans the backlog, with a pause before a segment is read again.
    pub(super) fn run(mut self, pause: impl Fn()) {
        while !self.advance() {
            pause();
        }
    }

    /// Scans up to a segment that can't be read. Returns whether nothing is left to do.
    fn advance(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let continues = || !shared.is_closed.load(Ordering::Relaxed);
        while let Some(found) = self.backlog.scan_part(continues) {
            if self.backlog.failures == MAX_FAILURES {
                self.backlog.skip();
            }
            let late = {
                // Marked before replay can read it.
                let mut appends = lock(&self.appends);
                if self.may_be_stored {
                    for subject in &found {
                        appends.unreconciled.insert(subject.clone(), u64::MAX);
                    }
                }
                self.backlog.show()
            };
            if self.backlog.is_scanned() {
                let loss = &self.backlog.loss;
                if *loss != self.logged {
                    error!("{loss}");
                }
                if !loss.is_none() {
                    let _ = self.shared.loss.set(loss.clone());
                }
                self.shared.complete();
            }
            self.shared.entered(found.iter().chain(&late));
            if self.backlog.failures > 0 {
                return false;
            }
        }
        true
    }
}
