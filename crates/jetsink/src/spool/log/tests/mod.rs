//! The log on a simulated disk, compared with a plain model.

mod damage;
mod fuzz;
mod histories;
mod model;
#[cfg(unix)]
mod modes;
mod rewriting;
mod scanning;

use std::io;
use std::sync::Mutex;

use crate::Subject;
use crate::spool::log::event::NewRecord;
use crate::spool::log::index::Index;
use crate::spool::log::marks::Marked;
use crate::spool::log::reader::{self, Chunk, Wanted};
use crate::spool::log::writer::{Failed, Log};
use crate::sync::lock;

/// A record that leaves the log.
#[derive(Debug, Clone)]
pub(crate) struct Removed {
    /// None of a dead letter.
    pub(crate) subject: Option<Subject>,
    pub(crate) index: u64,
    pub(crate) bytes: u64,
}

impl Log {
    /// Counts the events among these records, and appends them.
    pub(crate) fn append_reserved(&mut self, records: &[&NewRecord]) -> Result<(), Failed> {
        let events = records
            .iter()
            .filter_map(|r| Some((r.subject.clone()?, r.head.size())));
        for (subject, bytes) in events.clone() {
            lock(&self.index).reserve(&subject, bytes);
        }
        let appended = self.append(records);
        if appended.as_ref().is_err_and(|failed| !failed.in_doubt) {
            for (subject, bytes) in events {
                lock(&self.index).release(&subject, bytes);
            }
        }
        appended
    }

    /// Lets records leave, and marks them.
    pub(crate) fn deliver(&mut self, removed: &[Removed]) -> io::Result<Marked> {
        for Removed {
            subject,
            index,
            bytes,
        } in removed
        {
            lock(&self.index).leave(subject.as_ref(), *index, *bytes);
        }
        self.mark_all_left()
    }
}

/// Events of a subject, from index `from` on: up to `limit`.
pub(crate) fn events_of(index: &Mutex<Index>, subject: &Subject, from: u64, limit: usize) -> Chunk {
    let subject = subject.clone();
    let wanted = Wanted {
        subject,
        from,
        limit,
    };
    reader::events(index, &[wanted]).remove(0)
}
