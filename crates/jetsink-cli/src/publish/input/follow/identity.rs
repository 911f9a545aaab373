//! The identity of a file: names change, inode numbers are reused, content is copied.

use std::fs::{File, Metadata};
use std::io;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::system::{self, file_number};

/// The number of first bytes that identify content.
pub(super) const HEAD: usize = 1024;

/// A file on a disk, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Creation time in nanoseconds since 1970, if the file system has it: inode numbers of deleted files are reused.
    pub(super) born: Option<u64>,
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let born = metadata.created().ok();
        let born = born.and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        let (device, inode) = file_number(metadata);
        Self {
            device,
            inode,
            born: born.and_then(|born| u64::try_from(born.as_nanos()).ok()),
        }
    }

    /// Whether both can be one file. A device's number may change with a restart of the machine.
    pub(super) fn may_be(self, other: Self) -> bool {
        self.inode == other.inode
            && self.born == other.born
            && (self.born.is_some() || self.device == other.device)
    }
}

/// The beginning of a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Head {
    /// The first bytes, at most [`HEAD`].
    Bytes(Vec<u8>),
    /// The saved digest of the first bytes.
    Digest(HeadDigest),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeadDigest {
    #[serde(rename = "head_bytes")]
    pub(super) bytes: usize,
    #[serde(rename = "head")]
    pub(super) digest: String,
}

impl HeadDigest {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        Self {
            bytes: bytes.len(),
            digest: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

impl Head {
    /// Whether nothing is known of the content.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Digest(digest) => digest.bytes == 0,
        }
    }

    /// Whether content that begins with `start` can be the same: one is the beginning of the other. Never if either
    /// is empty.
    pub(super) fn matches(&self, start: &[u8]) -> bool {
        match self {
            Self::Bytes(known) => {
                let length = known.len().min(start.len());
                length > 0 && known[..length] == start[..length]
            }
            Self::Digest(known) => !self.is_empty() && known.is_digest_of(start),
        }
    }

    /// Whether `start` begins with all known bytes.
    pub(super) fn is_start_of(&self, start: &[u8]) -> bool {
        match self {
            Self::Bytes(known) => start.starts_with(known),
            Self::Digest(known) => known.is_digest_of(start),
        }
    }

    pub(super) fn digest(&self) -> HeadDigest {
        match self {
            Self::Bytes(bytes) => HeadDigest::of(bytes),
            Self::Digest(digest) => digest.clone(),
        }
    }
}

impl HeadDigest {
    fn is_digest_of(&self, start: &[u8]) -> bool {
        let start = start.get(..self.bytes);
        start.is_some_and(|start| Self::of(start) == *self)
    }
}

/// Reads up to `bytes` bytes at an offset; fewer only at the end.
pub(super) fn read_at(file: &File, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
    let mut read = vec![0; bytes];
    let mut length = 0;
    while length < bytes {
        match system::read_at(file, &mut read[length..], offset + length as u64) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    read.truncate(length);
    Ok(read)
}
