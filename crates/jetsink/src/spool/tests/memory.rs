//! The memory of a spool whose disk hangs.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::outcome::SpoolError;
use crate::spool::Spool;
use crate::spool::log::disk::{Disk, DiskFile};
use crate::spool::tests::subject;
use crate::{Envelope, MessageId};

const CHILD: &str = "JETSINK_HUNG_DISK_CHILD";
const CALLERS: usize = 64;
const PAYLOAD: usize = 1 << 20;
const ROUNDS: usize = 5;
/// Beside the payloads that callers hold.
const LIMIT: usize = 32 << 20;

/// A disk that keeps nothing, and never answers a sync.
#[derive(Debug)]
struct HungDisk;

impl Disk for HungDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn create(&self, _: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(Self))
    }
    fn open(&self, _: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(Self))
    }
    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn free_bytes(&self) -> Option<u64> {
        None
    }
    fn own_bytes(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn path(&self) -> &Path {
        Path::new("a hung disk")
    }
    fn release(&self) {}
}

impl DiskFile for HungDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }
    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
    fn write_at(&self, _: u64, _: &mut [IoSlice<'_>]) -> io::Result<()> {
        Ok(())
    }
    fn set_len(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        loop {
            std::thread::park();
        }
    }
}

/// Resident memory, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: usize = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib << 10
}

/// In a process of its own: other tests need memory, too.
#[test]
fn hung_disk_costs_at_most_32_mib_beside_the_payloads_of_the_callers() {
    let test = "spool::tests::memory::the_child_appends_to_a_hung_disk";
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .env("MALLOC_ARENA_MAX", "1")
        // Freed payloads go back to the system at once.
        .env("MALLOC_MMAP_THRESHOLD_", "65536")
        .status()
        .unwrap();
    assert!(child.success(), "{child}; its message is above");
}

/// Does nothing unless the test above starts it.
#[tokio::test]
async fn the_child_appends_to_a_hung_disk() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let spool = Spool::threaded(Arc::new(HungDisk), 1 << 30).unwrap();
    let idle = resident();
    let mut unknown = 0;
    for round in 0..ROUNDS {
        let events = (0..CALLERS).map(|caller| {
            let id = MessageId::new(format!("sink.{}", round * CALLERS + caller)).unwrap();
            let payload = vec![b'x'; PAYLOAD];
            Envelope::new(subject("a"), payload.into()).with_message_id(id)
        });
        let events: Vec<Envelope> = events.collect();
        let deadline = Instant::now() + Duration::from_millis(200);
        let appends = events
            .iter()
            .map(|event| spool.append_event(event, None, deadline));
        for result in join_all(appends).await {
            match result.unwrap_err() {
                SpoolError::TooSlow { .. } => unknown += 1,
                error => assert!(matches!(error, SpoolError::Busy { .. }), "{error}"),
            }
        }
        let used = resident() - idle;
        println!(
            "round {round}: {} MiB beside the payloads",
            used.saturating_sub(CALLERS * PAYLOAD) >> 20
        );
        assert!(used <= CALLERS * PAYLOAD + LIMIT, "{used}");
        drop(events);
        assert!(resident() - idle <= LIMIT);
    }
    // The queue has room for 16 MiB.
    assert!((8..=16).contains(&unknown), "{unknown}");
}
