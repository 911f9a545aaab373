//! Records the changes of the broker's circuit, from `Sink::watch`.

use std::sync::Arc;

use jetsink::CircuitState as State;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::load::NatsSink;

/// One change.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    state: State,
    /// When the circuit opened or closed last.
    since: Instant,
}

/// Records each change until `stop` is sent.
pub async fn watched(sink: Arc<NatsSink>, mut stop: oneshot::Receiver<()>) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut watch = sink.watch();
    loop {
        let status = tokio::select! {
            status = watch.changed() => status,
            _ = &mut stop => return changes,
        };
        changes.push(Change {
            state: status.broker,
            since: status.since,
        });
    }
}

/// When it opened for the first time after `began`.
pub fn opened(changes: &[Change], began: Instant) -> Option<Instant> {
    let opened = changes
        .iter()
        .find(|change| change.state != State::Connected && change.since >= began);
    opened.map(|change| change.since)
}

/// When it closed for the last time.
pub fn closed(changes: &[Change]) -> Option<Instant> {
    let last = changes.last()?;
    (last.state == State::Connected).then_some(last.since)
}

/// Probes that were made: the failed ones by the circuit's count, and those that closed it.
pub fn probes(changes: &[Change]) -> usize {
    let (mut probes, mut failed) = (0, None);
    for change in changes {
        match (change.state, failed) {
            (State::Reconnecting { attempt, .. }, _) => {
                probes += attempt.saturating_sub(failed.unwrap_or(0)) as usize;
                failed = Some(attempt);
            }
            (State::Connected, Some(_)) => {
                probes += 1;
                failed = None;
            }
            (State::Connected, None) => {}
        }
    }
    probes
}
