//! Making changes in the store, and finding out what became of those that failed at their end.

use redb::ReadableDatabase as _;

use super::error::SpoolError;
use super::store::Store;
use super::tables::{Batch, EVENTS, apply, sync};

impl Store {
    /// Makes all changes of `batch`, synced to the disk.
    pub(crate) fn commit(&self, batch: &Batch) -> Result<(), SpoolError> {
        self.writes.begin();
        let written = self.use_database("writing", |database| {
            let transaction = database.begin_write()?;
            apply(&transaction, batch)?;
            transaction.commit()?;
            Ok(())
        });
        match written {
            Err(error @ SpoolError::Io { .. }) if self.writes.may_be_made() => {
                self.what_became_of(batch, error)
            }
            certain => certain,
        }
    }

    /// Whether a commit that failed at its end is in the file, by opening that again.
    fn what_became_of(&self, batch: &Batch, error: SpoolError) -> Result<(), SpoolError> {
        let Some((subject, index, _)) = batch.append.last() else {
            // What was not taken away, or not noted, is so again later.
            return Err(error);
        };
        let key = (subject.as_str().as_bytes(), *index);
        let is_there = self.use_database("reading", |database| {
            let events = database.begin_read()?.open_table(EVENTS)?;
            Ok(events.get(key)?.is_some())
        });
        let synced = match is_there {
            Ok(false) => return Err(error),
            Ok(true) => self.use_database("writing", sync),
            Err(error) => Err(error),
        };
        synced.map_err(|error| {
            self.writes.fail_for_good(&error.to_string());
            self.half_written(&error.to_string())
        })
    }

    pub(super) fn half_written(&self, reason: &str) -> SpoolError {
        SpoolError::HalfWritten {
            path: self.path().to_owned(),
            reason: reason.replace(char::is_control, " "),
        }
    }
}
