//! The errors of a spool.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::publish_error::Scope;

/// The error of opening a spool, or of spooling an event. The event is not spooled, unless
/// [`may_be_spooled`](Self::may_be_spooled).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// Another process or sink has the spool open.
    #[error("the spool {} is in use: stop the process that uses it, or use another folder for each sink", .path.display())]
    InUse {
        /// Its file.
        path: PathBuf,
    },
    /// Another version has written the spool.
    #[error(
        "the spool {} has format {found}, and this version reads {expected}; \
         replay it with the version that wrote it",
        .path.display()
    )]
    Format {
        /// Its file.
        path: PathBuf,
        /// The format of the file.
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
    /// There is no spool in the folder.
    #[error("there is no spool in {}; check the folder", .path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// The spool is full. Nothing was written.
    #[error(
        "the spool is full: {used_bytes} of {limit_bytes} bytes; repair the broker or the failing subjects, or raise the \
         limit"
    )]
    Full {
        /// Bytes of its events, including dead letters.
        used_bytes: u64,
        /// Its limit.
        limit_bytes: u64,
    },
    /// The event is larger than the spool's limit, or than 4 GiB: also an empty spool has no room for it.
    #[error(
        "the event takes {bytes} bytes in the spool, which has room for {limit}; make it smaller, or raise the spool's \
         limit (up to 4 GiB per event)"
    )]
    TooLarge {
        /// Its bytes in the spool.
        bytes: u64,
        /// The largest event that fits into the empty spool.
        limit: u64,
    },
    /// An I/O error. The event is not in the spool.
    #[error("the spool {}: {doing}: {reason}", .path.display())]
    Io {
        /// Its file or folder.
        path: PathBuf,
        /// The failed operation.
        doing: &'static str,
        /// The kind, such as [`StorageFull`](io::ErrorKind::StorageFull).
        kind: io::ErrorKind,
        /// The system's text.
        reason: String,
    },
    /// The disk failed while this event was written, so it may be spooled or not. Once the disk works, it is
    /// written again before any later event, or found when the spool is opened again; then it is sent.
    #[error("the spool {}: the event may be spooled or not ({reason}); \
             repair the disk: a spooled event is sent once the disk works", .path.display())]
    HalfWritten {
        /// Its folder.
        path: PathBuf,
        /// The kind of the failure.
        kind: io::ErrorKind,
        /// The failure.
        reason: String,
    },
    /// The queue of events for the disk is full. The event is not in the spool.
    #[error(
        "the spool's disk is too slow: its queue stayed full for {waited:?}; the event is not spooled"
    )]
    Busy {
        /// The time waited.
        waited: Duration,
    },
    /// The sync took longer than the emit's deadline. The event may still be spooled.
    #[error(
        "the spool's disk did not answer within {waited:?}; the event may be spooled: check the disk"
    )]
    TooSlow {
        /// The time waited.
        waited: Duration,
    },
    /// A thread of the spool has panicked, which is a bug. Events that waited for the disk may be spooled or not.
    #[error(
        "a thread of the spool has panicked (the log has its message), and the event may be spooled or not; \
         restart the process: a spooled event is sent then"
    )]
    Failed,
    /// The sink is closed, or closing.
    #[error("the spool is closed")]
    Closed,
}

impl SpoolError {
    pub(crate) fn io(path: &Path, doing: &'static str, error: &io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            doing,
            kind: error.kind(),
            reason: error.to_string(),
        }
    }

    /// Returns the events that the failure concerns.
    pub(crate) fn scope(&self) -> Scope {
        match self {
            Self::TooLarge { .. } => Scope::Event,
            Self::InUse { .. }
            | Self::Format { .. }
            | Self::OldStore { .. }
            | Self::Missing { .. }
            | Self::Full { .. }
            | Self::Io { .. }
            | Self::HalfWritten { .. }
            | Self::Busy { .. }
            | Self::TooSlow { .. }
            | Self::Failed
            | Self::Closed => Scope::Local,
        }
    }

    /// Whether no later attempt of the same event and sink succeeds.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::Failed | Self::Closed)
    }

    /// Returns whether the event may be in the spool in spite of the error.
    #[must_use]
    pub fn may_be_spooled(&self) -> bool {
        matches!(
            self,
            Self::TooSlow { .. } | Self::HalfWritten { .. } | Self::Failed
        )
    }
}
