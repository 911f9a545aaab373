//! The spool side of a run of replay: events leave the spool once they are stored, or go to the dead
//! letters.
//!
//! Invariants:
//! 1. An event leaves only after its result.
//! 2. At most one removal from the disk runs at a time, in parallel to sending.

use std::pin::Pin;

use tokio::time::Instant;
use tracing::{info, warn};

use super::baselines::SafeBaselines;
use super::expiry::dead_letter;
use crate::crash;
use crate::observe::metrics::SpoolMeters;
use crate::outcome::{EmitError, SpoolError};
use crate::publish::high_water::HighWater;
use crate::spool::{Place, Spool};

/// The number of delivered events, or of their bytes, for which a removal from the disk begins.
const EVENTS_PER_REMOVAL: usize = 2_048;
const BYTES_PER_REMOVAL: u64 = 4 << 20;

type Removal<'a> = Pin<Box<dyn Future<Output = Result<(), SpoolError>> + Send + 'a>>;

pub(super) struct SpoolSide<'a> {
    spool: &'a Spool,
    meters: &'a SpoolMeters,
    high_water: Option<&'a HighWater>,
    baselines: SafeBaselines,
    removal: Option<Removal<'a>>,
    /// Bytes delivered since the last removal began.
    delivered_bytes: u64,
    replayed: u64,
    dead: u64,
}

impl<'a> SpoolSide<'a> {
    pub(super) fn new(
        spool: &'a Spool,
        meters: &'a SpoolMeters,
        high_water: Option<&'a HighWater>,
    ) -> Self {
        Self {
            spool,
            meters,
            high_water,
            baselines: SafeBaselines::default(),
            removal: None,
            delivered_bytes: 0,
            replayed: 0,
            dead: 0,
        }
    }

    /// The number of events that were delivered.
    pub(super) fn replayed(&self) -> u64 {
        self.replayed
    }

    /// The number of events that went to the dead letters.
    pub(super) fn dead(&self) -> u64 {
        self.dead
    }

    /// An event is about to be sent.
    pub(super) fn sent(&mut self) {
        self.baselines.sent();
    }

    /// The oldest event in flight has its result.
    pub(super) fn answered(&mut self) {
        self.baselines.answered();
    }

    /// An event was stored: it leaves the spool.
    pub(super) fn delivered(&mut self, place: Place) {
        self.delivered_bytes += place.bytes;
        self.spool.delivered(&place);
        self.replayed += 1;
        self.meters.replayed.increment(1);
    }

    /// An event was refused for good: it goes to the dead letters. Only the first one of a run is
    /// logged; [`report`](Self::report) logs their number.
    pub(super) async fn refused(
        &mut self,
        place: Place,
        error: &EmitError,
    ) -> Result<(), SpoolError> {
        let code = match error {
            EmitError::Failed(failed) => failed.error.code(),
            _ => None,
        };
        match self.spool.read(&place).await? {
            Some(record) => {
                self.dead += 1;
                if self.dead == 1 {
                    warn!(subject = %place.subject, %error, "an event goes to the dead letters");
                }
                let letter = dead_letter(record, code.unwrap_or(0), error.to_string());
                self.spool.move_to_dead_letters(vec![(letter, place)]).await
            }
            // It was intact when it was sent.
            None => {
                warn!(subject = %place.subject, index = place.index, %error,
                    "an event that was refused for good is damaged and lost");
                self.spool.damaged(&place);
                Ok(())
            }
        }
    }

    /// Begins a removal from the disk if none runs and enough was delivered.
    pub(super) fn remove_if_worthwhile(&mut self) {
        let is_worthwhile = self.delivered_bytes >= BYTES_PER_REMOVAL
            || self.spool.delivered_events() >= EVENTS_PER_REMOVAL;
        if self.removal.is_none() && is_worthwhile {
            self.delivered_bytes = 0;
            let removal = self.remove_delivered();
            self.removal = Some(Box::pin(removal));
        }
    }

    fn remove_delivered(
        &mut self,
    ) -> impl Future<Output = Result<(), SpoolError>> + Send + use<'a> {
        let acknowledged = || self.high_water.map(HighWater::now).unwrap_or_default();
        self.spool
            .remove_delivered(self.baselines.advance(acknowledged))
    }

    /// Voids the baselines of streams that turned out to be others than before.
    pub(super) fn follow_streams(&mut self) {
        let replaced = self.high_water.map(HighWater::take_replaced);
        if let Some(replaced) = replaced.filter(|streams| !streams.is_empty()) {
            self.baselines.forget(&replaced);
            self.spool.forget_baselines(&replaced);
        }
    }

    /// Waits for the end of the removal; for ever if none runs. Cancellation-safe.
    pub(super) async fn removal_ended(&mut self) -> Result<(), SpoolError> {
        let Some(removal) = &mut self.removal else {
            return std::future::pending().await;
        };
        let removed = removal.await;
        self.removal = None;
        removed
    }

    /// Removes everything delivered from the disk.
    pub(super) async fn remove_all(&mut self) -> Result<(), SpoolError> {
        if let Some(removal) = self.removal.take() {
            removal.await?;
        }
        loop {
            self.remove_delivered().await?;
            crash::point("replay.removed");
            // One removal marks a few segments.
            if self.spool.delivered_events() == 0 {
                return Ok(());
            }
        }
    }

    /// Logs the numbers of a run.
    pub(super) fn report(&self, started: Instant) {
        if self.dead > 1 {
            let events = self.dead;
            warn!(events, "events went to the dead letters");
        }
        if self.replayed > 0 {
            let pending = self.spool.status().events;
            let seconds = started.elapsed().as_secs_f64();
            info!(
                replayed = self.replayed,
                pending, seconds, "replayed from the spool"
            );
        }
    }
}
