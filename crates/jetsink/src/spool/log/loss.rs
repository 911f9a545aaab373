//! The report of damage.

use std::fmt;

/// The cost of damage to a spool's files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpoolLoss {
    /// Records that were synced and can't be read any more: events, dead letters, or notes of the spool.
    pub damaged: u64,
    /// Bytes of an incomplete end: a write that a crash or power cut interrupted before it was
    /// acknowledged, or records that were damaged within 20 ms of their write.
    pub torn_bytes: u64,
    /// Segments without a readable record, or that are missing.
    pub unreadable_files: u64,
}

impl SpoolLoss {
    /// Whether nothing is lost.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for SpoolLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the spool was damaged; records lost: {}", self.damaged)?;
        if self.torn_bytes > 0 {
            let bytes = self.torn_bytes;
            write!(
                f,
                "; its end is torn, or was damaged within 20 ms of its write: {bytes} bytes"
            )?;
        }
        if self.unreadable_files > 0 {
            write!(f, "; unreadable files: {}", self.unreadable_files)?;
        }
        Ok(())
    }
}
