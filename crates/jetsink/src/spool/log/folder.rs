//! A spool's folder in the file system.

use std::fs::{self, File, TryLockError};
use std::io::{self, IoSlice};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use rustix::io::{pread, pwritev, retry_on_intr};
use tracing::warn;

use super::disk::{Disk, DiskFile};
use crate::outcome::SpoolError;
use crate::private_file;

/// The name of the file that is locked for as long as the spool is open.
const LOCK: &str = "lock";

/// A folder of the file system.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    folder: File,
    /// Locked until it is released, or the last user of the folder is gone.
    lock: File,
    /// That a file stays root's is logged once.
    owner_warning: Once,
}

impl Folder {
    /// Opens and locks a folder. Makes it, with mode 0700, if `make` says so and it is missing.
    pub(crate) fn open(path: &Path, make: bool) -> Result<Arc<dyn Disk>, SpoolError> {
        let failed = |doing| move |error: io::Error| SpoolError::io(path, doing, &error);
        if make {
            private_file::create_folder(path).map_err(failed("creating it"))?;
        }
        let folder = File::open(path).map_err(failed("opening it"))?;
        let metadata = folder.metadata().map_err(failed("reading its mode"))?;
        if !metadata.is_dir() {
            return Err(failed("opening it")(io::ErrorKind::NotADirectory.into()));
        }
        let mode = metadata.permissions().mode();
        if mode & 0o077 != 0 {
            warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777),
                "other users may enter the spool's folder; its files are readable by their owner only");
        }
        let lock = private_file::open_or_create(&path.join(LOCK));
        let (lock, is_new) = lock.map_err(failed("opening its lock"))?;
        // An earlier one may be a further name of any file, which the owner of the folder has linked: root must not change
        // its owner or mode.
        if is_new
            || private_file::have_one_owner(&lock, &folder).map_err(failed("reading its owner"))?
        {
            private_file::set_mode(&lock).map_err(failed("setting the mode of its lock"))?;
        }
        let folder = Self {
            path: path.to_owned(),
            folder,
            lock,
            owner_warning: Once::new(),
        };
        if is_new {
            folder.give_to_owner(&folder.lock);
        }
        match folder.lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let path = path.to_owned();
                return Err(SpoolError::InUse { path });
            }
            Err(TryLockError::Error(error)) => {
                let doing = "locking it (a spool needs a file system with locks)";
                return Err(SpoolError::io(path, doing, &error));
            }
        }
        Ok(Arc::new(folder))
    }

    /// Makes the owner of the folder the owner of a file that root has just created: the service of that user has to read it
    /// after an operator's command. If that fails, root itself can go on.
    fn give_to_owner(&self, file: &File) {
        if let Err(error) = private_file::give_to_owner(file, &self.folder) {
            self.owner_warning.call_once(|| {
                warn!(path = %self.path.display(), %error,
                    "the files that root makes in the spool's folder can't be given to the folder's owner");
            });
        }
    }
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?;
        let names = names.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = private_file::options()
            .create_new(true)
            .open(self.path.join(name))?;
        private_file::set_mode(&file)?;
        self.give_to_owner(&file);
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(
            private_file::options().open(self.path.join(name))?,
        ))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        self.folder.sync_all()
    }

    fn free_bytes(&self) -> Option<u64> {
        let about = rustix::fs::fstatvfs(&self.folder).ok()?;
        about.f_bavail.checked_mul(about.f_frsize)
    }

    fn own_bytes(&self) -> io::Result<u64> {
        let entries = fs::read_dir(&self.path)?;
        entries.map(|entry| Ok(entry?.metadata()?.len())).sum()
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn release(&self) {
        // The system releases it when the file is closed, if not now.
        let _ = self.lock.unlock();
    }
}

impl DiskFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < bytes.len() {
            let rest = &mut bytes[read..];
            match retry_on_intr(|| pread(self, &mut *rest, offset + read as u64))? {
                0 => break,
                more => read += more,
            }
        }
        Ok(read)
    }

    fn write_at(&self, mut offset: u64, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        // Empty parts: a write of nothing else would count as one that makes no progress.
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            let written = retry_on_intr(|| pwritev(self, parts, offset))?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut parts, written);
            offset += written as u64;
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        File::set_len(self, length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()?;
        match self.metadata()?.nlink() {
            // The system deletes its content when this process ends.
            0 => Err(io::Error::other("the file was removed from its folder")),
            _ => Ok(()),
        }
    }
}
