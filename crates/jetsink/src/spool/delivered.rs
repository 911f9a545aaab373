//! How events leave: counted out at once, off the disk together with others.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::append_queue::ReplayMarker;
use super::log::event::NewRecord;
use super::log::writer::lock as lock_index;
use super::queue::{Change, Made, lock_dying};
use super::record::DeadRecord;
use super::{Baselines, Place, Spool};
use crate::outcome::SpoolError;

/// An event that has left, and is still on the disk.
#[derive(Debug)]
pub(super) struct Delivered {
    place: Place,
    /// Whether its removal stands in the writer's queue, or is made.
    is_queued: bool,
}

impl Spool {
    /// An event is stored: others of its subject need not queue behind it any more. It stays on the
    /// disk until [`remove_delivered`](Self::remove_delivered).
    pub(crate) fn delivered(&self, place: Place) {
        if let Entry::Vacant(free) = self.lock_delivered().entry(place.index) {
            // In the order of the writer, which counts a dead letter's event out.
            let index = lock_index(&self.index);
            match lock_dying(&self.dying).get_mut(&place.index) {
                Some(is_counted_out) => *is_counted_out = true,
                // Its dead letter is written, and it is counted out.
                None if index.is_gone(place.index) => return,
                None => {}
            }
            drop(index);
            self.usage.leave(&place.subject, place.bytes);
            free.insert(Delivered {
                place,
                is_queued: false,
            });
        }
    }

    /// How many have left and are still on the disk.
    pub(crate) fn delivered_events(&self) -> usize {
        self.lock_delivered().len()
    }

    /// An event can't be read any more.
    pub(crate) fn damaged(&self, place: Place) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
        self.delivered(place);
    }

    /// Takes off the disk what has [`left`](Self::left); `acknowledged` are the highest sequence
    /// numbers that were acknowledged before anything that is in flight now. Queued for the disk
    /// by this call; the future waits for it. Where the disk fails, it is tried again the next time.
    pub(crate) fn remove_delivered(
        &self,
        acknowledged: &Baselines,
    ) -> impl Future<Output = Result<(), SpoolError>> + Send + use<'_> {
        let mut places = Vec::new();
        for delivered in self.lock_delivered().values_mut() {
            // Once, also where whoever queued it did not wait for it.
            if !std::mem::replace(&mut delivered.is_queued, true) {
                places.push(delivered.place.clone());
            }
        }
        let indexes: Vec<u64> = places.iter().map(|place| place.index).collect();
        let raised = acknowledged.clone();
        let answer = (!places.is_empty()).then(|| self.remove(places, acknowledged));
        async move {
            let Some((answer, states)) = answer else {
                return Ok(());
            };
            let result = answer.await.unwrap_or_else(|_| Err(self.ended()));
            let mut delivered = self.lock_delivered();
            let made = match result {
                Ok(made) => made,
                Err(error) => {
                    for index in indexes {
                        if let Some(again) = delivered.get_mut(&index) {
                            again.is_queued = false;
                        }
                    }
                    return Err(error);
                }
            };
            for index in indexes {
                delivered.remove(&index);
            }
            drop(delivered);
            if made == Made::OnDisk {
                self.raise_baselines(raised, states);
            }
            Ok(())
        }
    }

    fn remove(
        &self,
        places: Vec<Place>,
        acknowledged: &Baselines,
    ) -> (oneshot::Receiver<Result<Made, SpoolError>>, u64) {
        let mut change = Change {
            left: places,
            ..Change::default()
        };
        let mut appends = self.lock();
        if self.usage.is_complete() && appends.unreconciled.is_empty() {
            // Ours follow once that is on the disk, or they would be above events that are still there.
            let mut raised = appends.baselines.clone();
            raised.extend(acknowledged.clone());
            let mut state = appends.state(&raised);
            if self.usage.is_empty() {
                appends.marker_leaves();
                state.replay_began = false;
            }
            change.after = Some(state);
        }
        let states = appends.states;
        (appends.change(change), states)
    }

    /// Unless something came in meanwhile that may be stored.
    fn raise_baselines(&self, acknowledged: Baselines, states: u64) {
        let nothing_is_leaving = self.lock_delivered().is_empty();
        let mut appends = self.lock();
        if self.usage.is_complete() && appends.unreconciled.is_empty() {
            appends.baselines.extend(acknowledged);
            // What came in since then and may be stored would have queued it again.
            let is_last = appends.states == states && appends.awaited.is_none();
            if appends.marker == ReplayMarker::Uncertain && is_last && nothing_is_leaving {
                appends.marker = ReplayMarker::Absent;
            }
        }
    }

    /// Moves events to the dead letters.
    pub(crate) async fn move_to_dead_letters(
        &self,
        letters: Vec<(DeadRecord, Place)>,
    ) -> Result<(), SpoolError> {
        if letters.is_empty() {
            return Ok(());
        }
        let indexes: Vec<u64> = letters.iter().map(|(_, place)| place.index).collect();
        let answer = {
            let mut appends = self.lock();
            let mut change = Change::default();
            let mut dying = lock_dying(&self.dying);
            for (letter, place) in letters {
                // Once, also where an earlier dead letter is in doubt.
                if let Entry::Vacant(free) = dying.entry(place.index) {
                    free.insert(false);
                    change.records.push(NewRecord::dead_letter(&letter));
                    change.left.push(place);
                }
            }
            drop(dying);
            appends.change(change)
        };
        answer.await.unwrap_or_else(|_| Err(self.ended()))?;
        let dying = lock_dying(&self.dying);
        if indexes.iter().any(|index| dying.contains_key(index)) {
            return Err(SpoolError::HalfWritten {
                path: self.path.clone(),
                reason: "an earlier dead letter is still not written".to_owned(),
            });
        }
        Ok(())
    }

    pub(super) fn lock_delivered(&self) -> MutexGuard<'_, HashMap<u64, Delivered>> {
        self.delivered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
