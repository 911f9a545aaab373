//! Reads requests by the CloudEvents HTTP binding 1.0.2. Pure: headers and bytes in, events or a problem out.

pub(crate) mod attribute;
pub(crate) mod batch;
pub(crate) mod binary;
pub(crate) mod content;
pub(crate) mod preference;
pub(crate) mod trace;
pub(crate) mod webhook;
