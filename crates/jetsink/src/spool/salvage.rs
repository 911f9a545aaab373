//! Opening a spool whatever state its file is in: a damaged one is set aside, and what can be read
//! of it goes into a new one.
//!
//! The new file is made beside the old one and takes its place when it is whole, so that a crash on
//! the way loses nothing.

use std::fs;
use std::path::{Path, PathBuf};

use tracing::error;

use super::closing::ClosingNote;
use super::damaged::read_damaged;
use super::error::SpoolError;
use super::file_in;
use super::record::Record;
use super::store::{OpenError, Store};
use super::tables::{Batch, Contents};

/// How many records go into the new file at a time.
const CHUNK: usize = 1_000;

/// What a damaged file cost.
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
    /// Events that could not; `None` where the file does not even say how many it held.
    pub lost: Option<u64>,
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
    let (salvaged, total) = salvage(&copy, &new)?;
    let _ = fs::remove_file(&copy);
    let set_aside = free_name(directory);
    fs::rename(&path, &set_aside).map_err(io("setting the damaged file aside"))?;
    fs::rename(&new, &path).map_err(io("putting the salvaged file in place"))?;
    let loss = SpoolLoss {
        reason,
        set_aside: Some(set_aside),
        salvaged,
        lost: note
            .map(|note| note.events)
            .or(total)
            .map(|total| total.saturating_sub(salvaged)),
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

/// The file is whole, but not the one that was closed.
fn fell_back(closed: ClosingNote, found: ClosingNote) -> Option<SpoolLoss> {
    if closed == found {
        return None;
    }
    let loss = SpoolLoss {
        reason: "it went back to an earlier state than it was closed in".to_owned(),
        set_aside: None,
        salvaged: found.events,
        lost: Some(closed.events.saturating_sub(found.events)),
    };
    report(&loss);
    Some(loss)
}

fn report(loss: &SpoolLoss) {
    error!(
        reason = %loss.reason,
        set_aside = ?loss.set_aside,
        salvaged = loss.salvaged,
        lost = loss.lost,
        "the spool's file was damaged"
    );
}

/// Writes what can be read of `copy` to `new`: how many events that is, and how many there were.
fn salvage(copy: &Path, new: &Path) -> Result<(u64, Option<u64>), SpoolError> {
    let (store, _) = Store::open(new).map_err(|error| match error {
        OpenError::Spool(error) => error,
        OpenError::Damaged(reason) => SpoolError::Io {
            path: new.to_owned(),
            doing: "making a new file",
            reason,
        },
    })?;
    let mut salvaged = 0;
    let mut failed = None;
    let mut batch = Batch::default();
    let mut commit = |batch: Batch| {
        if let Err(error) = store.commit(&batch) {
            failed = Some(error);
        }
    };
    let total = read_damaged(copy, |record: Record| {
        salvaged += 1;
        let subject = record.envelope.subject().clone();
        batch.append.push((subject, record.index, record.encode()));
        if batch.append.len() >= CHUNK {
            commit(std::mem::take(&mut batch));
        }
    });
    // Nobody knows what of it was sent: all of it must be looked up.
    batch.replay_began = Some(true);
    commit(batch);
    match failed {
        None => Ok((salvaged, total)),
        Some(error) => Err(error),
    }
}

fn free_name(directory: &Path) -> PathBuf {
    let name = |number| directory.join(format!("spool.redb.damaged-{number}"));
    let mut number = 1;
    while name(number).exists() {
        number += 1;
    }
    name(number)
}
