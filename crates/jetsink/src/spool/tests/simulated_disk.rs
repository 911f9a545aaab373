//! A folder in memory whose calls can be made to fail or hang, that can run full, and whose power can be
//! cut: changes that were not synced are then kept, lost, torn or applied in another order.
//!
//! A failed sync behaves as on Linux: the changes stay visible, and never reach the disk unless they are
//! written again.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use trial::Dice;

use crate::spool::log::disk::{Disk, DiskFile};

/// A disk writes so much at once or not at all.
const SECTOR: u64 = 512;

/// The bytes that become unreadable together.
pub(crate) const PAGE: u64 = 4_096;

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// EIO.
    Device,
    /// ENOSPC, where something is written.
    Full,
    /// Half of it is written.
    Short,
    /// The caller panics.
    Panic,
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

#[derive(Debug, Clone)]
enum Entry {
    Link(String, u64),
    Unlink(String),
    Rename(String, String),
}

#[derive(Debug, Default, Clone)]
struct Inode {
    /// The content that a read returns.
    now: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug, Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    synced_names: BTreeMap<String, u64>,
    entries: Vec<Entry>,
    next_inode: u64,
    calls: u64,
    failing: Option<Failing>,
    /// From this call on there is no power.
    dies_at: Option<u64>,
    /// The number of openings: calls of an earlier process have no effect.
    openings: u64,
    capacity: Option<u64>,
    syncs_hang: bool,
    /// A file whose opening hangs.
    opening_hangs: Option<String>,
    /// The opening of this file fails.
    opening_fails: Option<String>,
    /// A page of a file that can't be read.
    unreadable: Option<(u64, u64)>,
    open_files: usize,
    /// How long a rename takes after it was made.
    rename_takes: Duration,
    sync_takes: Duration,
    /// The bytes of the longest write.
    longest_write: usize,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct SimulatedDisk(Arc<Shared>);

/// The disk as one process has it open.
#[derive(Debug, Clone)]
struct Opened {
    disk: SimulatedDisk,
    opening: u64,
}

#[derive(Debug)]
struct OpenFile {
    opened: Opened,
    inode: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Read,
    Write,
    Sync,
    Remove,
}

impl SimulatedDisk {
    /// The folder, as a new process opens it.
    pub(crate) fn open(&self) -> Arc<dyn Disk> {
        let mut state = self.state();
        state.openings += 1;
        Arc::new(Opened {
            disk: self.clone(),
            opening: state.openings,
        })
    }

    pub(crate) fn calls(&self) -> u64 {
        self.state().calls
    }

    pub(crate) fn fail(&self, failing: Option<Failing>) {
        self.state().failing = failing;
    }

    /// Cuts the power after this number of calls.
    pub(crate) fn dies_in(&self, calls: u64) {
        let mut state = self.state();
        state.dies_at = Some(state.calls + calls);
    }

    /// The process that has it open is killed: its writes stay, synced or not.
    pub(crate) fn process_is_killed(&self) {
        self.state().openings += 1;
    }

    pub(crate) fn is_dead(&self) -> bool {
        let state = self.state();
        state.dies_at.is_some_and(|at| state.calls >= at)
    }

    pub(crate) fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Lets reads of one page of a file fail.
    pub(crate) fn set_unreadable(&self, name: &str, page: u64) {
        let mut state = self.state();
        state.unreadable = Some((state.names[name], page));
    }

    pub(crate) fn set_readable(&self) {
        self.state().unreadable = None;
    }

    /// Lets renames return so much later.
    pub(crate) fn slow_renames(&self, by: Duration) {
        self.state().rename_takes = by;
    }

    /// Lets syncs of files return so much later.
    pub(crate) fn slow_syncs(&self, by: Duration) {
        self.state().sync_takes = by;
    }

    /// The bytes of the longest write.
    pub(crate) fn longest_write(&self) -> usize {
        self.state().longest_write
    }

    /// The number of open files.
    pub(crate) fn open_files(&self) -> usize {
        self.state().open_files
    }

    /// Lets each sync wait until this is called again with false.
    pub(crate) fn hang_syncs(&self, hang: bool) {
        self.state().syncs_hang = hang;
        self.0.released.notify_all();
    }

    /// Lets the opening of a file wait until this is called again without it.
    pub(crate) fn hang_opening_of(&self, name: Option<&str>) {
        self.state().opening_hangs = name.map(str::to_owned);
        self.0.released.notify_all();
    }

    /// Lets the opening of a file fail until this is called again without it.
    pub(crate) fn fail_opening_of(&self, name: Option<&str>) {
        self.state().opening_fails = name.map(str::to_owned);
    }

    /// Removes a file, as an operator does.
    pub(crate) fn remove(&self, name: &str) {
        self.state().change(Entry::Unlink(name.to_owned()));
    }

    /// The files by name, as a reader sees them.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        let files = state.names.iter();
        let files = files.map(|(name, inode)| (name.clone(), state.inodes[inode].now.clone()));
        files.collect()
    }

    pub(crate) fn used(&self) -> u64 {
        self.state().used()
    }

    /// A disk with these files, all synced.
    pub(crate) fn of(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let disk = Self::default();
        for (name, bytes) in files {
            let mut state = disk.state();
            let inode = state.link(name);
            state.entries.clear();
            state.synced_names.insert(name.clone(), inode);
            let file = state.inodes.get_mut(&inode).unwrap();
            file.now.clone_from(bytes);
            file.synced.clone_from(bytes);
        }
        disk
    }

    /// Restores the power: unsynced changes are kept, lost, torn or reordered.
    pub(crate) fn power_returns(&self, dice: &mut Dice) {
        let mut state = self.state();
        let mut entries = std::mem::take(&mut state.entries);
        keep_some(&mut entries, dice, false);
        let mut names = state.synced_names.clone();
        for entry in entries {
            entry.apply(&mut names);
        }
        let linked: Vec<u64> = names.values().copied().collect();
        state.inodes.retain(|inode, _| linked.contains(inode));
        for inode in state.inodes.values_mut() {
            let mut changes = std::mem::take(&mut inode.unsynced);
            keep_some(&mut changes, dice, true);
            for change in changes {
                match change {
                    Change::Length(length) => inode.synced.resize(length as usize, 0),
                    Change::Write { offset, data } if dice.once_in(3) => {
                        for sector in sectors(offset, data.len() as u64) {
                            if dice.coin() {
                                let from = (sector.start - offset) as usize;
                                let to = (sector.end - offset) as usize;
                                write(&mut inode.synced, sector.start, &data[from..to]);
                            }
                        }
                    }
                    Change::Write { offset, data } => write(&mut inode.synced, offset, &data),
                }
            }
            inode.now.clone_from(&inode.synced);
        }
        state.names.clone_from(&names);
        state.synced_names = names;
        state.dies_at = None;
        state.failing = None;
        state.openings += 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Some of the changes, perhaps in another order.
fn keep_some<T>(changes: &mut Vec<T>, dice: &mut Dice, any_order: bool) {
    match dice.below(4) {
        0 => changes.clear(),
        1 => {}
        2 => changes.truncate(dice.index(changes.len() + 1)),
        _ => changes.retain(|_| dice.coin()),
    }
    if any_order && dice.coin() {
        for at in (1..changes.len()).rev() {
            changes.swap(at, dice.index(at + 1));
        }
    }
}

impl Entry {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Link(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Unlink(name) => {
                names.remove(name);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }
}

impl State {
    /// Counts a call, and fails it if it is to fail.
    fn call(&mut self, call: Call) -> Result<(), Fault> {
        let number = self.calls;
        self.calls += 1;
        if self.dies_at.is_some_and(|at| number >= at) {
            return Err(Fault::Device);
        }
        let failing = self.failing.filter(|failing| {
            number == failing.from || (failing.for_good && number > failing.from)
        });
        match (failing.map(|failing| failing.fault), call) {
            (None, _) | (Some(Fault::Full), Call::Read | Call::Remove) => Ok(()),
            (Some(Fault::Panic), _) => Err(Fault::Panic),
            (Some(fault), Call::Write) => Err(fault),
            (Some(_), Call::Read | Call::Sync | Call::Remove) => Err(Fault::Device),
        }
    }

    fn link(&mut self, name: &str) -> u64 {
        let inode = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(inode, Inode::default());
        self.change(Entry::Link(name.to_owned(), inode));
        inode
    }

    fn change(&mut self, entry: Entry) {
        entry.apply(&mut self.names);
        self.entries.push(entry);
    }

    fn used(&self) -> u64 {
        let linked = self.names.values().map(|inode| &self.inodes[inode]);
        linked.map(|inode| inode.now.len() as u64).sum()
    }
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Self::Device => io::Error::other("input/output error"),
            Self::Full => io::ErrorKind::StorageFull.into(),
            Self::Short => io::ErrorKind::WriteZero.into(),
            Self::Panic => panic!("a planted panic"),
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
    fn state(&self, call: Call) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.disk.state();
        while call == Call::Sync && state.syncs_hang {
            state = self.disk.0.released.wait(state).unwrap();
        }
        if state.openings != self.opening {
            return Err(io::Error::other("this process is dead"));
        }
        state.call(call).map_err(Fault::error)?;
        Ok(state)
    }

    fn file(&self, inode: u64) -> Arc<dyn DiskFile> {
        self.disk.state().open_files += 1;
        Arc::new(OpenFile {
            opened: self.clone(),
            inode,
        })
    }
}

impl Disk for Opened {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state(Call::Read)?.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state(Call::Write)?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.link(name);
        drop(state);
        Ok(self.file(inode))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state(Call::Read)?;
        while state.opening_hangs.as_deref() == Some(name) {
            state = self.disk.0.released.wait(state).unwrap();
        }
        if state.opening_fails.as_deref() == Some(name) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let inode = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        drop(state);
        Ok(self.file(inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state(Call::Remove)?;
        state.change(Entry::Rename(from.to_owned(), to.to_owned()));
        let takes = state.rename_takes;
        drop(state);
        std::thread::sleep(takes);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state(Call::Remove)?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Entry::Unlink(name.to_owned()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state(Call::Sync)?;
        state.entries.clear();
        state.synced_names = state.names.clone();
        Ok(())
    }

    fn own_bytes(&self) -> io::Result<u64> {
        Ok(self.disk.state().used())
    }

    fn free_bytes(&self) -> Option<u64> {
        let state = self.disk.state();
        state
            .capacity
            .map(|capacity| capacity.saturating_sub(state.used()))
    }

    fn path(&self) -> &Path {
        Path::new("a folder in memory")
    }

    fn release(&self) {}
}

impl OpenFile {
    fn with<T>(&self, call: Call, act: impl FnOnce(&mut Inode) -> T) -> io::Result<T> {
        let mut state = self.opened.state(call)?;
        let inode = state.inodes.get_mut(&self.inode);
        inode
            .map(act)
            .ok_or_else(|| io::Error::other("no such file"))
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.opened.disk.state().open_files -= 1;
    }
}

impl DiskFile for OpenFile {
    fn len(&self) -> io::Result<u64> {
        self.with(Call::Read, |inode| inode.now.len() as u64)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let unreadable = self.opened.disk.state().unreadable;
        let (from, to) = (offset / PAGE, (offset + bytes.len() as u64).div_ceil(PAGE));
        if unreadable.is_some_and(|(inode, page)| inode == self.inode && (from..to).contains(&page))
        {
            return Err(Fault::Device.error());
        }
        self.with(Call::Read, |inode| {
            let rest = inode.now.get(offset as usize..).unwrap_or(&[]);
            let read = rest.len().min(bytes.len());
            bytes[..read].copy_from_slice(&rest[..read]);
            read
        })
    }

    fn write_at(&self, offset: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut data: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let mut state = self.opened.disk.state();
        if state.openings != self.opened.opening {
            return Err(io::Error::other("this process is dead"));
        }
        state.longest_write = state.longest_write.max(data.len());
        let mut result = state.call(Call::Write);
        let (used, capacity) = (state.used(), state.capacity);
        let inode = state.inodes.get_mut(&self.inode).unwrap();
        let more = (offset + data.len() as u64).saturating_sub(inode.now.len() as u64);
        if result.is_ok() && capacity.is_some_and(|capacity| used + more > capacity) {
            result = Err(Fault::Full);
        }
        match result {
            Ok(()) => {}
            Err(Fault::Short) => data.truncate(data.len() / 2),
            Err(fault) => return Err(fault.error()),
        }
        write(&mut inode.now, offset, &data);
        inode.unsynced.push(Change::Write { offset, data });
        result.map_err(Fault::error)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.with(Call::Write, |inode| {
            inode.now.resize(length as usize, 0);
            inode.unsynced.push(Change::Length(length));
        })
    }

    fn sync(&self) -> io::Result<()> {
        let state = self.opened.disk.state();
        let takes = state.sync_takes;
        drop(state);
        std::thread::sleep(takes);
        let synced = self.with(Call::Sync, |inode| {
            for change in inode.unsynced.drain(..) {
                match change {
                    Change::Write { offset, data } => write(&mut inode.synced, offset, &data),
                    Change::Length(length) => inode.synced.resize(length as usize, 0),
                }
            }
        });
        if synced.is_err() {
            let mut state = self.opened.disk.state();
            if state.openings == self.opened.opening
                && let Some(inode) = state.inodes.get_mut(&self.inode)
            {
                inode
                    .unsynced
                    .retain(|change| matches!(change, Change::Length(_)));
            }
        }
        synced
    }
}
