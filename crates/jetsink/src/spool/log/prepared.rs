//! The next segment: a thread fills it with zeros, so that its syncs commit no journal.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::disk::{Disk, DiskFile};
use super::writer::{Log, random};

/// How the names of segments end that are not in use yet.
pub(crate) const PREPARED: &str = ".next";

/// A thread that was given up is left to itself after so long.
const MAX_WAIT: Duration = Duration::from_millis(250);

/// Written at a time.
const CHUNK: u64 = 256 << 10;

/// A segment full of zeros, synced with its folder.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) file: Arc<dyn DiskFile>,
}

/// A thread at work, and the order to end early.
#[derive(Debug)]
pub(super) struct Preparing {
    thread: JoinHandle<io::Result<Prepared>>,
    is_given_up: Arc<AtomicBool>,
}

impl Log {
    /// Lets a thread prepare the next segment, if there is ample room.
    pub(super) fn prepare(&mut self) {
        let bytes = self.segment_bytes;
        let has_room = || self.disk.free_bytes().is_none_or(|free| free >= 4 * bytes);
        if !self.has_threads || self.preparing.is_some() || !has_room() {
            return;
        }
        let disk = Arc::clone(&self.disk);
        let is_given_up = Arc::<AtomicBool>::default();
        let is_over = Arc::clone(&is_given_up);
        let thread = std::thread::Builder::new().name("jetsink-segment".to_owned());
        let thread = thread.spawn(move || prepare(&*disk, bytes, &is_over)).ok();
        self.preparing = thread.map(|thread| Preparing {
            thread,
            is_given_up,
        });
    }

    /// The segment that was prepared, if it is ready.
    pub(super) fn take_prepared(&mut self) -> Option<Prepared> {
        let is_ready = |preparing: &mut Preparing| preparing.thread.is_finished();
        let preparing = self.preparing.take_if(is_ready)?;
        preparing.thread.join().ok()?.ok()
    }

    /// Ends the thread, and removes its segment. Does not wait for a disk that hangs: the next opening removes
    /// the file too.
    pub(super) fn stop_preparing(&mut self) {
        if let Some(preparing) = &self.preparing {
            preparing.is_given_up.store(true, Ordering::Relaxed);
            wait_for(&preparing.thread);
        }
        if let Some(prepared) = self.take_prepared() {
            let _ = self.disk.remove(&prepared.name);
        }
        self.preparing = None;
    }
}

/// Waits for a thread that was given up, for as long as a healthy disk may take.
pub(super) fn wait_for<T>(thread: &JoinHandle<T>) {
    let started = Instant::now();
    while !thread.is_finished() && started.elapsed() < MAX_WAIT {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn prepare(disk: &dyn Disk, bytes: u64, is_given_up: &AtomicBool) -> io::Result<Prepared> {
    let id = random();
    let name = format!("{id:016x}{PREPARED}");
    let file = disk.create(&name)?;
    let filled = fill(&*file, bytes, is_given_up).and_then(|()| disk.sync());
    let filled = filled.and_then(|()| still_wanted(is_given_up));
    if let Err(error) = filled {
        let _ = disk.remove(&name);
        return Err(error);
    }
    Ok(Prepared { id, name, file })
}

fn still_wanted(is_given_up: &AtomicBool) -> io::Result<()> {
    match is_given_up.load(Ordering::Relaxed) {
        true => Err(io::ErrorKind::Interrupted.into()),
        false => Ok(()),
    }
}

fn fill(file: &dyn DiskFile, bytes: u64, is_given_up: &AtomicBool) -> io::Result<()> {
    let zeros = vec![0; CHUNK as usize];
    let mut offset = 0;
    while offset < bytes {
        still_wanted(is_given_up)?;
        let part = CHUNK.min(bytes - offset);
        file.write_at(offset, &mut [IoSlice::new(&zeros[..part as usize])])?;
        offset += part;
    }
    file.sync()
}
