//! Publishing to NATS JetStream. Below this module, and in `connect.rs`, is all that names
//! async-nats.

mod answers;
mod link;
mod publisher;
mod session;
mod stored;
mod window;
mod wire;

pub use publisher::NatsPublisher;
