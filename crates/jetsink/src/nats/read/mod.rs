//! Reading a stream back: the look-up before replay, and the parts that the stream reader shares with it.
//!
//! `stored_ids` collects the message ids that streams have stored. It asks the stream's leader for the last
//! sequence number (`last_sequence`) and reads up to it, also from a lagging replica (`catch_up`). The
//! reply subject of a message contains its sequence number (`message_info`); `consumer` creates
//! an ephemeral consumer and answers its flow control.

pub(crate) mod catch_up;
pub(crate) mod consumer;
mod identity;
mod last_sequence;
pub(crate) mod message_info;
mod stored_ids;

pub(crate) use identity::stream_created;
pub(crate) use stored_ids::stored_ids;
