//! Compares the events for which supervisors got `Ok` with the stream.

use std::collections::HashSet;

use delivery_audit::{Event, Findings};
use nats_local::StoredMessage;
use serde_json::Value;

/// The prefix of all types.
pub(crate) const TYPE_PREFIX: &str = "dev.cellos.events.cell.";

/// One event for which a supervisor got `Ok`, and its subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Emitted {
    pub(crate) key: String,
    pub(crate) subject: String,
}

/// The result of a scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) emitted: usize,
    pub(crate) stored: usize,
    /// Kept by the supervisor's own dead letter queue: neither stored nor lost.
    pub(crate) dead_letters: usize,
    pub(crate) findings: Findings<String>,
}

impl Tally {
    pub(crate) fn is_clean(&self) -> bool {
        self.emitted > 0 && self.findings.is_clean()
    }

    /// Events on another subject than their own, or behind a later one of their subject.
    pub(crate) fn out_of_place(&self) -> usize {
        self.findings.wrong_subject.len() + self.findings.out_of_order.len()
    }
}

/// Returns the event itself: a signing supervisor puts the whole event into an envelope.
pub(crate) fn unsigned(event: &Value) -> &Value {
    let signed = event["type"] == "dev.cellos.events.signed_envelope.v1";
    if signed {
        &event["data"]["event"]
    } else {
        event
    }
}

/// The type of an event, without what all share.
pub(crate) fn kind(event: &Value) -> &str {
    let event_type = unsigned(event)["type"].as_str().unwrap_or_default();
    event_type.strip_prefix(TYPE_PREFIX).unwrap_or(event_type)
}

/// Returns the key of an event: its content in any order of its members. The supervisor does not log the two
/// receipts from before a run; their key is their kind.
pub(crate) fn key(event: &Value) -> String {
    let kind = kind(event);
    match kind {
        BASELINE => BASELINE.to_owned(),
        ADMISSION => admission(
            unsigned(event)["data"]["runId"]
                .as_str()
                .unwrap_or_default(),
        ),
        _ => format!("{kind} {event}"),
    }
}

/// The receipt that each run sends first, byte for byte the same one.
pub(crate) const BASELINE: &str = "host.v1.baseline-attestation";

/// The receipt that each run sends second.
pub(crate) const ADMISSION: &str = "admission.v1.allowed";

/// The key of the admission of a run.
pub(crate) fn admission(run: &str) -> String {
    format!("{ADMISSION} {run}")
}

/// Compares the events that were emitted, in their order, with the messages of the stream.
///
/// # Errors
/// A stored message is not JSON.
pub(crate) fn compare(
    emitted: &[Emitted],
    dead: &[Value],
    stored: &[StoredMessage],
) -> Result<Tally, String> {
    let mut messages = Vec::with_capacity(stored.len());
    for message in stored {
        let event: Value = serde_json::from_slice(&message.payload)
            .map_err(|error| format!("message {} is no JSON: {error}", message.sequence))?;
        messages.push((message.subject.as_str(), key(&event)));
    }
    let events = emitted
        .iter()
        .map(|event| Event::acknowledged(event.key.clone()).on(&event.subject));
    let mut findings = Findings::of(events, messages);
    let kept: HashSet<String> = dead.iter().map(key).collect();
    findings.lost.retain(|key| !kept.contains(key));
    Ok(Tally {
        emitted: emitted.len(),
        stored: stored.len(),
        dead_letters: dead.len(),
        findings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u32) -> String {
        format!(r#"{{"type":"{TYPE_PREFIX}command.v1.completed","id":"{number}"}}"#)
    }

    fn baseline() -> String {
        format!(r#"{{"type":"{TYPE_PREFIX}{BASELINE}"}}"#)
    }

    fn emitted() -> Vec<Emitted> {
        let events = [event(1), event(2), baseline(), baseline()];
        let one = |text: &String| Emitted {
            key: key(&serde_json::from_str(text).unwrap()),
            subject: "s".to_owned(),
        };
        events.iter().map(one).collect()
    }

    fn stored(events: &[String]) -> Vec<StoredMessage> {
        let messages = events.iter().zip(1..);
        messages
            .map(|(payload, sequence)| StoredMessage {
                sequence,
                subject: "s".to_owned(),
                message_id: None,
                headers: Default::default(),
                payload: payload.clone().into(),
            })
            .collect()
    }

    #[test]
    fn a_planted_loss_duplicate_swap_stranger_and_wrong_subject_are_each_found() {
        let tally = |events: &[String]| compare(&emitted(), &[], &stored(events)).unwrap();
        assert!(tally(&[event(1), event(2), baseline(), baseline()]).is_clean());
        assert_eq!(
            tally(&[event(1), event(2), baseline()]).findings.lost,
            [BASELINE]
        );
        let twice = [event(1), event(1), event(2), baseline(), baseline()];
        assert_eq!(tally(&twice).findings.duplicated.len(), 1);
        let swapped = [event(2), event(1), baseline(), baseline()];
        assert_eq!(tally(&swapped).out_of_place(), 1);
        let stranger = [event(1), event(2), baseline(), baseline(), event(3)];
        assert_eq!(tally(&stranger).findings.unexpected.len(), 1);
        let mut elsewhere = stored(&[event(1), event(2), baseline(), baseline()]);
        elsewhere[1].subject = "other".to_owned();
        let elsewhere = compare(&emitted(), &[], &elsewhere).unwrap();
        assert_eq!(elsewhere.out_of_place(), 1);
        assert!(!Tally::default().is_clean(), "nothing at all is no success");
    }

    #[test]
    fn a_dead_letter_is_not_lost_and_members_may_change_places() {
        let dead = [
            serde_json::json!({ "id": "2", "type": format!("{TYPE_PREFIX}command.v1.completed") }),
        ];
        let there = stored(&[event(1), baseline(), baseline()]);
        let tally = compare(&emitted(), &dead, &there).unwrap();
        assert!(tally.is_clean(), "{tally:?}");
        assert_eq!(tally.dead_letters, 1);
    }
}
