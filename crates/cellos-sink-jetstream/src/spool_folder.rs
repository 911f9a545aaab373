//! The folder of a spool. It can't be the folder in which CellOS keeps its audit trail: that crate does not know our files.

use std::path::{Path, PathBuf};

use cellos_core::CellosError;

use crate::sink::failed;

/// The variable by which CellOS names the folder of its audit trail (`cellos-sink-spool`).
const TRAIL_VARIABLE: &str = "CELLOS_SPOOL_DIR";

/// The file that CellOS writes there.
const TRAIL: &str = "audit-trail.jsonl";

/// # Errors
/// `CellosError::EventSink`: CellOS keeps its audit trail in the folder.
pub(crate) fn check(folder: &Path) -> Result<(), CellosError> {
    let named = std::env::var_os(TRAIL_VARIABLE).filter(|named| !named.is_empty());
    let evidence = if named.is_some_and(|named| resolved(Path::new(&named)) == resolved(folder)) {
        format!("{TRAIL_VARIABLE} names it")
    } else if folder.join(TRAIL).exists() {
        format!("it contains {TRAIL}")
    } else {
        return Ok(());
    };
    Err(failed(format_args!(
        "{} is the folder of CellOS's audit trail: {evidence}; give the spool a folder of its own. `jetsink spool replay` delivers \
         the events of a spool that is in it",
        folder.display()
    )))
}

/// The absolute path, with the links in its existing part resolved: the folder may not exist yet.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut ancestors = absolute.ancestors();
    let existing = ancestors.find_map(|ancestor| {
        let target = ancestor.canonicalize().ok()?;
        Some(target.join(absolute.strip_prefix(ancestor).ok()?))
    });
    existing.unwrap_or(absolute)
}
