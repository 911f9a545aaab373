//! Opens a spool and reports its damage. Opening and reading change nothing, so that each later command reports it, too.

use std::path::Path;

use jetsink::{OfflineSpool, SpoolError};

use crate::output;

/// Opens a spool. Damage is reported, with exit code 1.
pub(super) fn open(directory: &Path) -> Result<(OfflineSpool, u8), SpoolError> {
    let spool = OfflineSpool::open(directory)?;
    if let Some(loss) = spool.loss() {
        output::note(&loss.to_string());
    }
    let code = u8::from(spool.loss().is_some());
    Ok((spool, code))
}

/// Reports unreadable events, and returns the exit code.
pub(super) fn note_damaged(damaged: u64) -> u8 {
    if damaged > 0 {
        output::note(&format!("{damaged} events are damaged and can't be read"));
    }
    u8::from(damaged > 0)
}
