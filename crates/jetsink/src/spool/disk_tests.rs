//! A disk that says no.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redb::StorageBackend;
use redb::backends::FileBackend;
use tokio::time::Instant;

use super::backend::Guarded;
use super::store::{OpenError, Store};
use super::tables::Contents;
use super::{Spool, SpoolError, SpoolSettings, file_in};
use crate::{Envelope, MessageId, Subject};

/// What fails, and how.
#[derive(Debug, Clone, Default)]
struct Faults {
    writes: Arc<Mutex<Option<io::ErrorKind>>>,
    syncs: Arc<AtomicBool>,
}

impl Faults {
    fn set_writes(&self, fault: Option<io::ErrorKind>) {
        *self.writes.lock().unwrap() = fault;
    }

    fn check_write(&self) -> io::Result<()> {
        self.writes
            .lock()
            .unwrap()
            .map_or(Ok(()), |kind| Err(kind.into()))
    }
}

#[derive(Debug)]
struct Failing {
    inner: FileBackend,
    faults: Faults,
}

impl StorageBackend for Failing {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.faults.check_write()?;
        self.inner.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        if self.faults.syncs.load(Ordering::Relaxed) {
            return Err(io::Error::other("planted"));
        }
        self.inner.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.faults.check_write()?;
        self.inner.write(offset, data)
    }
}

fn open(folder: &Path, faults: &Faults) -> Result<(Store, Contents), OpenError> {
    let (path, faults) = (file_in(folder), faults.clone());
    let file = path.clone();
    Store::open_with(
        &path,
        Box::new(move |builder, failure| {
            let file = io_file(&file).map_err(redb::StorageError::Io)?;
            let inner = FileBackend::new(file)?;
            let faults = faults.clone();
            builder.create_with_backend(Guarded::new(Failing { inner, faults }, failure))
        }),
    )
}

fn io_file(path: &Path) -> io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path)
}

fn spool(folder: &Path, faults: &Faults) -> Spool {
    let (store, contents) = open(folder, faults).unwrap();
    Spool::over(store, contents, None, 1 << 20).unwrap()
}

async fn append(spool: &Spool, number: usize) -> Result<(), SpoolError> {
    let envelope = Envelope::new(Subject::new("a").unwrap(), vec![b'x'; 10_000].into())
        .with_message_id(MessageId::new(format!("sink.{number}")).unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    spool.append_event(&envelope, None, deadline).await
}

async fn ids(spool: &Spool) -> Vec<String> {
    let chunk = spool.read(&Subject::new("a").unwrap(), 0, 1_000).await;
    let entries = chunk.unwrap().entries.into_iter();
    entries
        .map(|(_, _, record)| record.unwrap().envelope.message_id().unwrap().to_string())
        .collect()
}

#[tokio::test]
async fn a_disk_that_fails_for_a_while_costs_what_was_refused_and_nothing_else() {
    for (kind, words) in [
        (io::ErrorKind::StorageFull, "no storage space"),
        (io::ErrorKind::ReadOnlyFilesystem, "read-only filesystem"),
        (io::ErrorKind::PermissionDenied, "permission denied"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::default();
        let spool = spool(folder.path(), &faults);
        append(&spool, 0).await.unwrap();
        let used = spool.status().used_bytes;
        faults.set_writes(Some(kind));
        for number in 1..4 {
            let error = append(&spool, number).await.unwrap_err();
            let text = error.to_string();
            assert!(
                matches!(error, SpoolError::Io { .. }) && text.contains(words),
                "{text}"
            );
            assert!(!error.may_be_spooled());
            assert!(text.contains("spool.redb"), "{text}");
        }
        assert_eq!(spool.status().used_bytes, used);
        faults.set_writes(None);
        append(&spool, 4).await.unwrap();
        assert_eq!(ids(&spool).await, ["sink.0", "sink.4"]);
        drop(spool);
        let spool = Spool::open(&SpoolSettings::new(folder.path())).unwrap();
        assert_eq!(ids(&spool).await, ["sink.0", "sink.4"]);
        assert!(spool.loss().is_none());
    }
}

#[tokio::test]
async fn after_a_failed_sync_nothing_more_is_written_and_what_was_synced_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let spool = spool(folder.path(), &faults);
    append(&spool, 0).await.unwrap();
    faults.syncs.store(true, Ordering::Relaxed);
    let first = append(&spool, 1).await.unwrap_err();
    assert!(matches!(first, SpoolError::HalfWritten { .. }), "{first}");
    assert!(first.may_be_spooled(), "it is there below, or not");
    faults.syncs.store(false, Ordering::Relaxed);
    let second = append(&spool, 2).await.unwrap_err();
    assert!(matches!(second, SpoolError::Poisoned { .. }), "{second}");
    assert!(!second.may_be_spooled());
    drop(spool);
    let spool = Spool::open(&SpoolSettings::new(folder.path())).unwrap();
    let ids = ids(&spool).await;
    assert_eq!(ids[0], "sink.0");
    assert!(ids[1..].iter().all(|id| id == "sink.1"), "{ids:?}");
}

#[test]
fn a_folder_that_can_not_be_had_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Spool::open(&SpoolSettings::new(file.join("spool"))).unwrap_err();
    assert!(error.to_string().contains("making the folder: "), "{error}");
    std::fs::create_dir(file_in(folder.path())).unwrap();
    let error = Spool::open(&SpoolSettings::new(folder.path())).unwrap_err();
    assert!(
        error.to_string().contains("opening it: Is a directory"),
        "{error}"
    );
}
