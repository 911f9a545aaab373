//! The folder of a spool. It can't be the folder in which CellOS keeps its audit trail.

use std::path::{Path, PathBuf};

use crate::system::is_same_file;

/// The variable by which CellOS names the folder of its audit trail.
const VARIABLE: &str = "CELLOS_SPOOL_DIR";

/// The file that CellOS writes there.
const TRAIL: &str = "audit-trail.jsonl";

/// A folder that belongs to CellOS.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is the folder of CellOS's audit trail: {evidence}; use another folder. `jetsink spool replay` delivers the events of a \
     spool that is in it", .folder.display()
)]
pub(crate) struct FolderOfCellos {
    folder: PathBuf,
    evidence: String,
}

/// Checks the folder of a spool that is going to be opened or created.
///
/// # Errors
/// CellOS keeps its audit trail there: a variable names the folder, or the trail is in it.
pub(crate) fn check_folder(
    folder: &Path,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<(), FolderOfCellos> {
    let named = environment(VARIABLE).filter(|named| !named.is_empty());
    let evidence = if named.is_some_and(|named| is_same_folder(folder, Path::new(&named))) {
        format!("{VARIABLE} names it")
    } else if folder.join(TRAIL).exists() {
        format!("it contains {TRAIL}")
    } else {
        return Ok(());
    };
    Err(FolderOfCellos {
        folder: folder.to_owned(),
        evidence,
    })
}

/// Whether two names lead to one folder, which may not exist yet.
pub(crate) fn is_same_folder(one: &Path, other: &Path) -> bool {
    one == other || is_same_file(one, other) || resolved(one) == resolved(other)
}

/// The absolute path, with the links in its existing part resolved.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut ancestors = absolute.ancestors();
    let existing = ancestors.find_map(|ancestor| {
        let target = ancestor.canonicalize().ok()?;
        Some(target.join(absolute.strip_prefix(ancestor).ok()?))
    });
    existing.unwrap_or(absolute)
}

#[cfg(test)]
#[path = "tests/folder.rs"]
mod tests;
