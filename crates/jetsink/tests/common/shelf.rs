//! A broker in memory, and copies of a spool's folder.

#![allow(dead_code, missing_docs, unreachable_pub)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use jetsink::{Acknowledgement, Envelope, PublishError, Publisher};
use tempfile::TempDir;
use tokio::time::Instant;

/// Stores payloads in memory, as long as it has room, and is away afterwards.
#[derive(Debug, Clone, Default)]
pub struct Shelf(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    room: AtomicU64,
    stored: Mutex<BTreeMap<String, Vec<Bytes>>>,
}

impl Shelf {
    /// A broker that is away.
    pub fn away() -> Self {
        Self::default()
    }

    /// A broker that stores everything.
    pub fn open() -> Self {
        let shelf = Self::default();
        shelf.take(u64::MAX);
        shelf
    }

    /// Stores this many more events from now on.
    pub fn take(&self, events: u64) {
        self.0.room.store(events, Ordering::SeqCst);
    }

    /// The payloads in the order of their storing, by subject.
    pub fn stored(&self) -> BTreeMap<String, Vec<Bytes>> {
        self.0.stored.lock().unwrap().clone()
    }

    /// The payloads of all subjects.
    pub fn payloads(&self) -> Vec<Bytes> {
        self.stored().into_values().flatten().collect()
    }
}

impl Publisher for Shelf {
    async fn publish(
        &self,
        envelope: &Envelope,
        _: Instant,
    ) -> Result<Acknowledgement, PublishError> {
        let room = self
            .0
            .room
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |room| {
                room.checked_sub(1)
            });
        if room.is_err() {
            return Err(PublishError::NotConnected);
        }
        let subject = envelope.subject().to_string();
        let mut stored = self.0.stored.lock().unwrap();
        let payloads = stored.entry(subject).or_default();
        payloads.push(envelope.payload().clone());
        Ok(Acknowledgement::new("SHELF", payloads.len() as u64))
    }

    fn enforces_deadline(&self) -> bool {
        true
    }
}

/// A folder in memory if the system has one: for trials that do not test the disk.
pub fn memory_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

/// The spool's files by name, without its lock.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| !path.ends_with("lock")).collect();
    paths.sort();
    paths
}

/// Copies the files of a spool, as a kill at this moment leaves them if the spool is at rest.
pub fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        std::fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}
