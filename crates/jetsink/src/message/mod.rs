//! From an event's JSON to the message that is published, and back. Pure: no I/O, no clock.
//!
//! An event enters here, before it reaches a sink. [`binding::Binding::envelope`] reads the attributes that
//! it needs ([`routing`], or [`event`] for unusual input, read and checked by `event_reader`), fills the subject template ([`subject`]) and
//! returns an [`envelope::Envelope`], with headers and payload by `content`. An event that a
//! transport delivered in binary mode enters by [`received`]. An invalid event ends here with its own error. [`export`] turns a
//! message back into JSON.

pub(crate) mod binding;
pub(crate) mod content;
pub(crate) mod envelope;
pub(crate) mod event;
mod event_reader;
pub(crate) mod export;
pub(crate) mod pattern;
pub(crate) mod received;
pub(crate) mod routing;
pub(crate) mod rules;
pub(crate) mod subject;
pub(crate) mod template;
mod tenant;
