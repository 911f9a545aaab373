//! Two storage backends for redb: one that fills the file ahead of its use, and one that reads a file
//! that redb refuses to open.

use std::fmt::{self, Debug};
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use crate::store::Result;

const STEP: u64 = 4 << 20;

/// redb makes its file longer without filling it, so that each fsync after it also allocates blocks.
/// This backend writes zeros ahead, 4 MiB at a time; what is written later only overwrites.
pub(crate) struct FilledAhead {
    file: FileBackend,
    filled: Mutex<u64>,
}

impl FilledAhead {
    pub(crate) fn new(file: File) -> Result<Self> {
        let filled = Mutex::new(file.metadata()?.len());
        Ok(Self {
            file: FileBackend::new(file)?,
            filled,
        })
    }
}

impl Debug for FilledAhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FilledAhead")
    }
}

impl StorageBackend for FilledAhead {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut filled = self.filled.lock().unwrap_or_else(PoisonError::into_inner);
        *filled = len.min(*filled);
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut filled = self.filled.lock().unwrap_or_else(PoisonError::into_inner);
        let end = offset + data.len() as u64;
        if end > *filled {
            let ahead = (end + STEP).min(self.file.len()?).max(end);
            self.file
                .write(*filled, &vec![0; (ahead - *filled) as usize])?;
            *filled = ahead;
        }
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> std::result::Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn unlock_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> std::result::Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> std::result::Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

/// Shows a file without the mark that it needs a repair, for reading only. The repair would verify
/// every page and refuse the whole file for one that is damaged.
#[derive(Debug)]
pub(crate) struct WithoutRepairMark(pub(crate) FileBackend);

/// Where redb's header holds its flags, and the one that asks for a repair (docs/design.md of redb).
const FLAGS: usize = 9;
const REPAIR: u8 = 2;

impl StorageBackend for WithoutRepairMark {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)?;
        if offset == 0
            && let Some(flags) = out.get_mut(FLAGS)
        {
            *flags &= !REPAIR;
        }
        Ok(())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, _offset: u64, _data: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    // Nobody writes to a file that no process can open: there is nothing to lock against.

    fn try_lock_range(
        &self,
        _start: Bound<u64>,
        _end: Bound<u64>,
    ) -> std::result::Result<bool, BackendError> {
        Ok(true)
    }

    fn try_lock_shared_range(
        &self,
        _start: Bound<u64>,
        _end: Bound<u64>,
    ) -> std::result::Result<bool, BackendError> {
        Ok(true)
    }

    fn lock_range(
        &self,
        _start: Bound<u64>,
        _end: Bound<u64>,
    ) -> std::result::Result<(), BackendError> {
        Ok(())
    }

    fn lock_shared_range(
        &self,
        _start: Bound<u64>,
        _end: Bound<u64>,
    ) -> std::result::Result<(), BackendError> {
        Ok(())
    }

    fn unlock_range(
        &self,
        _start: Bound<u64>,
        _end: Bound<u64>,
    ) -> std::result::Result<(), BackendError> {
        Ok(())
    }

    fn query_lock_range(
        &self,
        _start: Bound<u64>,
        _end: Bound<u64>,
    ) -> std::result::Result<bool, BackendError> {
        Ok(false)
    }
}
