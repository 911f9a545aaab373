//! Before replay: of the events that may be stored, which are?
//!
//! The stream's duplicate window is no help after an hour, so the ids that it stored since the last
//! acknowledged sequence number are read, and the events found are done. Then the first that was not
//! found is sent alone: its acknowledgement is a barrier, whatever was sent before it on this
//! connection is stored by then; and what was still on its way is found by reading once more.

use std::collections::HashMap;

use tokio::time::Instant;
use tracing::{info, warn};

use crate::direct::Direct;
use crate::error::{EmitError, PublishError};
use crate::pipeline::WIDEST_WINDOW;
use crate::publisher::Publisher;
use crate::replay::MOST_DELIVERED;
use crate::spool::{Baselines, Place, Spool, SpoolError, Unsettled};
use crate::subject::Subject;

/// Replay never has more of one subject in flight, or acknowledged and not yet removed.
const MOST_SENT: usize = 2 * WIDEST_WINDOW + MOST_DELIVERED;

/// Records read at a time; only their ids are kept.
const CHUNK: usize = 512;

/// Subjects that are looked up together.
const SUBJECTS_AT_ONCE: usize = 64;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsettleable {
    #[error("{0}")]
    Spool(#[from] SpoolError),
    #[error("{0}")]
    Lookup(#[from] PublishError),
    #[error("{0}")]
    Barrier(EmitError),
}

/// Takes out of the spool what is stored already.
pub(crate) async fn settle<P: Publisher>(
    direct: &Direct<P>,
    spool: &Spool,
) -> Result<(), Unsettleable> {
    let (unsettled, baselines) = spool.unsettled();
    if unsettled.is_empty() {
        return Ok(());
    }
    let subjects: Vec<Subject> = spool
        .subjects()
        .into_iter()
        .filter(|subject| unsettled.contains(subject))
        .collect();
    for subjects in subjects.chunks(SUBJECTS_AT_ONCE) {
        let mut candidates = candidates(spool, subjects, &unsettled).await?;
        if !look_up(direct, spool, subjects, &baselines, &mut candidates).await? {
            break;
        }
        // The oldest of those that were not found.
        let oldest = candidates.iter().min_by_key(|(_, place)| place.index);
        let Some((id, place)) = oldest.map(|(id, place)| (id.clone(), place.clone())) else {
            continue;
        };
        if send_alone(direct, spool, &place).await? {
            candidates.remove(&id);
        }
        look_up(direct, spool, subjects, &baselines, &mut candidates).await?;
    }
    spool.settled(&unsettled);
    Ok(())
}

/// The ids of what may have been sent, and where they stand: the first of each subject, which replay
/// may have sent, and those that were sent before they were spooled, which may stand behind newer
/// ones of other callers.
async fn candidates(
    spool: &Spool,
    subjects: &[Subject],
    unsettled: &Unsettled,
) -> Result<HashMap<String, Place>, SpoolError> {
    let mut candidates = HashMap::new();
    for subject in subjects {
        let last_sent = unsettled.last_sent(subject);
        let mut next = 0;
        let mut read = 0;
        loop {
            let chunk = spool.read(subject, next, CHUNK).await?;
            for (index, bytes, record) in chunk.entries {
                // A damaged one has no id to look for; replay tells of it.
                let Ok(record) = record else { continue };
                read += 1;
                if let Some(id) = record.envelope.message_id()
                    && (read <= MOST_SENT || record.may_be_stored)
                {
                    let place = Place {
                        subject: subject.clone(),
                        index,
                        bytes,
                    };
                    candidates.insert(id.as_str().to_owned(), place);
                }
            }
            next = chunk.next;
            if !chunk.more || (read >= MOST_SENT && next > last_sent) {
                break;
            }
        }
    }
    Ok(candidates)
}

/// Takes those out that are stored. False where the publisher can't say.
async fn look_up<P: Publisher>(
    direct: &Direct<P>,
    spool: &Spool,
    subjects: &[Subject],
    baselines: &Baselines,
    candidates: &mut HashMap<String, Place>,
) -> Result<bool, Unsettleable> {
    if candidates.is_empty() {
        return Ok(true);
    }
    let mut found = Vec::new();
    let mut visit = |id: &str| found.extend(candidates.remove(id));
    let answer = direct
        .publisher()
        .stored_ids(subjects, baselines, &mut visit)
        .await;
    let able = match answer {
        Ok(able) => able,
        // It will be no better in a minute, and waiting for ever would be worse than a duplicate.
        Err(error @ PublishError::PermissionDenied) => {
            warn!(%error, "this user may not look up what is stored: events past the stream's duplicate window may be stored twice");
            false
        }
        Err(error) => return Err(error.into()),
    };
    if !found.is_empty() {
        info!(
            events = found.len(),
            "spooled events were stored before the outage"
        );
        for place in found {
            spool.left(place);
        }
        spool.remove_left(&Baselines::new()).await?;
    }
    Ok(able)
}

/// Whether it is stored now, and out of the spool.
async fn send_alone<P: Publisher>(
    direct: &Direct<P>,
    spool: &Spool,
    place: &Place,
) -> Result<bool, Unsettleable> {
    let chunk = spool.read(&place.subject, place.index, 1).await?;
    let Some((index, _, Ok(record))) = chunk.entries.into_iter().next() else {
        return Ok(false);
    };
    if index != place.index {
        return Ok(false);
    }
    let started = Instant::now();
    let deadline = started + direct.settings().deadline;
    match direct.emit(record.envelope, started, deadline).await {
        Ok(_) => {
            spool.left(place.clone());
            spool.remove_left(&Baselines::new()).await?;
            Ok(true)
        }
        // The subject's own trouble: replay deals with it, and nothing of it was taken.
        Err(error) if error.scope() != crate::error::Scope::Broker => Ok(false),
        Err(error) => Err(Unsettleable::Barrier(error)),
    }
}
