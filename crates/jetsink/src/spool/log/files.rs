//! The open files of the log: a bounded number for any number of segments.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile};

/// Segments that are open at a time, beside the one that is written to.
const MAX_OPEN: usize = 64;

/// Opens segments when they are used, and keeps those that were used last.
#[derive(Debug)]
pub(crate) struct Files {
    disk: Arc<dyn Disk>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// By segment id, the most recently used one last.
    files: VecDeque<(u64, Arc<dyn DiskFile>)>,
    /// How often a file was forgotten. A file that was opened before that is not kept: it may be the one.
    forgotten: u64,
}

impl Files {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        let open = Mutex::default();
        Self { disk, open }
    }

    pub(crate) fn get(&self, id: u64, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let forgotten = {
            let mut open = self.lock();
            if let Some(at) = open.files.iter().position(|(of, _)| *of == id)
                && let Some((id, file)) = open.files.remove(at)
            {
                open.files.push_back((id, Arc::clone(&file)));
                return Ok(file);
            }
            open.forgotten
        };
        // Without the lock: the disk may be slow.
        let file = self.disk.open(name)?;
        let mut open = self.lock();
        if open.forgotten == forgotten {
            open.files.push_back((id, Arc::clone(&file)));
        }
        if open.files.len() > MAX_OPEN {
            open.files.pop_front();
        }
        Ok(file)
    }

    /// The segment was removed or replaced.
    pub(super) fn forget(&self, id: u64) {
        let mut open = self.lock();
        open.files.retain(|(of, _)| *of != id);
        open.forgotten += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
