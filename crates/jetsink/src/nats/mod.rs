//! Publishing to NATS JetStream. Below this module, and in `connect.rs`, is all that names
//! async-nats.

mod answers;
#[cfg(test)]
mod answers_trial;
mod api;
mod end;
mod inspect;
mod link;
mod place;
mod publisher;
mod query;
mod reach;
mod reader;
mod session;
mod stored;
mod streams;
mod window;
mod wire;

pub use publisher::NatsPublisher;
pub use query::{StreamQuery, StreamReading, StreamStart};
pub use reader::{StoredEvent, StreamReader};
