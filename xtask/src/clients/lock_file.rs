//! The changes of a lock file by a patch.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde::Deserialize;

/// A package of a lock file; its order is that of the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    /// `None` for a path.
    pub(super) source: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Packages that were locked and are no longer.
    pub(super) removed: Vec<Package>,
    pub(super) added: Vec<Package>,
}

#[derive(Deserialize)]
struct LockFile {
    package: BTreeSet<Package>,
}

/// # Errors
/// A text is no lock file.
pub(super) fn compare(before: &str, after: &str) -> Result<Changes> {
    let before: LockFile = toml::from_str(before)?;
    let after: LockFile = toml::from_str(after)?;
    let difference = |one: &LockFile, other: &LockFile| {
        let missing = one.package.difference(&other.package);
        missing.cloned().collect()
    };
    Ok(Changes {
        removed: difference(&before, &after),
        added: difference(&after, &before),
    })
}

/// Checks that nothing but `replaced` has left the lock file, and that a path has its place. Packages that the
/// replacement brings are added; a locked version does not change.
///
/// # Errors
/// The packages that have left.
pub(super) fn only_replaces(changes: &Changes, replaced: &str) -> Result<()> {
    let (ours, others): (Vec<&Package>, _) = changes
        .removed
        .iter()
        .partition(|package| package.name == replaced);
    ensure!(
        others.is_empty(),
        "locked versions have changed: {others:?}; added are {:?}",
        changes.added
    );
    let by_path = |package: &&Package| package.name == replaced && package.source.is_none();
    ensure!(
        ours.len() == 1 && changes.added.iter().filter(by_path).count() == 1,
        "{replaced} was not replaced: {changes:?}"
    );
    Ok(())
}

#[cfg(test)]
#[path = "tests/lock_file.rs"]
mod tests;
