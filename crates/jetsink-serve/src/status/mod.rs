//! The status page of the gateway: the last hour by minute, the state of broker and spool, and both as HTML and JSON.

mod bars;
pub(crate) mod history;
mod latency;
mod page;
pub(crate) mod snapshot;
mod text;

pub(crate) use history::History;
pub(crate) use page::{POLICY, html};
pub(crate) use snapshot::Snapshot;
