//! A disk in memory whose calls can be made to fail, and whose power can be cut: what was not synced is
//! then kept, lost, torn or put in another order.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;
use tempfile::TempDir;
use trial::Dice;

use crate::spool::backend::Guarded;
use crate::spool::store::{OpenError, Store};
use crate::spool::tables::Contents;

/// A disk writes so much at once or not at all.
const SECTOR: u64 = 512;

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// EIO.
    Device,
    /// ENOSPC, where something is written.
    Full,
    /// Half of it is written.
    Short,
}

/// When calls fail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failing {
    /// The number of the first call that does.
    pub(crate) from: u64,
    pub(crate) fault: Fault,
    /// Whether all after it fail too.
    pub(crate) for_good: bool,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: u64, data: Vec<u8> },
    Length(u64),
}

#[derive(Debug, Default)]
struct State {
    /// What a read gives.
    now: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<Change>,
    calls: u64,
    failing: Option<Failing>,
    /// From this call on there is no power.
    dies_at: Option<u64>,
    sync_failed: bool,
    /// How often it was opened: what an earlier process still tries comes to nothing.
    openings: u64,
    /// Changes that were tried after a failed sync, by who opened it then.
    after_failed_sync: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct SimulatedDisk {
    state: Arc<Mutex<State>>,
    /// A real one, for the note that a closing leaves beside the file: no other disk's.
    folder: Arc<TempDir>,
}

impl Default for SimulatedDisk {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            folder: Arc::new(tempfile::tempdir().unwrap()),
        }
    }
}

/// The disk as one process has it open.
#[derive(Debug, Clone)]
struct Opened {
    disk: SimulatedDisk,
    opening: u64,
}

enum Call {
    Read,
    Write,
    Sync,
}

impl SimulatedDisk {
    /// Opens the store on it, as a process does.
    pub(crate) fn open(&self) -> Result<(Store, Contents), OpenError> {
        let disk = {
            let mut state = self.state();
            state.sync_failed = false;
            state.openings += 1;
            Opened {
                disk: self.clone(),
                opening: state.openings,
            }
        };
        Store::open_with(
            &self.folder.path().join("a disk in memory"),
            Box::new(move |builder, failure| {
                builder.create_with_backend(Guarded::new(disk.clone(), failure))
            }),
        )
    }

    pub(crate) fn calls(&self) -> u64 {
        self.state().calls
    }

    pub(crate) fn fail(&self, failing: Option<Failing>) {
        self.state().failing = failing;
    }

    /// Cuts the power so many calls from now.
    pub(crate) fn dies_in(&self, calls: u64) {
        let mut state = self.state();
        state.dies_at = Some(state.calls + calls);
    }

    /// The process that has it open is killed: what it wrote is there, synced or not.
    pub(crate) fn process_is_killed(&self) {
        self.state().openings += 1;
    }

    pub(crate) fn is_dead(&self) -> bool {
        let state = self.state();
        state.dies_at.is_some_and(|at| state.calls >= at)
    }

    /// Changes that were tried after a failed sync.
    pub(crate) fn after_failed_sync(&self) -> u64 {
        self.state().after_failed_sync
    }

    /// What is on it once the power is back.
    pub(crate) fn power_returns(&self, dice: &mut Dice) {
        let mut state = self.state();
        let mut changes = std::mem::take(&mut state.unsynced);
        match dice.below(4) {
            0 => changes.clear(),
            1 => {}
            2 => changes.truncate(dice.index(changes.len() + 1)),
            _ => changes.retain(|_| dice.coin()),
        }
        if dice.coin() {
            for at in (1..changes.len()).rev() {
                changes.swap(at, dice.index(at + 1));
            }
        }
        let mut bytes = std::mem::take(&mut state.synced);
        for change in changes {
            match change {
                Change::Length(length) => bytes.resize(length as usize, 0),
                Change::Write { offset, data } if dice.once_in(3) => {
                    for sector in sectors(offset, data.len() as u64) {
                        if dice.coin() {
                            let from = (sector.start - offset) as usize;
                            let to = (sector.end - offset) as usize;
                            write(&mut bytes, sector.start, &data[from..to]);
                        }
                    }
                }
                Change::Write { offset, data } => write(&mut bytes, offset, &data),
            }
        }
        state.now.clone_from(&bytes);
        state.synced = bytes;
        state.dies_at = None;
        state.failing = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    /// Counts a call, and fails it if it is to fail.
    fn call(&mut self, call: &Call) -> Result<(), Fault> {
        let number = self.calls;
        self.calls += 1;
        if self.sync_failed && !matches!(call, Call::Read) {
            self.after_failed_sync += 1;
        }
        if self.dies_at.is_some_and(|at| number >= at) {
            return Err(Fault::Device);
        }
        let failing = self.failing.filter(|failing| {
            number == failing.from || (failing.for_good && number > failing.from)
        });
        match (failing.map(|failing| failing.fault), call) {
            (None, _) | (Some(Fault::Full), Call::Read) => Ok(()),
            (Some(fault), Call::Write) => Err(fault),
            (Some(_), Call::Read) => Err(Fault::Device),
            (Some(_), Call::Sync) => {
                self.sync_failed = true;
                Err(Fault::Device)
            }
        }
    }
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Self::Device => io::Error::other("input/output error"),
            Self::Full => io::ErrorKind::StorageFull.into(),
            Self::Short => io::ErrorKind::WriteZero.into(),
        }
    }
}

/// The parts of a write that lie in one sector each.
fn sectors(offset: u64, length: u64) -> impl Iterator<Item = Range<u64>> {
    let end = offset + length;
    let first = offset / SECTOR;
    let starts = (first..end.div_ceil(SECTOR)).map(|sector| sector * SECTOR);
    starts.map(move |start| start.max(offset)..(start + SECTOR).min(end))
}

fn write(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + data.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(data);
}

impl Opened {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.openings == self.opening {
            Ok(state)
        } else {
            Err(io::Error::other("this process is dead"))
        }
    }
}

impl StorageBackend for Opened {
    fn len(&self) -> io::Result<u64> {
        let mut state = self.state()?;
        state.call(&Call::Read).map_err(Fault::error)?;
        Ok(state.now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state()?;
        state.call(&Call::Read).map_err(Fault::error)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let there = state.now.get(start..start.saturating_add(out.len()));
        out.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state()?;
        state.call(&Call::Write).map_err(Fault::error)?;
        state.now.resize(len as usize, 0);
        state.unsynced.push(Change::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state()?;
        state.call(&Call::Sync).map_err(Fault::error)?;
        let State {
            synced, unsynced, ..
        } = &mut *state;
        for change in unsynced.drain(..) {
            match change {
                Change::Write { offset, data } => write(synced, offset, &data),
                Change::Length(length) => synced.resize(length as usize, 0),
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state()?;
        let result = state.call(&Call::Write);
        let written = match result {
            Ok(()) => data,
            Err(Fault::Short) => &data[..data.len() / 2],
            Err(fault) => return Err(fault.error()),
        };
        write(&mut state.now, offset, written);
        let data = written.to_vec();
        state.unsynced.push(Change::Write { offset, data });
        result.map_err(Fault::error)
    }
}
