//! Logs, metrics and spans of a sink.
//!
//! The other folders report here: `history` logs each change of a circuit, counts it and notifies
//! watchers; `metrics` counts emits and shows the spool; `spans` names the `tracing` spans.

pub(crate) mod history;
pub(crate) mod metrics;
pub(crate) mod spans;
