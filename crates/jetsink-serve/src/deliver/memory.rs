//! The identities in memory, and those of spooled events also in a file.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use jetsink::{Envelope, Publisher, Sink, SpoolError};
use tokio::time::Instant;
use tracing::{info, warn};

use super::digest::digest;
use crate::identity::{self, Begin, Digest, Emitted, Identities, IdentityFile, Kept, Key};
use crate::meters::Meters;

/// The memory of a gateway.
#[derive(Debug)]
pub(crate) struct Memory {
    identities: Mutex<Identities>,
    /// `None` without a spool.
    file: Option<IdentityFile>,
    /// Whether the last write to the file failed, for one line in the log per failure.
    file_fails: AtomicBool,
    meters: Arc<Meters>,
}

impl Memory {
    pub(crate) fn new(
        identities: Identities,
        file: Option<IdentityFile>,
        meters: Arc<Meters>,
    ) -> Arc<Self> {
        Arc::new(Self {
            identities: Mutex::new(identities),
            file,
            file_fails: AtomicBool::new(false),
            meters,
        })
    }

    fn with<T>(&self, call: impl FnOnce(&mut Identities) -> T) -> T {
        call(
            &mut self
                .identities
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    pub(super) fn begin(&self, key: Key, digest: Digest) -> Begin {
        self.with(|identities| identities.begin(key, digest))
    }

    pub(super) fn settle(
        &self,
        key: Key,
        result: &Emitted,
        now: Instant,
        spool_in_use: impl Fn() -> bool,
    ) {
        let early = self.with(|identities| identities.settle(key, result, now, spool_in_use));
        if early > 0 {
            self.meters.forgotten_early(early);
        }
    }

    pub(super) fn abandon(&self, key: Key, now: Instant) {
        self.with(|identities| identities.abandon(key, now));
    }

    /// Writes the identities of events that were just spooled to the file; blocking.
    pub(crate) fn spooled(&self, ids: &mut dyn Iterator<Item = &str>) {
        let Some(file) = &self.file else { return };
        // Events of other entrances of the sink are not known here.
        let known: Vec<(Key, Digest)> = self.with(|identities| {
            let keys = ids.map(identity::key);
            keys.filter_map(|key| Some((key, identities.digest(&key)?)))
                .collect()
        });
        let written = file.append(&known, SystemTime::now());
        let failed_before = self.file_fails.swap(written.is_err(), Ordering::Relaxed);
        match written {
            Ok(()) if failed_before => info!("identities of spooled events are kept again"),
            Ok(()) => {}
            Err(error) => {
                self.meters.forgotten_early(known.len() as u64);
                if !failed_before {
                    warn!(%error, "identities of spooled events are not kept: after a restart, repeats of delivered ones are sent again");
                }
            }
        }
    }

    /// Remembers the events that earlier processes have spooled: those of the file, and those in the spool.
    pub(crate) async fn recall<P: Publisher>(
        self: &Arc<Self>,
        sink: &Sink<P>,
    ) -> Result<(), SpoolError> {
        if self.file.is_some() {
            let memory = Arc::clone(self);
            // A panic would be a defect, and has its own message.
            let _ = tokio::task::spawn_blocking(move || memory.recall_file()).await;
        }
        let now = Instant::now();
        let recall = |envelope: &Envelope| {
            if let Some(id) = envelope.message_id() {
                let key = identity::key(id.as_str());
                let digest = digest(envelope);
                let early = self.with(|identities| identities.recall_waiting(key, digest, now));
                self.meters.forgotten_early(early);
            }
        };
        match sink.spool() {
            Some(spool) => spool.visit(recall).await,
            None => Ok(()),
        }
    }

    fn recall_file(&self) {
        let Some(file) = &self.file else { return };
        match file.read(SystemTime::now()) {
            Err(error) => {
                warn!(%error, "the file of identities cannot be read: repeats of delivered events are sent again");
            }
            Ok(kept) => {
                let now = Instant::now();
                for Kept { key, digest, age } in kept {
                    let since = now.checked_sub(age).unwrap_or(now);
                    let early = self.with(|identities| identities.recall(key, digest, since, now));
                    self.meters.forgotten_early(early);
                }
            }
        }
    }
}
