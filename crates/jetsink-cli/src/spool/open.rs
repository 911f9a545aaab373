//! Opens a spool and reports its damage.

use std::path::Path;

use jetsink::{SpoolError, SpoolFile};

use crate::output;

/// Opens a spool. Damage is reported, with exit code 1.
pub(super) fn open(directory: &Path) -> Result<(SpoolFile, u8), SpoolError> {
    let spool = SpoolFile::open(directory)?;
    note_set_aside(directory);
    if let Some(loss) = spool.loss() {
        output::note(&loss.to_string());
    }
    let code = u8::from(spool.loss().is_some());
    Ok((spool, code))
}

/// Reports damaged files that were set aside, until they are deleted.
pub(super) fn note_set_aside(directory: &Path) {
    for file in SpoolFile::set_aside(directory) {
        output::note(&format!(
            "{} is a damaged spool that was set aside; its readable events were kept. Delete it when it \
             is no longer needed",
            file.display()
        ));
    }
}

/// Reports unreadable events, and returns the exit code.
pub(super) fn note_damaged(damaged: u64) -> u8 {
    if damaged > 0 {
        output::note(&format!("{damaged} events are damaged and can't be read"));
    }
    u8::from(damaged > 0)
}
