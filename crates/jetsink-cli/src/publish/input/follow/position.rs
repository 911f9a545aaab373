//! `--position`: the generations of a log, saved over restarts.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::generation::{Descriptor, Generation, Source};
use super::history::{History, Other};
use super::identity::{FileId, HEAD, Head, HeadDigest};
use super::track::{Checkpoint, Track};
use crate::failure::Failure;
use crate::publish::input::trail::{ChainProgress, hash_of};

const VERSION: u32 = 2;

/// The content of a position file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedTrack {
    version: u32,
    /// For people: identity decides.
    path: String,
    generations: Vec<SavedGeneration>,
    others: Vec<SavedFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    read_before: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SavedFile {
    #[serde(flatten)]
    id: FileId,
    #[serde(flatten)]
    head: HeadDigest,
    length: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SavedGeneration {
    #[serde(flatten)]
    file: SavedFile,
    name: String,
    offset: u64,
    line: u64,
    is_finished: bool,
    is_compressed: bool,
    #[serde(flatten)]
    chain: SavedChain,
}

/// The rows of an audit trail before a position: they may be changed between two runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct SavedChain {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_row_hash: Option<String>,
    /// The hash of the last row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    row_hash: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    breaks: Option<String>,
}

impl SavedChain {
    fn of(chain: ChainProgress) -> Self {
        let text = |hash: blake3::Hash| hash.to_hex().to_string();
        Self {
            first_row_hash: chain.first.map(text),
            row_hash: chain.last.map(text),
            breaks: chain.breaks.map(text),
        }
    }

    /// Returns `None` before the first row.
    fn parse(&self) -> io::Result<Option<ChainProgress>> {
        let parse = |text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => hash_of(text).map(Some).ok_or_else(|| {
                io::Error::other("the hash of a row or of breaks is not 64 hexadecimal digits")
            }),
        };
        let chain = ChainProgress {
            first: parse(&self.first_row_hash)?,
            last: parse(&self.row_hash)?,
            breaks: parse(&self.breaks)?,
        };
        Ok((chain != ChainProgress::default()).then_some(chain))
    }
}

/// A position of version 1: one file.
#[derive(Debug, Deserialize)]
struct SavedPosition {
    #[serde(flatten)]
    id: FileId,
    #[serde(flatten)]
    head: HeadDigest,
    name: String,
    offset: u64,
    line: u64,
}

#[derive(Debug, Deserialize)]
struct Version {
    version: u32,
}

impl From<SavedPosition> for SavedTrack {
    fn from(position: SavedPosition) -> Self {
        let read_before = position.id.born.unwrap_or(0);
        let file = SavedFile {
            id: position.id,
            head: position.head,
            length: Some(position.offset),
        };
        Self {
            version: VERSION,
            path: String::new(),
            generations: vec![SavedGeneration {
                file,
                name: position.name,
                offset: position.offset,
                line: position.line,
                is_finished: false,
                is_compressed: false,
                chain: SavedChain::default(),
            }],
            others: Vec::new(),
            read_before: Some(read_before),
        }
    }
}

impl SavedTrack {
    /// Reads the file; `None` if it does not exist yet.
    pub(super) fn load(path: &Path) -> Result<Option<Self>, Failure> {
        let failed = |source| Failure::File {
            path: path.to_owned(),
            source,
        };
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(failed)?,
        };
        let saved = Self::parse(&text).map_err(|error| {
            let text = format!("it has no saved position: {error}; correct --position, or delete the file to start anew");
            failed(io::Error::other(text))
        })?;
        Ok(Some(saved))
    }

    fn parse(text: &[u8]) -> io::Result<Self> {
        let Version { version } = serde_json::from_slice(text)?;
        let saved = match version {
            1 => serde_json::from_slice::<SavedPosition>(text)?.into(),
            VERSION => serde_json::from_slice::<Self>(text)?,
            other => {
                let reason =
                    format!("version {other} is not known here; use the jetsink that wrote it");
                return Err(io::Error::other(reason));
            }
        };
        let heads = saved.generations.iter().map(|g| g.file.head.bytes);
        if heads.max().is_some_and(|bytes| bytes > HEAD) {
            return Err(io::Error::other("head_bytes is too large"));
        }
        for generation in &saved.generations {
            generation.chain.parse()?;
        }
        Ok(saved)
    }

    /// The state of a history, as far as lines have results.
    pub(super) fn of<F: Descriptor>(history: &History<F>) -> Self {
        let generation = |g: &Generation<F>| {
            // Empty lines have no results.
            let (offset, line) = match g.has_results() {
                true => (g.offset, g.line),
                false => g.settled,
            };
            SavedGeneration {
                file: SavedFile {
                    id: g.id,
                    head: g.head.digest(),
                    length: Some(g.length),
                },
                name: g.name.to_string(),
                offset,
                line,
                is_finished: g.is_settled(),
                is_compressed: g.is_compressed,
                chain: g.settled_chain.map(SavedChain::of).unwrap_or_default(),
            }
        };
        let other = |other: &Other| SavedFile {
            id: other.id,
            head: other.head.digest(),
            length: other.length,
        };
        // The next run looks for the copies of unread files.
        let is_unread =
            |g: &Generation<F>, other: &Other| Some(g.number) == other.copy_of && !g.is_settled();
        let others = history.others.iter();
        let others = others.filter(|o| history.generations.iter().all(|g| !is_unread(g, o)));
        Self {
            version: VERSION,
            path: history.path.display().to_string(),
            generations: history.generations.iter().map(generation).collect(),
            others: others.map(other).collect(),
            read_before: history.read_before,
        }
    }

    /// Puts the saved state into a new history.
    pub(super) fn restore<F: Descriptor>(self, history: &mut History<F>) {
        history.is_restored = true;
        history.is_on_disk = true;
        history.read_before = self.read_before;
        for saved in self.generations {
            let number = history.next_number();
            let path = Arc::clone(&history.path);
            let mut generation = Generation::new(number, saved.name.into(), path, saved.file.id);
            generation.head = Head::Digest(saved.file.head);
            generation.length = saved.file.length.unwrap_or(0);
            generation.source = Source::Sought;
            (generation.offset, generation.line) = (saved.offset, saved.line);
            generation.sent = saved.offset;
            generation.settled = (saved.offset, saved.line);
            generation.is_finished = saved.is_finished;
            generation.is_compressed = saved.is_compressed;
            // The hashes were checked when the file was read.
            generation.settled_chain = saved.chain.parse().unwrap_or_default();
            generation.chain = generation.settled_chain;
            history.generations.push_back(generation);
        }
        history.others = self.others.into_iter().map(Other::from).collect();
    }
}

impl From<SavedFile> for Other {
    fn from(saved: SavedFile) -> Self {
        Self {
            id: saved.id,
            head: Head::Digest(saved.head),
            length: saved.length,
            copy_of: None,
        }
    }
}

/// Saves the positions of a run.
#[derive(Debug, Default)]
pub(in crate::publish) struct Positions {
    /// The positions since the last save, in the order of the lines.
    unsaved: Vec<Unsaved>,
}

#[derive(Debug)]
struct Unsaved {
    checkpoint: Checkpoint,
    /// The number of rejected lines before it.
    rejected: u64,
}

impl Positions {
    /// Checks that a position can be written.
    pub(super) fn check(path: &Path) -> Result<(), Failure> {
        // A follower that is running writes to the other names. A second start must not touch them.
        let trial = path.with_file_name(format!(".jetsink-{}", nuid::next()));
        let tried = File::create_new(&trial).and_then(|_| fs::remove_file(&trial));
        tried.map_err(|source| Failure::File {
            path: path.to_owned(),
            source,
        })
    }

    /// Sets the position in a log; all lines before it have results. `rejected` lines come before it, and the disk has the
    /// first `synced` of them.
    pub(in crate::publish) fn advance(
        &mut self,
        checkpoint: Checkpoint,
        rejected: u64,
        synced: u64,
    ) {
        let unsaved = Unsaved {
            checkpoint,
            rejected,
        };
        let mut known = self.unsaved.iter_mut();
        match known.find(|known| known.is_replaced_by(&unsaved, synced)) {
            Some(known) => *known = unsaved,
            None => self.unsaved.push(unsaved),
        }
    }

    /// Whether a position has changed since the last save.
    pub(in crate::publish) fn is_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// Writes the positions that have changed, if the disk has the rejected lines before them: the first `synced` of all.
    /// A crash leaves an old file or a new one.
    ///
    /// # Errors
    /// The first one. The positions in other logs are written.
    pub(in crate::publish) fn save(&mut self, synced: u64) -> Result<(), Failure> {
        let unsaved = std::mem::take(&mut self.unsaved).into_iter();
        let (ready, waiting): (Vec<_>, Vec<_>) = unsaved.partition(|u| u.rejected <= synced);
        self.unsaved = waiting;
        let mut tracks: Vec<Arc<Track>> = Vec::new();
        for Unsaved { checkpoint, .. } in ready {
            checkpoint.settle();
            if tracks
                .iter()
                .all(|track| !Arc::ptr_eq(track, &checkpoint.track))
            {
                tracks.push(checkpoint.track);
            }
        }
        let saved = tracks.iter().map(|track| save(track));
        // Each is tried.
        saved.fold(Ok(()), Result::and)
    }
}

impl Unsaved {
    /// Whether a later position is saved whenever this one is. The last one of each generation is needed.
    fn is_replaced_by(&self, later: &Self, synced: u64) -> bool {
        self.checkpoint.is_in_log_of(&later.checkpoint)
            && self.checkpoint.number == later.checkpoint.number
            && (self.rejected <= synced) == (later.rejected <= synced)
    }
}

impl Checkpoint {
    fn settle(&self) {
        let mut history = self.track.history();
        history.settle(self.number, self.offset, self.line);
        history.settle_chain(self.number, self.chain);
    }
}

/// Saves the state of a log, as far as its lines have results.
pub(super) fn save(track: &Track) -> Result<(), Failure> {
    let Some(path) = &track.position else {
        return Ok(());
    };
    let _one_at_a_time = track.saving();
    let saved = SavedTrack::of(&track.history());
    let new = with_suffix(path);
    let write = || -> io::Result<()> {
        let mut text = serde_json::to_vec(&saved)?;
        text.push(b'\n');
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        #[cfg(feature = "crash-points")]
        jetsink::crash::point("position.written");
        fs::rename(&new, path)?;
        #[cfg(feature = "crash-points")]
        jetsink::crash::point("position.renamed");
        let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|source| Failure::File {
        path: path.clone(),
        source,
    })
}

/// The name of a position file while it is written.
pub(super) fn with_suffix(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".new");
    name.into()
}

#[cfg(test)]
#[path = "tests/position.rs"]
mod tests;
