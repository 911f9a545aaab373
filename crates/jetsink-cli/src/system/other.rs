//! Windows. Without stable numbers of files there is no `--follow`.

use std::fs::{File, Metadata};
use std::io::{self, Seek as _, SeekFrom};
use std::os::windows::fs::FileExt as _;
use std::path::Path;

use crate::interrupt::Interrupt;

/// `--follow` recognises a renamed file by its number.
pub(crate) const FILES_CAN_BE_FOLLOWED: bool = false;

pub(crate) struct Signals;

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) async fn next(&mut self) -> Interrupt {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Interrupt::Int,
            // No signal arrives.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Always the same number; see [`FILES_CAN_BE_FOLLOWED`].
pub(crate) fn file_number(_: &Metadata) -> (u64, u64) {
    (0, 0)
}

/// Whether both names are one file.
pub(crate) fn is_same_file(one: &Path, other: &Path) -> bool {
    let resolved = |path: &Path| path.canonicalize().ok();
    resolved(one).is_some_and(|one| resolved(other) == Some(one))
}

pub(crate) fn is_fifo(_: &Metadata) -> bool {
    false
}

/// Whether it is a pipe is unknown.
pub(crate) fn stdin_is_fifo() -> bool {
    false
}

/// Reads at an offset, once; the file's own offset stays.
pub(crate) fn read_at(mut file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let own = file.stream_position()?;
    let read = file.seek_read(bytes, offset);
    file.seek(SeekFrom::Start(own))?;
    read
}

/// There is no such limit.
pub(crate) fn raise_file_limit() -> Option<u64> {
    None
}

/// The errors of such a limit are not known here.
pub(crate) fn is_out_of_descriptors(_: &io::Error) -> bool {
    false
}

/// Always an error: it can't be detected.
pub(crate) async fn stdout_closed() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
