//! A commit of which nobody knows whether it is in the file: what would be seen there, and who is told
//! once it has been looked up.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use redb::{Database, ReadableDatabase as _};

use super::tables::{Batch, DEAD, EVENTS};
use crate::message::subject::Subject;

type Listener = Box<dyn Fn(&Batch, bool) + Send + Sync>;

/// By what a commit is known: it was made as a whole or not at all.
#[derive(Debug, Clone)]
enum Trace {
    Event { subject: Subject, index: u64 },
    Letter { index: u64 },
}

#[derive(Debug)]
struct Question {
    trace: Trace,
    /// Whether what is looked for is there once the commit is, or gone.
    comes: bool,
    /// Whether the commit was made.
    answer: Option<bool>,
    /// What whoever made the commit did not wait for the answer to.
    left_open: Option<Batch>,
}

/// The one commit that may be in doubt. As long as it is, the file is closed, and it is asked for
/// before the file's next use.
#[derive(Default)]
pub(super) struct Doubt {
    question: Mutex<Option<Question>>,
    listener: OnceLock<Listener>,
}

impl Doubt {
    /// Who is told of answers that came after [`leave_open`](Self::leave_open).
    pub(super) fn tell(&self, listener: Listener) {
        let _ = self.listener.set(listener);
    }

    /// A commit begins. One that leaves no trace is never in doubt: it is made again all the same.
    pub(super) fn begins(&self, batch: &Batch) {
        *self.lock() = question(batch);
    }

    /// The commit's outcome is known, or will never be.
    pub(super) fn ends(&self) {
        *self.lock() = None;
    }

    pub(super) fn has_question(&self) -> bool {
        self.lock().is_some()
    }

    /// The answer; where there is none yet, `batch` is told of when there is.
    pub(super) fn answer_or_leave_open(&self, batch: &Batch) -> Option<bool> {
        let mut asked = self.lock();
        let question = asked.as_mut()?;
        match question.answer {
            Some(answer) => {
                *asked = None;
                Some(answer)
            }
            None => {
                question.left_open = Some(batch.clone());
                None
            }
        }
    }

    /// Whether the commit in question is in the file; `None` where nothing is asked.
    pub(super) fn look(&self, database: &Database) -> Result<Option<bool>, redb::Error> {
        let (trace, comes) = match &*self.lock() {
            None
            | Some(Question {
                answer: Some(_), ..
            }) => return Ok(None),
            Some(question) => (question.trace.clone(), question.comes),
        };
        let read = database.begin_read()?;
        let is_there = match trace {
            Trace::Event { subject, index } => {
                let events = read.open_table(EVENTS)?;
                events.get((subject.as_str().as_bytes(), index))?.is_some()
            }
            Trace::Letter { index } => read.open_table(DEAD)?.get(index)?.is_some(),
        };
        Ok(Some(is_there == comes))
    }

    pub(super) fn answered(&self, answer: bool) {
        let mut asked = self.lock();
        let Some(question) = asked.as_mut() else {
            return;
        };
        match question.left_open.take() {
            None => question.answer = Some(answer),
            Some(batch) => {
                *asked = None;
                if let Some(listener) = self.listener.get() {
                    listener(&batch, answer);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Question>> {
        self.question.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn question(batch: &Batch) -> Option<Question> {
    let event = |(subject, index): (&Subject, &u64)| Trace::Event {
        subject: subject.clone(),
        index: *index,
    };
    let appended = batch.append.last().map(|(s, i, _)| (event((s, i)), true));
    let buried = batch.bury.last().map(|letter| {
        let index = letter.record.index;
        (Trace::Letter { index }, true)
    });
    let removed = batch.remove.last().map(|(s, i)| (event((s, i)), false));
    let unburied = batch.unbury.last();
    let unburied = unburied.map(|index| (Trace::Letter { index: *index }, false));
    let (trace, comes) = appended.or(buried).or(removed).or(unburied)?;
    Some(Question {
        trace,
        comes,
        answer: None,
        left_open: None,
    })
}
