//! Logs, metrics and spans of a sink.
//!
//! The other folders report here: `history` logs each change of a circuit, counts it and notifies
//! watchers; `log_budget` bounds the lines about single subjects, and `logged_reason` those about one circuit; `metrics` counts emits and shows the spool; `spans` names the `tracing` spans.

pub(crate) mod history;
pub(crate) mod log_budget;
pub(crate) mod logged_reason;
pub(crate) mod metrics;
pub(crate) mod spans;
