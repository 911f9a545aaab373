//! A system that is not Unix: no spool opens. No test shows which files survive a loss of power there.

use std::io::{Error, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use super::disk::Disk;
use crate::outcome::SpoolError;

pub(crate) struct Folder;

impl Folder {
    /// # Errors
    /// Always.
    pub(crate) fn open(path: &Path, _make: bool) -> Result<Arc<dyn Disk>, SpoolError> {
        let reason = "a spool needs Linux, macOS or another Unix";
        let reason = Error::new(ErrorKind::Unsupported, reason);
        Err(SpoolError::io(path, "opening it", &reason))
    }
}
