//! Reading a stream back: the look-up before replay, and the parts that the stream reader shares with it.
//!
//! `stored_ids` collects the message ids that streams have stored. It finds the stream of each subject
//! (`grouping`) and reads each (`reading`): it asks the leader for the last sequence number (`last_sequence`) and reads
//! up to it, also from a lagging replica (`catch_up`). `consumer` creates an ephemeral consumer, as the stream allows
//! it (`config`), and answers its flow control; the reply subject of a message contains its sequence number
//! (`message_info`). A stream that allows no consumer is read by `getter`, with the requests of `get`; `progress` keeps
//! the messages of an interrupted look-up. `removals` decides whether the stream may have removed events, `identity`
//! recognises a stream.

pub(crate) mod catch_up;
mod config;
pub(crate) mod consumer;
pub(crate) mod get;
pub(crate) mod getter;
mod grouping;
mod identity;
mod last_sequence;
pub(crate) mod message_info;
pub(crate) mod progress;
mod reading;
mod removals;
mod stored_ids;

pub(crate) use identity::stream_created;
pub(crate) use stored_ids::stored_ids;
