//! The result of an emit: a delivery, or a typed error; and reports about the spool. Pure.
//!
//! A publish ends with an [`Acknowledgement`] or a [`PublishError`], which states the [`Scope`] of the
//! failure and the event's state as far as [`Known`]. An emit ends with a [`Delivery`] or an [`EmitError`],
//! which adds the circuits' rejections and the spool's errors. A [`RequestError`] concerns no event.

mod acknowledgement;
pub(crate) mod codes;
mod delivery;
mod emit_error;
mod last_failure;
mod publish_error;
mod push_error;
mod refusal;
mod request_error;
mod spool_error;
mod spool_report;
mod unavailable;

pub use acknowledgement::Acknowledgement;
pub use delivery::{Delivery, Receipt};
pub use emit_error::{CircuitOpen, EmitError, FailedEmit, SpoolFailed};
pub use last_failure::LastFailure;
pub use publish_error::{ConnectionEnd, Known, PublishError, Scope};
pub use push_error::PushError;
pub use refusal::Refusal;
pub use request_error::RequestError;
pub use spool_error::SpoolError;
pub use spool_report::{SpoolLoss, SpoolStatus};
pub use unavailable::Unavailable;
