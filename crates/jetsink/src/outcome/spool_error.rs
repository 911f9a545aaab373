//! The errors of a spool.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the spool can't be opened, or did not take an event. An event that met one of these is not
/// spooled, unless the error says that it may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// Another process, or another sink of this one, has it open.
    #[error("the spool {} is in use: stop the process that has it, or give each sink a folder of its own", .path.display())]
    InUse {
        /// Its file.
        path: PathBuf,
    },
    /// It was written by another version.
    #[error(
        "the spool {} has format {found}, and this version reads {expected}; \
         replay it with the version that wrote it",
        .path.display()
    )]
    Format {
        /// Its file.
        path: PathBuf,
        /// The format that it says it has.
        found: u64,
        /// The format that this version reads and writes.
        expected: u64,
    },
    /// The folder has a spool of an earlier development version.
    #[error(
        "{} was written by a version with another store; drain it with the version that wrote it \
         (`jetsink spool replay`), then remove the file",
        .path.display()
    )]
    OldStore {
        /// Its file.
        path: PathBuf,
    },
    /// There is no room left. Nothing was written.
    #[error("the spool is full: {used_bytes} of {limit_bytes} bytes")]
    Full {
        /// Bytes of the events in it, dead letters included.
        used_bytes: u64,
        /// The limit it was opened with.
        limit_bytes: u64,
    },
    /// The disk said no. The event is not in the spool.
    #[error("the spool {}: {doing}: {reason}", .path.display())]
    Io {
        /// Its file or folder.
        path: PathBuf,
        /// What was under way.
        doing: &'static str,
        /// The system's words.
        reason: String,
    },
    /// The disk failed while this event was written. Its outcome is unknown. It is written
    /// again before any later event once the disk works, or found when the spool is opened again; then it
    /// is sent.
    #[error("the spool {}: it is not known whether the event is in it ({reason}); \
             repair the disk: if it is, it is sent once the disk works", .path.display())]
    HalfWritten {
        /// Its folder.
        path: PathBuf,
        /// What failed.
        reason: String,
    },
    /// Too many bytes of other events wait for the disk. The event is not in the spool.
    #[error(
        "the spool's disk is too slow: the event found no place in the queue within {waited:?}, and is not spooled"
    )]
    Busy {
        /// The time that it waited.
        waited: Duration,
    },
    /// The sync took longer than the emit's deadline. The event may be spooled all the same.
    #[error("the spool's disk did not answer within {waited:?}")]
    TooSlow {
        /// How long was waited.
        waited: Duration,
    },
    /// The sink is closed, or closing.
    #[error("the spool is closed")]
    Closed,
    /// A setting that doesn't hold.
    #[error("spool: {what}: {reason}")]
    Setting {
        /// Which one.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl SpoolError {
    pub(crate) fn io(path: &Path, doing: &'static str, error: &std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            doing,
            reason: error.to_string(),
        }
    }

    /// Whether the event may be in the spool in spite of the error.
    #[must_use]
    pub fn may_be_spooled(&self) -> bool {
        matches!(self, Self::TooSlow { .. } | Self::HalfWritten { .. })
    }
}
