//! Opening a spool whatever state its file is in: a damaged one is set aside, and what can be read
//! of it goes into a new one.
//!
//! The new file is made beside the old one and takes its place when it is whole, so that a crash on
//! the way loses nothing.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use tracing::error;

use super::closing::ClosingNote;
use super::damaged::{Held, Salvaged, read_damaged};
use super::file_in;
use super::store::{OpenError, Store};
use super::tables::{Batch, Contents};
use crate::outcome::SpoolError;

/// How the names of damaged files begin, once they are set aside.
pub(super) const SET_ASIDE: &str = "spool.redb.damaged-";

/// How many records go into the new file at a time.
const CHUNK: usize = 1_000;

/// What a damaged file cost; shown as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpoolLoss {
    /// What the store said of the file.
    pub reason: String,
    /// Where the damaged file is now, for whoever wants to look; `None` where the store could mend
    /// it by going back to an earlier state.
    pub set_aside: Option<PathBuf>,
    /// Events that could be read and are in the new file.
    pub salvaged: u64,
    /// Events that could not; `None` where nothing says how many there were. Where the store went
    /// back to an earlier state: at the most, since some may have been delivered.
    pub lost: Option<u64>,
    /// Dead letters that could be read and are in the new file.
    pub dead_letters_salvaged: u64,
    /// Dead letters that could not, as `lost`.
    pub dead_letters_lost: Option<u64>,
}

impl fmt::Display for SpoolLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = |f: &mut fmt::Formatter<'_>, what, kept, lost: Option<u64>| match lost {
            Some(lost) => write!(f, "{what}: {kept} kept, {lost} lost"),
            None => write!(
                f,
                "{what}: {kept} kept, and nobody can say how many are lost"
            ),
        };
        write!(f, "the spool was damaged ({}); ", self.reason)?;
        lost(f, "events", self.salvaged, self.lost)?;
        if self.dead_letters_salvaged > 0 || self.dead_letters_lost != Some(0) {
            f.write_str("; ")?;
            let (kept, gone) = (self.dead_letters_salvaged, self.dead_letters_lost);
            lost(f, "dead letters", kept, gone)?;
        }
        match &self.set_aside {
            Some(path) => write!(f, "; the damaged file is {}", path.display()),
            None => Ok(()),
        }
    }
}

pub(super) fn open(directory: &Path) -> Result<(Store, Contents, Option<SpoolLoss>), SpoolError> {
    let io = |doing| {
        move |error: std::io::Error| SpoolError::Io {
            path: directory.to_owned(),
            doing,
            reason: error.to_string(),
        }
    };
    fs::create_dir_all(directory).map_err(io("making the folder"))?;
    let path = file_in(directory);
    let new = directory.join("spool.redb.salvaged");
    if !path.exists() && new.exists() {
        // A crash between the two renames below.
        fs::rename(&new, &path).map_err(io("putting the salvaged file in place"))?;
    }
    let note = ClosingNote::take(directory).map_err(io("taking its closing note away"))?;
    let reason = match Store::open(&path) {
        Ok((store, contents)) => {
            let loss = note.and_then(|note| fell_back(note, ClosingNote::of(&contents)));
            return Ok((store, contents, loss));
        }
        Err(OpenError::Spool(error)) => {
            // The file is as it was closed.
            if let Some(note) = note {
                let _ = note.leave(directory);
            }
            return Err(error);
        }
        Err(OpenError::Damaged(reason)) => reason.replace(char::is_control, " "),
    };
    let copy = directory.join("spool.redb.reading");
    let _ = fs::remove_file(&new);
    fs::copy(&path, &copy).map_err(io("copying the damaged file"))?;
    let (kept, held) = salvage(&copy, &new)?;
    let _ = fs::remove_file(&copy);
    let set_aside = free_name(directory);
    fs::rename(&path, &set_aside).map_err(io("setting the damaged file aside"))?;
    fs::rename(&new, &path).map_err(io("putting the salvaged file in place"))?;
    let loss = SpoolLoss {
        reason,
        set_aside: Some(set_aside),
        salvaged: kept.events,
        lost: lost(note.map(|note| note.events), held.events, kept.events),
        dead_letters_salvaged: kept.dead_letters,
        dead_letters_lost: lost(
            note.map(|note| note.dead_letters),
            held.dead_letters,
            kept.dead_letters,
        ),
    };
    report(&loss);
    match Store::open(&path) {
        Ok((store, contents)) => Ok((store, contents, Some(loss))),
        Err(OpenError::Spool(error)) => Err(error),
        Err(OpenError::Damaged(reason)) => Err(SpoolError::Io {
            path,
            doing: "opening the salvaged file",
            reason,
        }),
    }
}

/// How many are missing of those that were there when the file was closed, if that is known, or that
/// the file says it holds.
fn lost(closed: Option<u64>, held: Option<u64>, kept: u64) -> Option<u64> {
    match (closed, held) {
        (None, held) => held.map(|held| held.saturating_sub(kept)),
        (Some(closed), _) if kept == 0 => Some(closed),
        // What was read is of another time: some of it may have left since, and others come in.
        (Some(closed), held) if held != Some(closed) => None,
        (Some(closed), _) => Some(closed.saturating_sub(kept)),
    }
}

/// The file is whole, but not the one that was closed.
fn fell_back(closed: ClosingNote, found: ClosingNote) -> Option<SpoolLoss> {
    if closed == found {
        return None;
    }
    let came_in_since = closed.next_index.saturating_sub(found.next_index);
    let loss = SpoolLoss {
        reason: "it went back to an earlier state than it was closed in".to_owned(),
        set_aside: None,
        salvaged: found.events,
        lost: Some(came_in_since.min(closed.events)),
        dead_letters_salvaged: found.dead_letters,
        dead_letters_lost: Some(closed.dead_letters.saturating_sub(found.dead_letters)),
    };
    report(&loss);
    Some(loss)
}

fn report(loss: &SpoolLoss) {
    error!("{loss}");
}

/// What is in the new file.
#[derive(Debug, Default)]
struct Kept {
    events: u64,
    dead_letters: u64,
}

/// Writes what can be read of `copy` to `new`: how much that is, and how much there was.
fn salvage(copy: &Path, new: &Path) -> Result<(Kept, Held), SpoolError> {
    let (store, _) = Store::open(new).map_err(|error| match error {
        OpenError::Spool(error) => error,
        OpenError::Damaged(reason) => SpoolError::Io {
            path: new.to_owned(),
            doing: "making a new file",
            reason,
        },
    })?;
    let mut kept = Kept::default();
    let mut failed = None;
    let mut batch = Batch::default();
    let mut commit = |batch: Batch| {
        if let Err(error) = store.commit(&batch) {
            failed = Some(error);
        }
    };
    let held = read_damaged(copy, |salvaged| {
        match salvaged {
            Salvaged::Event(record) => {
                kept.events += 1;
                let subject = record.envelope.subject().clone();
                batch.append.push((subject, record.index, record.encode()));
            }
            Salvaged::DeadLetter(letter) => {
                kept.dead_letters += 1;
                batch.bury.push(letter);
            }
        }
        if batch.append.len() + batch.bury.len() >= CHUNK {
            commit(std::mem::take(&mut batch));
        }
    });
    // Nobody knows what of it was sent: all of it must be looked up.
    batch.replay_began = Some(true);
    commit(batch);
    match failed {
        None => Ok((kept, held)),
        Some(error) => Err(error),
    }
}

fn free_name(directory: &Path) -> PathBuf {
    let name = |number| directory.join(format!("{SET_ASIDE}{number}"));
    let mut number = 1;
    while name(number).exists() {
        number += 1;
    }
    name(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::tests::{fill, open as spool_in, subject};

    #[test]
    fn a_loss_is_one_line_that_says_what_is_known() {
        let mut loss = SpoolLoss {
            reason: "torn".to_owned(),
            set_aside: None,
            salvaged: 7,
            lost: Some(2),
            dead_letters_salvaged: 0,
            dead_letters_lost: Some(0),
        };
        let events = "the spool was damaged (torn); events: 7 kept, 2 lost";
        assert_eq!(loss.to_string(), events);
        loss.dead_letters_lost = Some(3);
        let with_letters = format!("{events}; dead letters: 0 kept, 3 lost");
        assert_eq!(loss.to_string(), with_letters);
        (loss.dead_letters_salvaged, loss.dead_letters_lost) = (1, Some(0));
        let with_letters = format!("{events}; dead letters: 1 kept, 0 lost");
        assert_eq!(loss.to_string(), with_letters);
        (loss.lost, loss.set_aside) = (None, Some("/aside".into()));
        assert_eq!(
            loss.to_string(),
            "the spool was damaged (torn); events: 7 kept, and nobody can say how many are lost; \
             dead letters: 1 kept, 0 lost; the damaged file is /aside"
        );
    }

    #[test]
    fn how_many_are_lost_is_told_only_where_that_is_known() {
        for (closed, held, kept, expected) in [
            (None, None, 3, None),
            (None, Some(5), 3, Some(2)),
            (None, Some(2), 3, Some(0)),
            (Some(5), None, 0, Some(5)),
            (Some(5), Some(9), 0, Some(5)),
            (Some(5), Some(5), 3, Some(2)),
            (Some(5), Some(6), 3, None),
            (Some(5), None, 3, None),
        ] {
            let told = lost(closed, held, kept);
            assert_eq!(told, expected, "{closed:?} {held:?} {kept}");
        }
    }

    #[test]
    fn a_file_that_is_set_aside_takes_nobodys_name() {
        let folder = tempfile::tempdir().unwrap();
        let name = |number: u32| folder.path().join(format!("{SET_ASIDE}{number}"));
        for number in 1..=4 {
            assert_eq!(free_name(folder.path()), name(number));
            fs::write(name(number), "").unwrap();
        }
    }

    #[tokio::test]
    async fn a_salvaged_file_is_put_in_place_only_where_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        fill(&spool_in(folder.path()), 3).await;
        let (path, new) = (
            file_in(folder.path()),
            folder.path().join("spool.redb.salvaged"),
        );
        fs::rename(&path, &new).unwrap();
        assert_eq!(spool_in(folder.path()).waiting(&subject("a")), 2);
        assert!(path.exists() && !new.exists());
        fs::write(&new, "half written").unwrap();
        assert_eq!(spool_in(folder.path()).waiting(&subject("a")), 2);
    }
}
