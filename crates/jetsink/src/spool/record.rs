//! Events and dead letters of the spool.

use crate::message::envelope::Envelope;

/// An event in the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Its place in the order of spooling.
    pub(crate) index: u64,
    /// Milliseconds since the Unix epoch.
    pub(crate) spooled_at: u64,
    /// Whether it was sent before it was spooled, and its outcome is unknown.
    pub(crate) may_be_stored: bool,
    /// Its message id tells whether it is stored.
    pub(crate) envelope: Envelope,
}

/// An event that was refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeadRecord {
    pub(crate) record: Record,
    /// The server's code, or 0 if it was refused before it was sent.
    pub(crate) code: u64,
    /// Milliseconds since the Unix epoch.
    pub(crate) died_at: u64,
    /// One line.
    pub(crate) reason: String,
}

/// The reason why the bytes of a record can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    #[error("its checksum does not match")]
    Checksum,
    #[error("its fields are inconsistent")]
    Fields,
    #[error("the disk can't read it")]
    Unreadable,
    #[error("its file is missing")]
    Missing,
}
