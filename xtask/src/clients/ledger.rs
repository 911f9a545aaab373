//! Compares the events for which supervisors got `Ok` with the stream.

use std::collections::HashSet;

use anyhow::{Context as _, Result};
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

/// The type of an event, without the prefix of all types.
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
) -> Result<Tally> {
    let mut messages = Vec::with_capacity(stored.len());
    for message in stored {
        let event: Value = serde_json::from_slice(&message.payload)
            .with_context(|| format!("message {} is not JSON", message.sequence))?;
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
#[path = "tests/ledger.rs"]
mod tests;
