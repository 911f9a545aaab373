//! What the spool asks of a store, and the candidates behind it.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

#[cfg(feature = "redb")]
use crate::stores::redb::Mode;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// The page or block cache that each store gets, so that none wins by holding everything in memory.
/// An engine whose memory must stay flat within 16 MiB can't afford more.
#[cfg(any(feature = "redb", feature = "fjall", feature = "sqlite"))]
pub(crate) const CACHE_BYTES: u32 = 16 << 20;

/// A queue of records under keys that count up.
pub(crate) trait Store: Send {
    /// Stores the group under the keys from `first` on, all or nothing; returns after the fsync.
    fn append(&mut self, first: u64, group: &[&[u8]]) -> Result<()>;

    /// Shows up to `limit` records from key `from` on, in order.
    fn read(&mut self, from: u64, limit: usize, visit: &mut dyn FnMut(u64, &[u8])) -> Result<()>;

    /// Deletes all records before `end` in one transaction; returns after the fsync.
    fn delete_before(&mut self, end: u64) -> Result<()>;

    /// The keys that are there, from the first to one past the last.
    fn bounds(&mut self) -> Result<Option<Range<u64>>>;

    /// Gives free space back to the file system, as far as the store can.
    fn reclaim(&mut self) -> Result<()>;

    /// The store's own check of everything it holds; false when it finds damage. `None`: it has none.
    fn verify(&mut self) -> Result<Option<bool>>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// The yardstick: `write` and `fdatasync` of the same groups to one file. No candidate.
    File,
    /// redb as it comes: one fsync a commit, the whole file walked at the open after a crash.
    #[cfg(feature = "redb")]
    Redb,
    /// redb with quick repair: two fsyncs a commit, no walk at the open after a crash.
    #[cfg(feature = "redb")]
    RedbQuick,
    /// redb over a backend of ours that fills the file with zeros ahead of its use.
    #[cfg(feature = "redb")]
    RedbFilled,
    #[cfg(feature = "fjall")]
    Fjall,
    #[cfg(feature = "sqlite")]
    Sqlite,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            #[cfg(feature = "redb")]
            Self::Redb => "redb",
            #[cfg(feature = "redb")]
            Self::RedbQuick => "redb-quick",
            #[cfg(feature = "redb")]
            Self::RedbFilled => "redb-filled",
            #[cfg(feature = "fjall")]
            Self::Fjall => "fjall",
            #[cfg(feature = "sqlite")]
            Self::Sqlite => "sqlite",
        }
    }

    /// Opens the store in this directory, and creates it if there is none.
    pub(crate) fn open(self, dir: &Path) -> Result<Box<dyn Store>> {
        fs::create_dir_all(dir)?;
        Ok(match self {
            Self::File => Box::new(crate::stores::file::FileLog::open(dir)?),
            #[cfg(feature = "redb")]
            Self::Redb => Box::new(crate::stores::redb::Redb::open(dir, Mode::Plain)?),
            #[cfg(feature = "redb")]
            Self::RedbQuick => Box::new(crate::stores::redb::Redb::open(dir, Mode::QuickRepair)?),
            #[cfg(feature = "redb")]
            Self::RedbFilled => Box::new(crate::stores::redb::Redb::open(dir, Mode::FilledAhead)?),
            #[cfg(feature = "fjall")]
            Self::Fjall => Box::new(crate::stores::fjall::Fjall::open(dir)?),
            #[cfg(feature = "sqlite")]
            Self::Sqlite => Box::new(crate::stores::sqlite::Sqlite::open(dir)?),
        })
    }

    /// Opens an empty store.
    pub(crate) fn create(self, dir: &Path) -> Result<Box<dyn Store>> {
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
        self.open(dir)
    }
}

/// Bytes that the files under `dir` occupy on disk: a sparse file counts with what it holds.
pub(crate) fn size_on_disk(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes += size_on_disk(&entry.path())?,
            Ok(meta) => bytes += meta.blocks() * 512,
            // fjall deletes files in the background.
            Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => {}
            Err(other) => return Err(other.into()),
        }
    }
    Ok(bytes)
}
