//! Reports about a spool: its contents, and its damage.

use std::fmt;

/// The content of a spool at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpoolStatus {
    /// Pending events, including those that a failed disk has written or not. Until a large
    /// backlog is scanned, only the events found so far are counted, and at least 1.
    pub events: u64,
    /// The subjects that they belong to.
    pub subjects: u64,
    /// Bytes of events and dead letters.
    pub used_bytes: u64,
    /// Past this, events are refused.
    pub limit_bytes: u64,
    /// Whether the latest event found no room and none has left since, or the bytes reach the limit. `false` unless a
    /// sink has the spool open; an event that is larger than the limit does not count.
    pub is_full: bool,
    /// Events that the broker refused for good.
    pub dead_letters: u64,
    /// Records that were found damaged, and are lost, since it was opened: events, dead letters, or notes of the spool.
    pub damaged: u64,
    /// Events that were sent though they may have been stored before, since it was opened: no look-up could tell.
    pub possible_duplicates: u64,
    /// Subjects whose events are held because no look-up can tell whether they are stored
    /// ([`WhenUnconfirmed::Hold`](crate::WhenUnconfirmed::Hold)).
    pub held_subjects: u64,
    /// Segments that could not be read the last time. Their events wait, with those behind them on their subjects, and
    /// are read again each second. While the backlog of an earlier process is scanned, any subject may have events in
    /// such a segment, so all later events wait; after ten minutes it is left to the next opening, and they are sent.
    pub unreadable_segments: u64,
}

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
