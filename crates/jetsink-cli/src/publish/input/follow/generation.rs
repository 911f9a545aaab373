//! A generation: the content of a log between two rotations, wherever it lies now.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::identity::{FileId, Head};
use super::names::Stamp;
use crate::publish::input::decode::Form;
use crate::publish::input::trail::ChainProgress;

/// Time since the start of the run.
pub(super) type Time = Duration;

/// An open file.
pub(super) trait Descriptor: Clone {
    /// Its length in bytes; 0 if unknown.
    fn length(&self) -> u64;
}

/// The place of a file in its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Under a name that the user asked for.
    Asked,
    /// Under the name of a rotated file; `asked` if the user asked for that name, too.
    Rotated { stamp: Stamp, asked: bool },
    /// Under another name: only the identity is of interest.
    Elsewhere,
}

impl Place {
    /// Whether the user asked for the name.
    pub(super) fn is_asked(&self) -> bool {
        match self {
            Self::Asked => true,
            Self::Rotated { asked, .. } => *asked,
            Self::Elsewhere => false,
        }
    }
}

/// A file that a scan has opened.
#[derive(Debug)]
pub(super) struct Sighting<F> {
    pub(super) path: Arc<Path>,
    pub(super) id: FileId,
    pub(super) place: Place,
    pub(super) form: Form,
    /// The length of its content; `None` if it is compressed and was not decoded.
    pub(super) length: Option<u64>,
    /// The first bytes of its content.
    pub(super) start: Vec<u8>,
    /// Whether it was not written for a while: a copy or a compression is complete.
    pub(super) is_settled: bool,
    pub(super) file: F,
}

/// The place of a generation's content.
#[derive(Debug, Clone)]
pub(super) enum Source<F> {
    /// Unknown: it was read by an earlier run, and no scan has ended yet, or its file can't be opened.
    Sought,
    /// In the file that it was written to, which may grow.
    File(F),
    /// In a file that does not change: a copy, or compressed.
    Fixed(F, Form),
    /// In a copy, which the next scans have to find: its file was truncated.
    Truncated { since: Time },
    /// Nowhere, or it was read to its end.
    Closed,
}

#[derive(Debug)]
pub(super) struct Generation<F> {
    pub(super) number: u64,
    /// Part of the message ids of its lines; stays with it over restarts.
    pub(super) name: Arc<str>,
    pub(super) path: Arc<Path>,
    pub(super) id: FileId,
    /// The stamp in the last name of its file, if it was rotated.
    pub(super) stamp: Option<Stamp>,
    /// Whether the last scan saw its file under a name that the user asked for.
    pub(super) is_at_path: bool,
    /// Whether it was opened by this run under such a name.
    pub(super) was_at_path: bool,
    /// Time at which it was added. Only a scan that begins later has seen all older files.
    pub(super) added: Time,
    pub(super) head: Head,
    /// The largest length that was observed.
    pub(super) length: u64,
    pub(super) source: Source<F>,
    /// Counts the changes of the source.
    pub(super) version: u32,
    /// Copies of its content.
    pub(super) copies: Vec<(F, Form)>,
    /// Time at which the first bytes were observed.
    pub(super) filled: Option<Time>,
    /// Time at which its last growth was observed.
    pub(super) grown: Time,
    /// The end of the lines that were read.
    pub(super) offset: u64,
    pub(super) line: u64,
    /// The end of the last line that was sent.
    pub(super) sent: u64,
    /// The end of the lines that have results.
    pub(super) settled: (u64, u64),
    /// The rows that were sent, in a chain of rows.
    pub(super) chain: Option<ChainProgress>,
    /// The rows that have results.
    pub(super) settled_chain: Option<ChainProgress>,
    pub(super) is_finished: bool,
    pub(super) is_compressed: bool,
}

impl<F> Generation<F> {
    pub(super) fn new(number: u64, name: Arc<str>, path: Arc<Path>, id: FileId) -> Self {
        Self {
            number,
            name,
            path,
            id,
            stamp: None,
            is_at_path: false,
            was_at_path: false,
            added: Time::ZERO,
            head: Head::Bytes(Vec::new()),
            length: 0,
            source: Source::Closed,
            version: 0,
            copies: Vec::new(),
            filled: None,
            grown: Time::ZERO,
            offset: 0,
            line: 0,
            sent: 0,
            settled: (0, 0),
            chain: None,
            settled_chain: None,
            is_finished: false,
            is_compressed: false,
        }
    }

    pub(super) fn set_place(&mut self, place: &Place) {
        self.is_at_path = *place == Place::Asked;
        self.was_at_path |= self.is_at_path;
        if let Place::Rotated { stamp, .. } = place {
            self.stamp = Some(stamp.clone());
        }
    }

    pub(super) fn set_source(&mut self, source: Source<F>) {
        self.source = source;
        self.version += 1;
    }

    /// Notes the length of its file.
    pub(super) fn observe_length(&mut self, length: u64, now: Time) {
        if length > self.length {
            self.length = length;
            self.grown = now;
            self.filled.get_or_insert(now);
        }
    }

    pub(super) fn is_sought(&self) -> bool {
        matches!(self.source, Source::Sought)
    }

    /// Whether a finished generation's file is longer than it was.
    pub(super) fn has_grown(&self, length: u64) -> bool {
        !self.is_compressed
            && matches!(self.source, Source::Closed | Source::Sought)
            && length > self.offset
    }

    pub(super) fn finish(&mut self) {
        self.is_finished = true;
        self.copies.clear();
        self.set_source(Source::Closed);
    }

    /// The loss of the unread rest.
    pub(super) fn loss(&self, reason: LossReason) -> Loss {
        let bytes = self.length.saturating_sub(self.offset);
        Loss {
            path: Arc::clone(&self.path),
            files: 1,
            bytes: (bytes > 0).then_some(bytes),
            reason,
        }
    }

    /// Whether all its lines have results.
    pub(super) fn is_settled(&self) -> bool {
        self.is_finished && self.has_results()
    }

    /// Whether all lines that were read have results.
    pub(super) fn has_results(&self) -> bool {
        self.settled.0 >= self.sent
    }

    /// Whether content of this length that begins with `start` is a whole copy of it, in any form.
    pub(super) fn is_copied_to(&self, start: &[u8], length: Option<u64>) -> bool {
        self.head.matches(start) && (!self.is_finished || length == Some(self.offset))
    }
}

/// The generation as the reader needs it.
#[derive(Debug)]
pub(super) struct Reading<F> {
    pub(super) number: u64,
    pub(super) version: u32,
    pub(super) name: Arc<str>,
    pub(super) path: Arc<Path>,
    pub(super) source: Readable<F>,
    pub(super) offset: u64,
    pub(super) line: u64,
    /// The rows before the offset, if they are known.
    pub(super) chain: Option<ChainProgress>,
    /// Those of the last generation before it.
    pub(super) previous_chain: Option<ChainProgress>,
}

#[derive(Debug)]
pub(super) enum Readable<F> {
    /// A file that may grow, and the known first bytes of it.
    File(F, Vec<u8>),
    Fixed(F, Form),
}

/// The next step at the end of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtEnd {
    /// More may come.
    Wait,
    /// The generation is read. Bytes behind the last line end are a line.
    Finish,
    /// The copy is read. Bytes behind the last line end are a line only if they are an event.
    FinishCopy,
}

/// Lines that were not read and can't be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::publish) struct Loss {
    pub(in crate::publish) path: Arc<Path>,
    pub(in crate::publish) files: u64,
    /// `None` if unknown.
    pub(in crate::publish) bytes: Option<u64>,
    pub(in crate::publish) reason: LossReason,
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (path, reason) = (self.path.display(), &self.reason);
        write!(f, "{path}: {reason}; ")?;
        if let LossReason::Unopened(_) = reason {
            return f.write_str("its lines were not read");
        }
        match (self.files, self.bytes) {
            (_, Some(bytes)) => write!(f, "at least {bytes} bytes were not read"),
            (0 | 1, None) => f.write_str("unread lines of it are lost, if there were any"),
            (files, None) => write!(f, "{files} times; lines in these files are lost"),
        }
    }
}

/// The reason why lines can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::publish) enum LossReason {
    #[error("the file that was read up to line {line} is not here any more, under any name")]
    Gone { line: u64 },
    #[error("it was truncated, and no copy of it was found; it was read up to line {line}")]
    Truncated { line: u64 },
    #[error(
        "its copy is shorter than the file was before it was truncated; read up to line {line}"
    )]
    ShortCopy { line: u64 },
    #[error("a file with this name was removed before it could be opened")]
    Missed,
    #[error("the system reported too many changes at once; files may have been removed unread")]
    Overflow,
    #[error("it could not be opened: {0}")]
    Unopened(String),
    #[error("it can't be read further than line {line}: {error}")]
    Unreadable { line: u64, error: String },
}

/// The file name of a path.
pub(super) fn file_name(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}
