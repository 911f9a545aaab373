//! A disk that says no.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redb::StorageBackend;
use redb::backends::FileBackend;
use tokio::time::Instant;

use crate::spool::backend::Guarded;
use crate::spool::store::{OpenError, Store};
use crate::spool::tables::Contents;
use crate::spool::{Baselines, DeadLetter, Place, Spool, SpoolError, SpoolSettings, file_in};
use crate::{Envelope, MessageId, Subject};

/// What fails, and how.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    writes: Arc<Mutex<Option<io::ErrorKind>>>,
    syncs: Arc<AtomicBool>,
    /// The header is written all the same.
    but_not_the_header: Arc<AtomicBool>,
    /// So often making the file smaller fails, which a commit does once it is in the file.
    shrinking: Arc<AtomicUsize>,
    /// So many header writes are made, and said to have failed.
    header: Arc<AtomicUsize>,
    /// So many openings fail.
    openings: Arc<AtomicUsize>,
}

impl Faults {
    pub(super) fn set_writes(&self, fault: Option<io::ErrorKind>) {
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
        if len < self.inner.len()? && counts_down(&self.faults.shrinking) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inner.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        if self.faults.syncs.load(Ordering::Relaxed) {
            return Err(io::Error::other("planted"));
        }
        self.inner.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset > 0 || !self.faults.but_not_the_header.load(Ordering::Relaxed) {
            self.faults.check_write()?;
        }
        self.inner.write(offset, data)?;
        if offset == 0 && counts_down(&self.faults.header) {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(())
    }
}

fn open(folder: &Path, faults: &Faults) -> Result<(Store, Contents), OpenError> {
    let (path, faults) = (file_in(folder), faults.clone());
    let file = path.clone();
    Store::open_with(
        &path,
        Box::new(move |builder, failure| {
            if counts_down(&faults.openings) {
                let error = io::Error::other("too many open files");
                return Err(redb::StorageError::Io(error).into());
            }
            let file = io_file(&file).map_err(redb::StorageError::Io)?;
            let inner = FileBackend::new(file)?;
            let faults = faults.clone();
            builder.create_with_backend(Guarded::new(Failing { inner, faults }, failure))
        }),
    )
}

/// One less, unless it has come to 0.
fn counts_down(count: &AtomicUsize) -> bool {
    let one_less = |left: usize| left.checked_sub(1);
    let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
    count.fetch_update(set, fetch, one_less).is_ok()
}

fn io_file(path: &Path) -> io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path)
}

pub(super) fn spool(folder: &Path, faults: &Faults) -> Spool {
    let (store, contents) = open(folder, faults).unwrap();
    Spool::over(store, contents, None, 1 << 20).unwrap()
}

pub(super) async fn append(spool: &Spool, number: usize) -> Result<(), SpoolError> {
    append_sent(spool, number, None).await
}

/// It was sent before, above these sequence numbers.
pub(super) async fn append_sent(
    spool: &Spool,
    number: usize,
    sent: Option<&Baselines>,
) -> Result<(), SpoolError> {
    let envelope = Envelope::new(Subject::new("a").unwrap(), vec![b'x'; 10_000].into())
        .with_message_id(MessageId::new(format!("sink.{number}")).unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    spool.append_event(&envelope, sent, deadline).await
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
async fn a_mark_that_the_disk_does_not_take_is_missing_until_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let spool = spool(folder.path(), &faults);
    append(&spool, 0).await.unwrap();
    faults.set_writes(Some(io::ErrorKind::StorageFull));
    assert!(spool.replay_begins(&Baselines::new()).await.is_err());
    assert!(!spool.replay_began());
    faults.set_writes(None);
    spool.replay_begins(&Baselines::new()).await.unwrap();
    assert!(spool.replay_began());
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
    // What may be there counts as there: nothing of its subject overtakes it.
    assert_eq!(spool.status().events, 2);
    drop(spool);
    let spool = Spool::open(&SpoolSettings::new(folder.path())).unwrap();
    let ids = ids(&spool).await;
    assert_eq!(ids[0], "sink.0");
    assert!(ids[1..].iter().all(|id| id == "sink.1"), "{ids:?}");
}

/// What it counts is what is in its file.
fn assert_adds_up(spool: Spool, folder: &Path) {
    let counted = spool.status();
    drop(spool);
    let there = Spool::open(&SpoolSettings::new(folder)).unwrap().status();
    let sums =
        |status: crate::spool::SpoolStatus| (status.events, status.dead_letters, status.used_bytes);
    assert_eq!(sums(counted), sums(there));
}

#[tokio::test]
async fn a_commit_that_failed_for_sure_needs_no_asking() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let spool = spool(folder.path(), &faults);
    append(&spool, 0).await.unwrap();
    faults.but_not_the_header.store(true, Ordering::Relaxed);
    faults.set_writes(Some(io::ErrorKind::StorageFull));
    for number in 1..4 {
        let error = append(&spool, number).await.unwrap_err();
        assert!(matches!(error, SpoolError::Io { .. }), "{error}");
        faults.openings.store(1, Ordering::Relaxed);
    }
    faults.set_writes(None);
    append(&spool, 4).await.unwrap_err();
    append(&spool, 5).await.unwrap();
    assert_eq!(ids(&spool).await, ["sink.0", "sink.5"]);
    assert_adds_up(spool, folder.path());
}

/// What an append is told of which nobody could ask what became.
fn assert_says_nothing_untrue(error: &SpoolError) {
    let text = error.to_string();
    assert!(error.may_be_spooled(), "nobody has asked: {text}");
    assert!(text.contains("too many open files"), "{text}");
    assert!(!text.contains("sync"), "none failed: {text}");
    assert_eq!(text.matches("spool.redb").count(), 1, "{text}");
}

#[tokio::test]
async fn an_append_that_can_not_be_asked_after_at_once_is_not_there_when_it_is() {
    let (folder, faults) = (tempfile::tempdir().unwrap(), Faults::default());
    let spool = spool(folder.path(), &faults);
    append(&spool, 0).await.unwrap();
    faults.header.store(1, Ordering::Relaxed);
    faults.openings.store(1, Ordering::Relaxed);
    assert_says_nothing_untrue(&append(&spool, 1).await.unwrap_err());
    assert_eq!(spool.status().events, 2, "later events queue behind it");
    append(&spool, 2).await.unwrap();
    append(&spool, 3).await.unwrap();
    assert_eq!(ids(&spool).await, ["sink.0", "sink.2", "sink.3"]);
    assert_adds_up(spool, folder.path());
}

#[tokio::test]
async fn an_append_that_can_not_be_asked_after_at_once_is_there_when_it_is() {
    let (folder, faults) = (tempfile::tempdir().unwrap(), Faults::default());
    let (spool, ..) = with_one_that_may_go(folder.path(), &faults).await;
    faults.openings.store(1, Ordering::Relaxed);
    assert_says_nothing_untrue(&append(&spool, 300).await.unwrap_err());
    assert_eq!(faults.shrinking.load(Ordering::Relaxed), 0);
    append(&spool, 301).await.unwrap();
    assert_eq!(ids(&spool).await, ["sink.0", "sink.300", "sink.301"]);
    assert_adds_up(spool, folder.path());
}

#[tokio::test]
async fn one_that_may_be_stored_and_may_be_here_is_looked_up_from_where_it_was_sent() {
    let (folder, faults) = (tempfile::tempdir().unwrap(), Faults::default());
    let (spool, ..) = with_one_that_may_go(folder.path(), &faults).await;
    let above = |sequence| Baselines::from([("S".to_owned(), sequence)]);
    faults.openings.store(1, Ordering::Relaxed);
    let error = append_sent(&spool, 300, Some(&above(5))).await.unwrap_err();
    assert_says_nothing_untrue(&error);
    append_sent(&spool, 301, Some(&above(10))).await.unwrap();
    assert_eq!(ids(&spool).await, ["sink.0", "sink.300", "sink.301"]);
    assert_eq!(spool.unsettled().1, above(5));
    drop(spool);
    let spool = Spool::open(&SpoolSettings::new(folder.path())).unwrap();
    assert_eq!(spool.unsettled().1, above(5));
}

/// A spool of one event, whose next commit makes its file smaller, and fails at that.
async fn with_one_that_may_go(folder: &Path, faults: &Faults) -> (Spool, DeadLetter, Place) {
    let (store, contents) = open(folder, faults).unwrap();
    let spool = Spool::over(store, contents, None, 100 << 20).unwrap();
    let subject = Subject::new("a").unwrap();
    for number in 0..100 {
        append(&spool, number).await.unwrap();
    }
    let place = |index, bytes| Place {
        subject: subject.clone(),
        index,
        bytes,
    };
    let all = spool.read(&subject, 0, 1_000).await.unwrap().entries;
    let mut all = all.into_iter();
    let (index, bytes, record) = all.next().unwrap();
    for (index, bytes, _) in all {
        spool.left(place(index, bytes));
    }
    spool.remove_left(&Baselines::new()).await.unwrap();
    let letter = DeadLetter {
        record: record.unwrap(),
        code: 10_054,
        died_at: 0,
        reason: "too large".to_owned(),
    };
    faults.shrinking.store(1, Ordering::Relaxed);
    (spool, letter, place(index, bytes))
}

/// What a change is told that appends nothing: never that an event may be spooled.
fn assert_fails_where_nobody_could_look(result: Result<(), SpoolError>, failed_openings: usize) {
    let expected = match failed_openings {
        0 => Ok(()),
        _ => Err(false),
    };
    assert_eq!(result.map_err(|error| error.may_be_spooled()), expected);
}

#[tokio::test]
async fn a_burial_that_is_in_the_file_counts_though_its_commit_failed() {
    for openings in [0, 1] {
        let (folder, faults) = (tempfile::tempdir().unwrap(), Faults::default());
        let (spool, letter, place) = with_one_that_may_go(folder.path(), &faults).await;
        faults.openings.store(openings, Ordering::Relaxed);
        let buried = spool.bury(vec![(letter, place)]).await;
        assert_eq!(faults.shrinking.load(Ordering::Relaxed), 0);
        assert_fails_where_nobody_could_look(buried, openings);
        // Whoever reads asks, where nobody could before.
        assert_eq!(ids(&spool).await, [""; 0]);
        assert!(spool.is_empty());
        assert_eq!(spool.status().dead_letters, 1);
        assert_adds_up(spool, folder.path());
    }
}

#[tokio::test]
async fn a_removal_that_is_in_the_file_counts_once_though_its_commit_failed() {
    for openings in [0, 1] {
        let (folder, faults) = (tempfile::tempdir().unwrap(), Faults::default());
        let (spool, _, place) = with_one_that_may_go(folder.path(), &faults).await;
        faults.openings.store(openings, Ordering::Relaxed);
        spool.left(place);
        let removed = spool.remove_left(&Baselines::new()).await;
        assert_eq!(faults.shrinking.load(Ordering::Relaxed), 0);
        assert_fails_where_nobody_could_look(removed, openings);
        spool.remove_left(&Baselines::new()).await.unwrap();
        assert_eq!(spool.leaving_events(), 0);
        assert_adds_up(spool, folder.path());
    }
}

#[tokio::test]
async fn only_an_append_is_told_that_it_may_be_spooled() {
    let (folder, faults) = (tempfile::tempdir().unwrap(), Faults::default());
    let spool = spool(folder.path(), &faults);
    append(&spool, 0).await.unwrap();
    faults.syncs.store(true, Ordering::Relaxed);
    let error = spool.replay_begins(&Baselines::new()).await.unwrap_err();
    assert!(matches!(error, SpoolError::Poisoned { .. }), "{error}");
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
