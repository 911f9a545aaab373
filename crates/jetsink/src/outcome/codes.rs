//! Error codes of JetStream answers (`err_code`).
//!
//! Source: `server/errors.json` of nats-server 2.15.1. The names are those of async-nats'
//! `jetstream::ErrorCode`; a test compares the numbers.

/// The account's limit of memory, storage, streams or consumers is reached.
pub(crate) const ACCOUNT_RESOURCES_EXCEEDED: u64 = 10_002;
/// JetStream has no metadata leader, or the server has not caught up.
pub(crate) const CLUSTER_NOT_AVAILABLE: u64 = 10_008;
/// This server does not lead the stream.
pub(crate) const CLUSTER_NOT_LEADER: u64 = 10_009;
/// The server's or cluster's resources are exhausted.
pub(crate) const INSUFFICIENT_RESOURCES: u64 = 10_023;
/// The stream or account allows no further consumer.
pub(crate) const MAXIMUM_CONSUMERS_LIMIT: u64 = 10_026;
/// The server's memory limit for JetStream is reached.
pub(crate) const MEMORY_RESOURCES_EXCEEDED: u64 = 10_028;
/// The account has no JetStream.
pub(crate) const JETSTREAM_NOT_ENABLED_FOR_ACCOUNT: u64 = 10_039;
/// The server's disk limit for JetStream is reached.
pub(crate) const STORAGE_RESOURCES_EXCEEDED: u64 = 10_047;
/// The message is larger than the stream's `max_msg_size`.
pub(crate) const STREAM_MESSAGE_EXCEEDS_MAXIMUM: u64 = 10_054;
/// No message has the sequence number, or a later one.
pub(crate) const NO_MESSAGE_FOUND: u64 = 10_037;
/// The stream does not exist.
pub(crate) const STREAM_NOT_FOUND: u64 = 10_059;
/// Another stream than `Nats-Expected-Stream` captures the subject.
pub(crate) const STREAM_NOT_MATCH: u64 = 10_060;
/// The stream's last message id is not the expected one.
pub(crate) const STREAM_WRONG_LAST_MESSAGE_ID: u64 = 10_070;
/// The stream's last sequence number is not the expected one; the text contains it:
/// `wrong last sequence: 42`.
pub(crate) const STREAM_WRONG_LAST_SEQUENCE: u64 = 10_071;
/// The server has no JetStream.
pub(crate) const JETSTREAM_NOT_ENABLED: u64 = 10_076;
/// The stream's store refused the message; the text contains the reason.
pub(crate) const STREAM_STORE_FAILED: u64 = 10_077;
/// The consumer asks for more unacknowledged messages than the stream's `consumer_limits` allow.
pub(crate) const CONSUMER_MAX_PENDING_ACK_EXCESS: u64 = 10_082;
/// The headers are larger than a stream stores (65,535 bytes).
pub(crate) const STREAM_HEADER_EXCEEDS_MAXIMUM: u64 = 10_097;
/// A work-queue stream requires consumers with explicit acknowledgement.
pub(crate) const CONSUMER_WQ_REQUIRES_EXPLICIT_ACK: u64 = 10_098;
/// A work-queue stream allows one consumer without a filter.
pub(crate) const CONSUMER_WQ_MULTIPLE_UNFILTERED: u64 = 10_099;
/// The filters of a work-queue stream's consumers must not overlap.
pub(crate) const CONSUMER_WQ_CONSUMER_NOT_UNIQUE: u64 = 10_100;
/// A consumer of a work-queue stream must start with its first message.
pub(crate) const CONSUMER_WQ_CONSUMER_NOT_DELIVER_ALL: u64 = 10_101;
/// The stream is offline.
pub(crate) const STREAM_OFFLINE: u64 = 10_118;
/// The replicas of a consumer differ from those of its interest or work-queue stream.
pub(crate) const CONSUMER_REPLICAS_SHOULD_MATCH_STREAM: u64 = 10_134;
/// The consumer may be inactive for longer than the stream's `consumer_limits` allow.
pub(crate) const CONSUMER_INACTIVE_THRESHOLD_EXCESS: u64 = 10_153;
/// An earlier publish with the same message id is proposed to the replicas, and not stored yet.
pub(crate) const STREAM_DUPLICATE_MESSAGE_CONFLICT: u64 = 10_158;
/// As [`STREAM_WRONG_LAST_SEQUENCE`], without the number.
pub(crate) const STREAM_WRONG_LAST_SEQUENCE_CONSTANT: u64 = 10_164;
/// The stream's ingest queue is full.
pub(crate) const STREAM_TOO_MANY_REQUESTS: u64 = 10_167;
/// The stream is offline; the text contains the reason.
pub(crate) const STREAM_OFFLINE_REASON: u64 = 10_194;
