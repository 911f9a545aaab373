//! The one thread that writes: takes all the changes that wait, makes them in one transaction with one
//! sync, and tells each caller.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::accounts::Accounts;
use super::commit::Outcome;
use super::store::Store;
use super::tables::Batch;
use crate::crash;
use crate::outcome::SpoolError;

/// Enough that a sync is shared by all who wait, little enough that none waits for long.
const MOST_BYTES: usize = 8 << 20;
const MOST_CHANGES: usize = 16_384;

/// What a caller waits for.
pub(super) type Done = oneshot::Sender<Result<(), SpoolError>>;

/// A change on its way to the disk.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) batch: Batch,
    pub(super) done: Option<Done>,
}

/// The thread, and the way to it.
#[derive(Debug)]
pub(super) struct Writer {
    changes: Option<Sender<Change>>,
    thread: Option<JoinHandle<()>>,
    /// Who sends a change makes it, for tests in virtual time: a thread would take some of the real.
    #[cfg(test)]
    at_once: Option<(Arc<Store>, Arc<Accounts>)>,
}

impl Writer {
    pub(super) fn start(store: Arc<Store>, accounts: Arc<Accounts>) -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new()
            .name("jetsink-spool".to_owned())
            .spawn(move || run(&store, &accounts, &receiver))?;
        Ok(Self {
            changes: Some(sender),
            thread: Some(thread),
            #[cfg(test)]
            at_once: None,
        })
    }

    #[cfg(test)]
    pub(super) fn at_once(store: Arc<Store>, accounts: Arc<Accounts>) -> std::io::Result<Self> {
        let thread = std::thread::Builder::new().spawn(|| {})?;
        Ok(Self {
            changes: None,
            thread: Some(thread),
            at_once: Some((store, accounts)),
        })
    }

    /// Queues a change. Where the thread is gone, `done` is dropped, which says so.
    pub(super) fn send(&self, change: Change) {
        #[cfg(test)]
        if let (Some((store, accounts)), true) = (&self.at_once, self.thread.is_some()) {
            return make(store, accounts, &change.batch, change.done);
        }
        if let Some(changes) = &self.changes {
            let _ = changes.send(change);
        }
    }

    /// Ends the queue. The thread ends when what stands in it is on the disk.
    pub(super) fn stop(&mut self) -> Option<JoinHandle<()>> {
        self.changes = None;
        self.thread.take()
    }
}

fn run(store: &Store, accounts: &Accounts, changes: &Receiver<Change>) {
    while let Ok(first) = changes.recv() {
        let mut batch = Batch::default();
        let mut waiting = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(change) = next {
            bytes += change
                .batch
                .append
                .iter()
                .map(|(_, _, record)| record.len())
                .sum::<usize>();
            batch.merge(change.batch);
            waiting.extend(change.done);
            let full = bytes >= MOST_BYTES || waiting.len() >= MOST_CHANGES;
            next = if full { None } else { changes.try_recv().ok() };
        }
        make(store, accounts, &batch, waiting);
    }
}

/// Makes the changes of a batch, and tells those who wait for them.
fn make(
    store: &Store,
    accounts: &Accounts,
    batch: &Batch,
    waiting: impl IntoIterator<Item = Done>,
) {
    let outcome = if batch.is_empty() {
        Outcome::Made
    } else {
        crash::point("spool.before-commit");
        let outcome = store.make(batch);
        crash::point("spool.after-commit");
        outcome
    };
    // Before the callers go on: what they ask next must see it.
    let result = match outcome {
        Outcome::Made => {
            accounts.settle(batch, true);
            Ok(())
        }
        Outcome::Failed(error) => {
            accounts.settle(batch, false);
            Err(error)
        }
        Outcome::InDoubt(error) => {
            accounts.leave_open(batch);
            Err(error)
        }
    };
    let emptied = !batch.remove.is_empty() && accounts.is_empty();
    for done in waiting {
        // A caller that has gone away has given up on the answer, not on the event.
        let _ = done.send(result.clone());
    }
    crash::point("spool.told");
    if emptied {
        store.shrink();
    }
}
