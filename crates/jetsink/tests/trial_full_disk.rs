//! Trial: one sink over a small file system: filled in an outage, delivered, filled again, ten times. Each outage spools
//! as much as the first, nothing acknowledged is lost, nothing refused is stored, and an emit on the full disk takes no
//! longer with a larger backlog.
//!
//! `JETSINK_TRIAL_COUNT=10 cargo test --release -p jetsink --test trial_full_disk -- --nocapture`. The file systems are
//! mounted in a mount namespace of the test's own child: ext4 in a file as root, tmpfs as any user who may make user
//! namespaces. Without a count, a machine that allows neither runs it in a folder with a limit only.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

#[path = "common/shelf.rs"]
mod shelf;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jetsink::{EmitError, Envelope, Known, Sink, SinkSettings, SpoolError, SpoolSettings, Subject};
use shelf::Shelf;
use trial::{Trial, variable};

/// Marks a child; its value is the folder of the file system.
const CHILD: &str = "JETSINK_FULL_DISK_CHILD";

const PAYLOAD_BYTES: usize = 4_000;
const CALLERS: u64 = 16;

/// Emits on the full disk, for their latency.
const REFUSED: usize = 200;

/// A drained spool keeps its newest segment while it is short: up to 64 KiB of records, and 1 MiB of zeros.
const KEPT: u64 = (64 << 10) + (1 << 20);

/// The limit of a spool in an ordinary folder.
const LIMIT: u64 = 8 << 20;

/// A file system in a mount namespace.
#[derive(Debug, Clone, Copy)]
struct FileSystem {
    name: &'static str,
    /// Arguments of `unshare`.
    namespace: &'static [&'static str],
    /// A script that mounts `$1/disk` with `$2` MiB.
    mount: &'static str,
}

const EXT4: FileSystem = FileSystem {
    name: "ext4",
    namespace: &["--mount"],
    mount: "truncate -s \"$2M\" \"$1/image\" && mkfs.ext4 -q -F \"$1/image\" && mount -o loop \"$1/image\" \"$1/disk\"",
};
const TMPFS: FileSystem = FileSystem {
    name: "tmpfs",
    namespace: &["--user", "--map-root-user", "--mount"],
    mount: "mount -t tmpfs -o size=\"$2m\" tmpfs \"$1/disk\"",
};

impl FileSystem {
    /// Runs a command with the file system mounted; its folder is in [`CHILD`].
    fn run(self, mebibytes: u64, command: &[&str]) -> std::process::ExitStatus {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("disk")).unwrap();
        let script = format!("{} || exit 77; shift 2; exec \"$@\"", self.mount);
        let status = Command::new("unshare")
            .args(self.namespace)
            .args(["--", "sh", "-c", &script, "sh"])
            .arg(folder.path())
            .arg(mebibytes.to_string())
            .args(command)
            .env(CHILD, folder.path().join("disk"))
            .status();
        status.unwrap()
    }

    fn is_allowed(self) -> bool {
        Command::new("unshare").arg("--version").output().is_ok()
            && self.run(24, &["true"]).success()
    }

    fn run_test(self, mebibytes: u64, test: &str) {
        println!("{} of {mebibytes} MiB", self.name);
        let own = std::env::current_exe().unwrap();
        let command = [own.to_str().unwrap(), "--exact", test, "--nocapture"];
        let status = self.run(mebibytes, &command);
        assert!(status.success(), "{status}; its output is above");
    }
}

fn event(number: u64) -> Envelope {
    let mut payload = vec![b'x'; PAYLOAD_BYTES];
    payload[..8].copy_from_slice(&number.to_le_bytes());
    let subject = Subject::new(format!("events.{}", number % 3)).unwrap();
    Envelope::new(subject, payload.into())
}

fn number_of(payload: &Bytes) -> u64 {
    u64::from_le_bytes(payload[..8].try_into().unwrap())
}

fn is_slow(error: &EmitError) -> bool {
    matches!(error, EmitError::Spool(failed) if matches!(failed.error, SpoolError::Busy { .. }))
}

/// The outcome of one outage.
#[derive(Debug)]
struct Outage {
    spooled: u64,
    /// The median latency of an emit on the full disk.
    refused_in: Duration,
}

/// One sink for all outages.
struct Trialled {
    folder: PathBuf,
    shelf: Shelf,
    sink: Sink<Shelf>,
    next: u64,
    ok: Vec<u64>,
    not_spooled: Vec<u64>,
}

impl Trialled {
    async fn open(folder: &Path, limit: u64) -> Self {
        let shelf = Shelf::away();
        let settings = SpoolSettings::new(folder).limit_bytes(limit).unwrap();
        let sink = Sink::with_spool(shelf.clone(), SinkSettings::default(), settings);
        Self {
            folder: folder.to_owned(),
            shelf,
            sink: sink.await.unwrap(),
            next: 0,
            ok: Vec::new(),
            not_spooled: Vec::new(),
        }
    }

    /// Emits events side by side. Returns the number of those that are spooled, or may be: a disk that took longer than
    /// a deadline is not full.
    async fn emit(&mut self, events: u64) -> u64 {
        let numbers: Vec<u64> = (self.next..self.next + events).collect();
        self.next += events;
        let emits = numbers.iter().map(|number| self.sink.emit(event(*number)));
        let results = futures_util::future::join_all(emits).await;
        let mut spooled = 0;
        for (number, result) in numbers.into_iter().zip(results) {
            match result {
                Ok(_) => {
                    self.ok.push(number);
                    spooled += 1;
                }
                Err(error) if error.known() == Known::OutcomeUnknown => spooled += 1,
                Err(error) => {
                    self.not_spooled.push(number);
                    spooled += u64::from(is_slow(&error));
                }
            }
        }
        spooled
    }

    async fn outage(&mut self) -> Outage {
        self.shelf.take(0);
        let mut spooled = 0;
        loop {
            let more = self.emit(CALLERS).await;
            spooled += more;
            if more == 0 {
                break;
            }
        }
        let mut latencies = Vec::new();
        for _ in 0..REFUSED {
            let started = Instant::now();
            spooled += self.emit(1).await;
            latencies.push(started.elapsed());
        }
        latencies.sort_unstable();
        Outage {
            spooled,
            refused_in: latencies[REFUSED / 2],
        }
    }

    /// The broker is back until the spool is empty, and the writer has had time to remove its files.
    async fn deliver(&self) {
        self.shelf.take(u64::MAX);
        let started = Instant::now();
        while self.sink.spool().unwrap().status().events > 0 {
            assert!(
                started.elapsed() < Duration::from_secs(120),
                "not delivered"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        while segment_bytes(&self.folder) > KEPT {
            assert!(started.elapsed() < Duration::from_secs(120), "not removed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Compares the stored events with the results of their emits.
    fn check(&self) {
        for payloads in self.shelf.stored().into_values() {
            let numbers: Vec<u64> = payloads.iter().map(number_of).collect();
            assert!(numbers.is_sorted_by(|a, b| a < b), "twice, or out of order");
        }
        let mut stored: Vec<u64> = self.shelf.payloads().iter().map(number_of).collect();
        stored.sort_unstable();
        for number in &self.ok {
            assert!(stored.binary_search(number).is_ok(), "{number} is lost");
        }
        for number in &self.not_spooled {
            assert!(
                stored.binary_search(number).is_err(),
                "{number} was refused"
            );
        }
    }
}

/// The bytes of the segments. A delivered event counts out at once, and leaves the disk a moment later.
fn segment_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let segments = paths.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
    // It may be removed now.
    let sizes = segments.filter_map(|path| Some(path.metadata().ok()?.len()));
    sizes.sum()
}

/// Runs `count` outages; returns the first.
async fn outages(folder: &Path, limit: u64, count: u64) -> Outage {
    let mut trialled = Trialled::open(folder, limit).await;
    let mut first: Option<Outage> = None;
    for number in 0..count {
        let outage = trialled.outage().await;
        println!("outage {number}: {outage:?}");
        trialled.deliver().await;
        let Some(first) = &first else {
            first = Some(outage);
            continue;
        };
        // The last group need not fill the last segment in the same way.
        assert!(
            outage.spooled + CALLERS >= first.spooled,
            "{} events, {} in the first outage",
            outage.spooled,
            first.spooled
        );
    }
    trialled.check();
    let receipt = trialled.sink.close(Duration::from_secs(10)).await;
    assert_eq!((receipt.spooled, receipt.dead_letters), (0, 0));
    first.unwrap()
}

#[test]
fn each_outage_spools_as_much_as_the_first_on_a_small_file_system() {
    let trial = Trial::new("full-disk", 3);
    let allowed: Vec<FileSystem> = [EXT4, TMPFS]
        .into_iter()
        .filter(|f| f.is_allowed())
        .collect();
    if allowed.is_empty() {
        let is_asked_for = variable("JETSINK_TRIAL_COUNT").is_some();
        assert!(!is_asked_for, "run it as root, or allow user namespaces");
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(outages(folder.path(), LIMIT, trial.count()));
        return;
    }
    for file_system in allowed {
        file_system.run_test(24, "the_child_fills_its_disk");
    }
    trial.passed(trial.count());
}

/// Does nothing unless the test above starts it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_fills_its_disk() {
    let Some(disk) = std::env::var_os(CHILD) else {
        return;
    };
    let count = variable("JETSINK_TRIAL_COUNT").unwrap_or(3).max(2);
    let by_default = Sink::with_spool(
        Shelf::away(),
        SinkSettings::default(),
        SpoolSettings::new(Path::new(&disk).join("default")),
    );
    let limit = by_default
        .await
        .unwrap()
        .spool()
        .unwrap()
        .status()
        .limit_bytes;
    assert!((8 << 20..=12 << 20).contains(&limit), "{limit}");
    outages(&Path::new(&disk).join("spool"), 1 << 30, count).await;
}

#[test]
fn emit_on_a_full_disk_takes_no_longer_with_a_larger_backlog() {
    if !TMPFS.is_allowed() {
        return;
    }
    for mebibytes in [24, 384] {
        TMPFS.run_test(mebibytes, "the_child_times_emits_on_its_full_disk");
    }
}

/// Does nothing unless the test above starts it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_times_emits_on_its_full_disk() {
    let Some(disk) = std::env::var_os(CHILD) else {
        return;
    };
    let first = outages(&Path::new(&disk).join("spool"), 1 << 30, 1).await;
    // The former store took 801 ms with 1.5 GB.
    assert!(first.refused_in < Duration::from_millis(20), "{first:?}");
}
