//! The open files of the log: a bounded number, whatever the number of segments.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::disk::{Disk, DiskFile};

/// Segments that are open at a time, beside the one that is written to.
const MAX_OPEN: usize = 64;

type Open = VecDeque<(u64, Arc<dyn DiskFile>)>;

/// Opens segments when they are used, and keeps those that were used last.
#[derive(Debug)]
pub(crate) struct Files {
    disk: Arc<dyn Disk>,
    /// By segment id, the most recently used one last.
    open: Mutex<Open>,
}

impl Files {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        let open = Mutex::default();
        Self { disk, open }
    }

    pub(crate) fn get(&self, id: u64, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.take(id) {
            return Ok(self.keep(id, file));
        }
        // Without the lock: the disk may be slow.
        let file = self.disk.open(name)?;
        Ok(self.keep(id, file))
    }

    /// The segment was removed or replaced.
    pub(super) fn forget(&self, id: u64) {
        self.take(id);
    }

    fn take(&self, id: u64) -> Option<Arc<dyn DiskFile>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let at = open.iter().position(|(of, _)| *of == id)?;
        open.remove(at).map(|(_, file)| file)
    }

    fn keep(&self, id: u64, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push_back((id, Arc::clone(&file)));
        if open.len() > MAX_OPEN {
            open.pop_front();
        }
        file
    }
}
