//! The spool as its callers see it.

mod baselines;
mod beside_the_scan;
mod dead_letters;
mod driver;
mod failing_calls;
mod ledger;
mod marking;
mod memory;
mod observer;
mod order;
mod power;
pub(crate) mod simulated_disk;
mod slow_disk;
mod sparse;
mod threads;
mod unhappy_disk;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::Instant;

use crate::outcome::SpoolError;
use crate::spool::log::disk::Disk;
use crate::spool::log::event::NewRecord;
use crate::spool::log::opening;
use crate::spool::log::reader;
use crate::spool::log::writer::Log;
use crate::spool::queue::{Change, Worker, Writer};
use crate::spool::shared::Shared;
use crate::spool::{
    Baseline, Baselines, Chunk, DeadRecord, Place, Record, Spool, Wanted, default_limit,
    segment_bytes,
};
use crate::{Envelope, MessageId, Subject};

impl Writer {
    /// A writer without a thread.
    pub(super) fn at_once(log: Log, shared: Arc<Shared>) -> io::Result<Self> {
        Ok(Self::AtOnce(Box::new(Worker::new(log, shared))))
    }
}

impl Spool {
    /// A spool without a thread: the caller makes its changes, in virtual time.
    pub(crate) fn at_once(disk: Arc<dyn Disk>, limit_bytes: u64) -> Result<Self, SpoolError> {
        let (log, backlog) = opening::open(disk, Some(64 << 10))?;
        let spool = Self::over(log, backlog, limit_bytes, Writer::at_once, |scan| {
            scan.run(|| ());
            Ok(())
        });
        Ok(spool.unwrap())
    }

    /// A spool on a simulated disk, written by a thread of its own.
    pub(crate) fn threaded(disk: Arc<dyn Disk>, limit_bytes: u64) -> Result<Self, SpoolError> {
        let (log, backlog) = opening::open(disk, Some(segment_bytes(limit_bytes)))?;
        let spool = Self::over(log, backlog, limit_bytes, Writer::start, |scan| {
            scan.run(|| ());
            Ok(())
        });
        Ok(spool.unwrap())
    }

    /// Lets the writer of a spool without a thread make these changes, or rest if there are none.
    pub(super) fn step(&self, group: Vec<Change>, now: std::time::Instant) -> Duration {
        match &mut self.lock().writer {
            Writer::AtOnce(worker) => worker.step(group, now),
            other => panic!("{other:?} has no worker"),
        }
    }

    /// The number of records in doubt, of a spool without a thread.
    pub(super) fn in_doubt(&self) -> usize {
        match &self.lock().writer {
            Writer::AtOnce(worker) => worker.log.in_doubt.len(),
            other => panic!("{other:?} has no worker"),
        }
    }

    /// Makes room, and takes it.
    pub(crate) async fn append_event(
        &self,
        envelope: &Envelope,
        sent: Option<&Baselines>,
        deadline: tokio::time::Instant,
    ) -> Result<(), SpoolError> {
        self.append(self.reserve(envelope)?, sent, deadline).await
    }

    /// Events of a subject, from index `from` on, without those that have left: some, up to `limit`,
    /// as long as there are any.
    pub(crate) async fn read_from(
        &self,
        subject: &Subject,
        from: u64,
        limit: usize,
    ) -> Result<Chunk, SpoolError> {
        let mut from = from;
        loop {
            let wanted = Wanted {
                subject: subject.clone(),
                from,
                limit,
            };
            let reading = self.begin_reading(vec![wanted]);
            for chunk in self.finish_reading(reading).await? {
                match chunk.failed {
                    _ if !chunk.entries.is_empty() => return Ok(chunk),
                    Some(error) => return Err(error),
                    None if !chunk.more => return Ok(chunk),
                    None => from = chunk.next,
                }
            }
        }
    }

    /// The dead letters.
    pub(crate) fn letters(&self) -> Vec<DeadRecord> {
        let letters = reader::letters(&self.index, 0, usize::MAX).entries;
        letters
            .into_iter()
            .map(|(_, _, letter)| letter.unwrap())
            .collect()
    }

    /// Copies the files once all queued changes are on the disk.
    pub(crate) async fn copy_unclosed(&self, folder: &Path) {
        self.written().await.unwrap();
        for entry in std::fs::read_dir(&self.path).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() != "lock" {
                std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
            }
        }
    }
}

pub(crate) fn subject(text: &str) -> Subject {
    Subject::new(text).unwrap()
}

pub(crate) fn envelope(subject_text: &str, number: usize) -> Envelope {
    let payload = format!(r#"{{"number":{number},"filler":"{}"}}"#, "x".repeat(300));
    Envelope::new(subject(subject_text), payload.into())
        .with_message_id(MessageId::new(format!("sink.{number}")).unwrap())
}

/// The record of an event that was never sent.
pub(crate) fn event(to: &str, number: usize) -> NewRecord {
    let record = Record {
        index: 0,
        spooled_at: 1,
        may_be_stored: false,
        envelope: envelope(to, number),
    };
    NewRecord::event(&record, None)
}

/// The places of the first `limit` events of a subject.
pub(crate) async fn places(spool: &Spool, subject_text: &str, limit: usize) -> Vec<Place> {
    let subject = subject(subject_text);
    let chunk = spool.read_from(&subject, 0, limit).await.unwrap();
    let place = |(index, bytes, _)| Place {
        subject: subject.clone(),
        index,
        bytes,
    };
    chunk.entries.into_iter().map(place).collect()
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Opens a spool, and waits until it is read.
pub(crate) fn open(folder: &Path) -> Spool {
    let spool = Spool::open(folder, None).unwrap();
    while !spool.shared.is_complete() {
        std::thread::yield_now();
    }
    spool
}

/// The names and bytes of a spool's segments.
fn segments(folder: &Path) -> Vec<(std::path::PathBuf, u64)> {
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let segments = files.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
    let sized = segments.map(|path| (path.clone(), std::fs::metadata(&path).unwrap().len()));
    sized.collect()
}

/// Puts `count` events of two subjects in, one sync each group of 32.
pub(crate) async fn fill(spool: &Spool, count: usize) {
    for start in (0..count).step_by(32) {
        let appends = (start..count.min(start + 32)).map(|number| async move {
            let subject = if number % 3 == 0 { "b" } else { "a" };
            spool
                .append_event(&envelope(subject, number), None, soon())
                .await
        });
        for result in futures_util::future::join_all(appends).await {
            result.unwrap();
        }
    }
}

/// The numbers of the readable events of a subject, in their order.
pub(crate) async fn numbers(spool: &Spool, subject_text: &str) -> Vec<usize> {
    let mut entries = Vec::new();
    let mut next = 0;
    loop {
        let chunk = spool
            .read_from(&subject(subject_text), next, 100)
            .await
            .unwrap();
        entries.extend(chunk.entries);
        next = chunk.next;
        if !chunk.more {
            break;
        }
    }
    let ids = entries.into_iter().map(|(_, _, record)| {
        let record = record.unwrap();
        let id = record.envelope.message_id().unwrap().as_str().to_owned();
        let number: usize = id.strip_prefix("sink.").unwrap().parse().unwrap();
        assert_eq!(record.envelope, envelope(subject_text, number));
        number
    });
    ids.collect()
}

#[tokio::test]
async fn appended_events_are_read_in_order_after_another_opening() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    fill(&spool, 100).await;
    drop(spool);
    let spool = open(folder.path());
    let a = numbers(&spool, "a").await;
    let b = numbers(&spool, "b").await;
    assert_eq!(a, (0..100).filter(|n| n % 3 != 0).collect::<Vec<_>>());
    assert_eq!(b, (0..100).step_by(3).collect::<Vec<_>>());
    let status = spool.status();
    assert_eq!((status.events, status.subjects), (100, 2));
    assert!(status.used_bytes > 30_000);
    assert!(spool.unreconciled().is_empty());
}

#[tokio::test]
async fn second_owner_gets_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let _spool = open(folder.path());
    let error = Spool::open(folder.path(), None).unwrap_err();
    assert!(matches!(error, SpoolError::InUse { .. }), "{error}");
}

#[tokio::test]
async fn room_that_is_not_used_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let envelope = envelope("a", 0);
    let room = spool.reserve(&envelope).unwrap();
    let status = spool.status();
    assert_eq!(status.events, 1, "it counts as soon as it has room");
    drop(room);
    assert_eq!((spool.status().events, spool.status().used_bytes), (0, 0));
}

#[tokio::test]
async fn an_event_of_just_the_limit_can_be_held_and_a_larger_one_never() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), Some(1_000)).unwrap();
    let of = |bytes: usize| Envelope::new(subject("a"), vec![b'x'; bytes].into());
    let around = spool.reserve(&of(0)).unwrap();
    let around_bytes = spool.status().used_bytes as usize;
    drop(around);
    let (largest, larger) = (of(1_000 - around_bytes), of(1_008 - around_bytes));
    let too_large = || match spool.reserve(&larger).map(drop) {
        Err(SpoolError::TooLarge { bytes, limit }) => bytes > limit && limit == 1_000,
        other => panic!("{other:?}"),
    };
    assert!(too_large());
    let _room = spool.reserve(&largest).unwrap();
    assert!(matches!(
        spool.reserve(&largest),
        Err(SpoolError::Full { .. })
    ));
    assert!(too_large(), "also in a full spool");
}

#[tokio::test]
async fn full_spool_returns_its_size_and_accepts_events_after_a_removal() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), Some(1_000)).unwrap();
    spool
        .append_event(&envelope("a", 0), None, soon())
        .await
        .unwrap();
    spool
        .append_event(&envelope("a", 1), None, soon())
        .await
        .unwrap();
    let used = spool.status().used_bytes;
    let error = spool
        .append_event(&envelope("a", 2), None, soon())
        .await
        .unwrap_err();
    let expected = SpoolError::Full {
        used_bytes: used,
        limit_bytes: 1_000,
    };
    assert_eq!(error, expected);
    spool.delivered(&places(&spool, "a", 1).await.remove(0));
    spool.remove_delivered(&Baselines::new()).await.unwrap();
    spool
        .append_event(&envelope("a", 2), None, soon())
        .await
        .unwrap();
    assert_eq!(numbers(&spool, "a").await, [1, 2]);
}

#[tokio::test]
async fn pending_events_are_counted_by_subject_until_they_leave() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    assert!(spool.is_empty());
    fill(&spool, 6).await;
    assert!(!spool.is_empty());
    let waiting = || ["a", "b"].map(|text| spool.waiting(&subject(text)));
    assert_eq!(waiting(), [4, 2]);
    let b = subject("b");
    assert!(!spool.drained(&b, Instant::now()).await);
    let leave = async {
        let places = places(&spool, "b", 9).await;
        places.into_iter().for_each(|place| spool.delivered(&place));
    };
    let (drained, ()) = tokio::join!(spool.drained(&b, soon()), leave);
    assert!(drained);
    assert_eq!(waiting(), [4, 0]);
}

#[tokio::test]
async fn waiting_reader_is_woken_only_by_a_new_event() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let mut came_in = std::pin::pin!(spool.came_in());
    assert_eq!(came_in.as_mut().now_or_never(), None);
    fill(&spool, 1).await;
    tokio::time::timeout_at(soon(), came_in).await.unwrap();
}

#[tokio::test]
async fn the_oldest_event_becomes_older() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    assert_eq!(spool.oldest_age(), Ok(Duration::ZERO));
    fill(&spool, 1).await;
    let older = async {
        while spool.oldest_age().unwrap().is_zero() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout_at(soon(), older).await.unwrap();
}

#[tokio::test]
async fn damaged_marker_leaves_everything_to_be_looked_up() {
    let [folder, crashed] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let spool = open(folder.path());
    fill(&spool, 1).await;
    spool
        .replay_begins(&Baselines::from([("S".to_owned(), Baseline::new(7))]))
        .await
        .unwrap();
    spool.copy_unclosed(crashed.path()).await;
    let (path, _) = segments(crashed.path()).remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    // Also once its loss was reported.
    for _ in 0..2 {
        let spool = open(crashed.path());
        assert!(spool.replay_began() && spool.is_unreconciled(&subject("b")));
        assert_eq!(spool.baselines(), Baselines::new());
    }
}

#[tokio::test]
async fn once_replay_begins_all_that_waits_may_be_stored_also_after_a_crash() {
    let [folder, crashed] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let spool = open(folder.path());
    fill(&spool, 1).await;
    assert!(!spool.replay_began());
    let above = Baselines::from([("S".to_owned(), Baseline::new(7))]);
    spool.replay_begins(&above).await.unwrap();
    assert!(spool.replay_began());
    spool.copy_unclosed(crashed.path()).await;
    let spool = open(crashed.path());
    assert!(spool.replay_began() && spool.is_unreconciled(&subject("b")));
    assert_eq!(spool.baselines(), above);
}

#[tokio::test]
async fn no_baseline_is_made_while_something_may_be_stored_below_it() {
    use simulated_disk::{Failing, Fault, SimulatedDisk};
    let disk = SimulatedDisk::default();
    let spool = Spool::at_once(disk.open(), 1 << 30).unwrap();
    let earlier = envelope("b", 1);
    spool.append_event(&earlier, None, soon()).await.unwrap();
    let (event, nothing_known) = (envelope("a", 0), Baselines::new());
    disk.fail(Some(Failing {
        from: 0,
        fault: Fault::Device,
        for_good: true,
    }));
    let appended = spool.append_event(&event, Some(&nothing_known), soon());
    assert!(appended.await.unwrap_err().may_be_spooled());
    assert!(!spool.replay_began());
    disk.fail(None);
    let acknowledged = Baselines::from([("S".to_owned(), Baseline::new(9))]);
    spool.replay_begins(&acknowledged).await.unwrap();
    assert_eq!(spool.baselines(), nothing_known);
}

#[tokio::test]
async fn unanswered_event_is_unreconciled_until_it_is_looked_up() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let a = subject("a");
    let place = Place {
        subject: a.clone(),
        index: 7,
        bytes: 1,
    };
    spool.mark_unreconciled([place.clone()]);
    assert!(spool.is_unreconciled(&a) && !spool.is_unreconciled(&subject("b")));
    let before = spool.unreconciled();
    spool.mark_unreconciled([place.clone()]);
    spool.reconciled(&a, &before);
    assert!(spool.is_unreconciled(&a), "more was sent since");
    let before = spool.unreconciled();
    spool.reconciled(&a, &before);
    assert!(!spool.is_unreconciled(&a));
}

#[tokio::test]
async fn delivered_events_raise_the_baselines_and_damaged_ones_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    fill(&spool, 4).await;
    let mut places = places(&spool, "b", 9).await;
    spool.delivered(&places.remove(0));
    spool.damaged(&places.remove(0));
    assert_eq!((spool.delivered_events(), spool.status().damaged), (2, 1));
    let acknowledged = Baselines::from([("S".to_owned(), Baseline::new(9))]);
    spool.remove_delivered(&acknowledged).await.unwrap();
    assert_eq!((spool.delivered_events(), spool.status().events), (0, 2));
    assert_eq!(spool.baselines(), acknowledged);
    drop(spool);
    assert_eq!(open(folder.path()).baselines(), acknowledged);
}

#[tokio::test]
async fn subjects_that_may_be_stored_survive_a_restart_with_their_baselines() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let sent_above = Baselines::from([("S".to_owned(), Baseline::new(41))]);
    spool
        .append_event(&envelope("a", 0), Some(&sent_above), soon())
        .await
        .unwrap();
    spool
        .append_event(&envelope("b", 1), None, soon())
        .await
        .unwrap();
    assert!(spool.unreconciled().contains(&subject("a")));
    assert!(!spool.unreconciled().contains(&subject("b")));
    drop(spool);
    let spool = open(folder.path());
    let (unreconciled, baselines) = (spool.unreconciled(), spool.baselines());
    // The file does not say which of its subjects it was.
    assert!(unreconciled.contains(&subject("a")));
    assert!(unreconciled.contains(&subject("b")));
    assert!(!unreconciled.contains(&subject("c")));
    assert_eq!(baselines, sent_above);
}

#[tokio::test]
async fn format_of_another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    fill(&spool, 1).await;
    drop(spool);
    let (path, _) = segments(folder.path()).remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    // The first record's body begins with it.
    bytes[56] = 99;
    let length = u32::from_le_bytes(bytes[40..44].try_into().unwrap()) as usize;
    let body = crc32fast::hash(&bytes[56..56 + length]);
    bytes[48..52].copy_from_slice(&body.to_le_bytes());
    let head = crc32fast::hash(&bytes[..52]);
    bytes[52..56].copy_from_slice(&head.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let error = Spool::open(folder.path(), None).unwrap_err();
    let expected = matches!(
        error,
        SpoolError::Format {
            found: 99,
            expected: 4,
            ..
        }
    );
    assert!(expected, "{error}");
}

#[tokio::test]
async fn folder_of_the_earlier_store_is_refused_with_the_way_to_drain_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("spool.redb"), "").unwrap();
    let error = Spool::open(folder.path(), None).unwrap_err();
    assert!(matches!(error, SpoolError::OldStore { .. }), "{error}");
    assert!(
        error.to_string().contains("jetsink spool replay"),
        "{error}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_their_owners_whatever_the_umask_and_a_folder_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = tempfile::tempdir().unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (made, kept) = (parent.path().join("a/made"), parent.path().join("kept"));
    std::fs::create_dir(&kept).unwrap();
    std::fs::set_permissions(&kept, std::fs::Permissions::from_mode(0o750)).unwrap();
    for (folder, expected) in [(&made, 0o700), (&kept, 0o750)] {
        let spool = open(folder);
        fill(&spool, 40).await;
        assert_eq!(mode(folder), expected);
        for file in std::fs::read_dir(folder).unwrap() {
            assert_eq!(mode(&file.unwrap().path()), 0o600);
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn link_in_the_place_of_a_file_is_refused() {
    let [folder, elsewhere] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let spool = open(folder.path());
    fill(&spool, 1).await;
    drop(spool);
    let (segment, _) = segments(folder.path()).remove(0);
    for file in [segment, folder.path().join("lock")] {
        let moved = elsewhere.path().join(file.file_name().unwrap());
        std::fs::rename(&file, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &file).unwrap();
        let error = Spool::open(folder.path(), None).unwrap_err();
        assert!(matches!(error, SpoolError::Io { .. }), "{error}");
        std::fs::remove_file(&file).unwrap();
        std::fs::rename(&moved, &file).unwrap();
    }
    assert_eq!(open(folder.path()).status().events, 1);
}

#[tokio::test]
async fn folder_is_free_as_soon_as_the_spool_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..50 {
        let spool = open(folder.path());
        assert_eq!(spool.status().events, round);
        spool
            .append_event(&envelope("a", round as usize), None, soon())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn drained_spool_frees_its_room() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let payload = vec![b'x'; 1 << 20];
    for number in 0..40 {
        let large = Envelope::new(subject("a"), payload.clone().into())
            .with_message_id(MessageId::new(format!("sink.{number}")).unwrap());
        spool.append_event(&large, None, soon()).await.unwrap();
    }
    let length = || {
        segments(folder.path())
            .iter()
            .map(|(_, bytes)| bytes)
            .sum::<u64>()
    };
    assert!(length() > 40 << 20);
    while let Some(place) = places(&spool, "a", 1).await.pop() {
        spool.delivered(&place);
    }
    spool.remove_delivered(&Baselines::new()).await.unwrap();
    assert_eq!(length(), 0);
    spool
        .append_event(&envelope("a", 99), None, soon())
        .await
        .unwrap();
    assert_eq!(numbers(&spool, "a").await, [99]);
}

#[tokio::test]
async fn event_without_a_place_in_the_queue_is_refused_and_a_queued_one_is_of_unknown_outcome() {
    let disk = simulated_disk::SimulatedDisk::default();
    let spool = Spool::threaded(disk.open(), 1 << 30).unwrap();
    disk.hang_syncs(true);
    let large = |number| {
        Envelope::new(subject("a"), vec![b'x'; 12 << 20].into())
            .with_message_id(MessageId::new(format!("sink.{number}")).unwrap())
    };
    let [first, second] = [large(0), large(1)];
    let within = || Instant::now() + Duration::from_millis(200);
    let queued = spool
        .append_event(&first, None, within())
        .await
        .unwrap_err();
    assert!(matches!(queued, SpoolError::TooSlow { .. }) && queued.may_be_spooled());
    let refused = spool
        .append_event(&second, None, within())
        .await
        .unwrap_err();
    assert!(matches!(refused, SpoolError::Busy { .. }) && !refused.may_be_spooled());
    assert_eq!(spool.status().events, 1);
    let started = std::time::Instant::now();
    assert!(!spool.close(Duration::from_millis(100)));
    assert!(started.elapsed() < Duration::from_secs(1));
    disk.hang_syncs(false);
    assert!(spool.close(Duration::MAX));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_that_left_is_removed_once_without_a_waiting_caller() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    fill(&spool, 40).await;
    let chunk = spool.read_from(&subject("a"), 0, 100).await.unwrap();
    for (index, bytes, _) in chunk.entries {
        spool.delivered(&Place {
            subject: subject("a"),
            index,
            bytes,
        });
    }
    assert!(numbers(&spool, "a").await.is_empty(), "it is sent once");
    // As where replay is aborted in the middle of it, and `close` does it again.
    drop(spool.remove_delivered(&Baselines::new()));
    spool.remove_delivered(&Baselines::new()).await.unwrap();
    spool.written().await.unwrap();
    let status = spool.status();
    assert_eq!(status.events, 14);
    drop(spool);
    assert_eq!(open(folder.path()).status().used_bytes, status.used_bytes);
}

#[test]
fn default_limit_is_1_gib_or_half_of_the_free_space_beside_its_own_files() {
    let disks = [
        (None, 0),
        (Some(100 << 30), 0),
        (Some(100 << 20), 7),
        (Some(0), 0),
    ];
    let limits = disks.map(|(free, own)| default_limit(free, own));
    assert_eq!(limits, [1 << 30, 1 << 30, (50 << 20) + 7, 1 << 20]);
}
