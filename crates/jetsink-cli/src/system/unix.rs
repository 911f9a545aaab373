//! Linux, macOS and other Unix systems.

use std::fs::{File, Metadata};
use std::io::{self, stdin, stdout};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::interrupt::Interrupt;

/// `--follow` recognises a renamed file by its number.
pub(crate) const FILES_CAN_BE_FOLLOWED: bool = true;

pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    pub(crate) async fn next(&mut self) -> Interrupt {
        tokio::select! {
            _ = self.interrupt.recv() => Interrupt::Int,
            _ = self.terminate.recv() => Interrupt::Term,
        }
    }
}

/// The device and the inode.
pub(crate) fn file_number(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Whether both names are one file.
pub(crate) fn is_same_file(one: &Path, other: &Path) -> bool {
    let number = |path: &Path| path.metadata().ok().as_ref().map(file_number);
    number(one).is_some_and(|one| number(other) == Some(one))
}

pub(crate) fn is_fifo(metadata: &Metadata) -> bool {
    metadata.file_type().is_fifo()
}

pub(crate) fn stdin_is_fifo() -> bool {
    let metadata = || File::from(stdin().as_fd().try_clone_to_owned()?).metadata();
    metadata().is_ok_and(|metadata| is_fifo(&metadata))
}

/// Reads at an offset, once; the file's own offset stays.
pub(crate) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(bytes, offset)
}

/// Raises the limit of open files to the one that the system allows. Returns the limit that holds then; `None` without
/// one.
pub(crate) fn raise_file_limit() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // The limit in force is read back: the system may refuse.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    getrlimit(Resource::Nofile).current
}

/// Whether no file can be opened until others are closed.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}

/// Returns when the reader of standard output has closed it, even if nothing is being written; returns an error if
/// that can't be detected. Watches a duplicate of the descriptor: dropping it does not close standard output.
pub(crate) async fn stdout_closed() -> io::Result<()> {
    // Fails for a file, which has no reader.
    let output = Sender::from_owned_fd_unchecked(stdout().as_fd().try_clone_to_owned()?)?;
    loop {
        if output.ready(Interest::WRITABLE).await?.is_write_closed() {
            return Ok(());
        }
        // Writable, but not closed.
        let _: io::Result<()> = output.try_io(|| Err(io::ErrorKind::WouldBlock.into()));
    }
}
