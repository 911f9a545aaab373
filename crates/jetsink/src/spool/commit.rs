//! Making changes in the store, and finding out what became of those that failed at their end.

use redb::Database;

use super::store::{Store, caught};
use super::tables::{Batch, apply, sync};
use crate::outcome::SpoolError;

/// What a batch came to.
#[derive(Debug)]
pub(super) enum Outcome {
    Made,
    Failed(SpoolError),
    /// Looked up once the file opens again, and told then; after a failed sync by whoever opens it next.
    InDoubt(SpoolError),
}

impl Store {
    /// Makes all changes of `batch`, synced to the disk.
    pub(crate) fn commit(&self, batch: &Batch) -> Result<(), SpoolError> {
        match self.make(batch) {
            Outcome::Made => Ok(()),
            Outcome::Failed(error) | Outcome::InDoubt(error) => Err(error),
        }
    }

    /// As [`commit`](Self::commit), and says whether [`tell`](Self::tell)'s listener is told more.
    pub(super) fn make(&self, batch: &Batch) -> Outcome {
        // First, since it answers what an earlier commit may have left open.
        if let Err(error) = self.ready() {
            return Outcome::Failed(error);
        }
        self.writes.begin();
        self.doubt.begins(batch);
        let written = self.use_database("writing", |database| {
            let transaction = database.begin_write()?;
            apply(&transaction, batch)?;
            transaction.commit()?;
            Ok(())
        });
        if let Err(SpoolError::Io { .. }) = written
            && self.writes.may_be_made()
            && self.doubt.has_question()
        {
            return self.what_became_of(batch, written);
        }
        self.doubt.ends();
        match written {
            Ok(()) => Outcome::Made,
            // There was no failed sync before: it may be this commit's.
            Err(SpoolError::Poisoned { reason, .. }) if !batch.append.is_empty() => {
                Outcome::InDoubt(self.half_written(&reason))
            }
            Err(error) => Outcome::Failed(error),
        }
    }

    /// Whether a commit that failed at its end is in the file, by opening that again; or later, where
    /// it can't be opened now.
    fn what_became_of(&self, batch: &Batch, written: Result<(), SpoolError>) -> Outcome {
        let opened = self.ready();
        let answer = self.doubt.answer_or_leave_open(batch);
        match (answer, opened, written) {
            (Some(true), ..) | (.., Ok(())) => Outcome::Made,
            (Some(false), _, Err(error)) => Outcome::Failed(error),
            (None, Err(why), _) if !batch.append.is_empty() => {
                Outcome::InDoubt(self.half_written(&reason_of(why)))
            }
            (None, _, Err(error)) => Outcome::InDoubt(error),
        }
    }

    /// Who is told, once it is known, whether a batch was made that was [`Outcome::InDoubt`].
    pub(super) fn tell(&self, listener: impl Fn(&Batch, bool) + Send + Sync + 'static) {
        self.doubt.tell(Box::new(listener));
    }

    /// Nobody uses an opened file before it has said what became of the last commit.
    pub(super) fn without_doubt(&self, database: Database) -> Result<Database, SpoolError> {
        let looked = caught(|| {
            let answer = self.doubt.look(&database)?;
            if answer == Some(true) {
                sync(&database)?;
            }
            Ok::<_, redb::Error>(answer)
        });
        let reason = match looked {
            Ok(Ok(answer)) => {
                if let Some(answer) = answer {
                    self.doubt.answered(answer);
                }
                return Ok(database);
            }
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic,
        };
        let _ = caught(|| drop(database));
        Err(match self.writes.final_failure() {
            Some(reason) => self.poisoned(reason),
            None => self.failed("looking up its last commit", &reason),
        })
    }

    fn half_written(&self, reason: &str) -> SpoolError {
        SpoolError::HalfWritten {
            path: self.path().to_owned(),
            reason: reason.replace(char::is_control, " "),
        }
    }
}

/// An error's reason without its path, for a sentence that names that.
fn reason_of(error: SpoolError) -> String {
    match error {
        SpoolError::Io { doing, reason, .. } => format!("{doing}: {reason}"),
        SpoolError::HalfWritten { reason, .. } | SpoolError::Poisoned { reason, .. } => reason,
        other => other.to_string(),
    }
}
