//! A system that is not Unix: no spool opens. No test shows which files survive a loss of power there.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use super::disk::{Disk, DiskFile};
use crate::outcome::SpoolError;

/// No folder: there is no value of this type.
#[derive(Debug)]
pub(crate) enum Folder {}

impl Folder {
    /// # Errors
    /// Always.
    pub(crate) fn open(path: &Path, _make: bool) -> Result<Self, SpoolError> {
        let reason = io::Error::new(
            ErrorKind::Unsupported,
            "a spool needs Linux, macOS or another Unix",
        );
        Err(SpoolError::io(path, "opening it", &reason))
    }

    pub(crate) fn own_bytes(&self) -> io::Result<u64> {
        match *self {}
    }
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        match *self {}
    }

    fn create(&self, _: &str) -> io::Result<Arc<dyn DiskFile>> {
        match *self {}
    }

    fn open(&self, _: &str) -> io::Result<Arc<dyn DiskFile>> {
        match *self {}
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        match *self {}
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        match *self {}
    }

    fn sync(&self) -> io::Result<()> {
        match *self {}
    }

    fn free_bytes(&self) -> Option<u64> {
        match *self {}
    }

    fn path(&self) -> &Path {
        match *self {}
    }

    fn release(&self) {
        match *self {}
    }
}
