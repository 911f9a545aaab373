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
/// The time to live is not valid.
pub(crate) const MESSAGE_TTL_INVALID: u64 = 10_165;
/// The stream does not allow a time to live per message.
pub(crate) const MESSAGE_TTL_DISABLED: u64 = 10_166;
/// The stream's ingest queue is full.
pub(crate) const STREAM_TOO_MANY_REQUESTS: u64 = 10_167;
/// The stream is offline; the text contains the reason.
pub(crate) const STREAM_OFFLINE_REASON: u64 = 10_194;

/// The stream is sealed.
pub(crate) const STREAM_SEALED: u64 = 10_109;
/// `Nats-Rollup` is not allowed, or invalid.
pub(crate) const STREAM_ROLLUP_FAILED: u64 = 10_111;
/// The last sequence number of the subject is not known yet.
pub(crate) const STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_NOT_READY: u64 = 10_163;
/// The stream allows no `Nats-Incr`.
pub(crate) const MESSAGE_INCR_DISABLED: u64 = 10_168;
/// A counter stream requires `Nats-Incr`.
pub(crate) const MESSAGE_INCR_MISSING: u64 = 10_169;
/// A message with `Nats-Incr` must have no payload.
pub(crate) const MESSAGE_INCR_PAYLOAD: u64 = 10_170;
/// `Nats-Incr` is invalid.
pub(crate) const MESSAGE_INCR_INVALID: u64 = 10_171;
/// The stream allows no `Nats-Batch-` headers.
pub(crate) const ATOMIC_PUBLISH_DISABLED: u64 = 10_174;
/// `Nats-Batch-Sequence` is missing.
pub(crate) const ATOMIC_PUBLISH_MISSING_SEQ: u64 = 10_175;
/// The batch has gaps, or was abandoned.
pub(crate) const ATOMIC_PUBLISH_INCOMPLETE_BATCH: u64 = 10_176;
/// A header is not allowed in a batch.
pub(crate) const ATOMIC_PUBLISH_UNSUPPORTED_HEADER: u64 = 10_177;
/// `Nats-Batch-Id` is invalid.
pub(crate) const ATOMIC_PUBLISH_INVALID_BATCH_ID: u64 = 10_179;
/// The stream allows no `Nats-Schedule`.
pub(crate) const MESSAGE_SCHEDULES_DISABLED: u64 = 10_188;
/// `Nats-Schedule` is invalid.
pub(crate) const MESSAGE_SCHEDULES_PATTERN_INVALID: u64 = 10_189;
/// `Nats-Schedule-Target` is invalid.
pub(crate) const MESSAGE_SCHEDULES_TARGET_INVALID: u64 = 10_190;
/// `Nats-Schedule-TTL` is invalid.
pub(crate) const MESSAGE_SCHEDULES_TTL_INVALID: u64 = 10_191;
/// `Nats-Schedule` and `Nats-Rollup` contradict each other.
pub(crate) const MESSAGE_SCHEDULES_ROLLUP_INVALID: u64 = 10_192;
/// `Nats-Expected-Last-Subject-Sequence` is invalid.
pub(crate) const STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_INVALID: u64 = 10_193;
/// The batch has too many messages.
pub(crate) const ATOMIC_PUBLISH_TOO_LARGE_BATCH: u64 = 10_199;

/// Whether a code means that the server refuses a `Nats-` header of the message.
pub(crate) fn is_of_a_header(code: u64) -> bool {
    matches!(
        code,
        STREAM_ROLLUP_FAILED
            | MESSAGE_TTL_INVALID
            | MESSAGE_TTL_DISABLED
            | MESSAGE_INCR_DISABLED
            | MESSAGE_INCR_PAYLOAD
            | MESSAGE_INCR_INVALID
            | ATOMIC_PUBLISH_DISABLED
            | ATOMIC_PUBLISH_MISSING_SEQ
            | ATOMIC_PUBLISH_INCOMPLETE_BATCH
            | ATOMIC_PUBLISH_UNSUPPORTED_HEADER
            | ATOMIC_PUBLISH_INVALID_BATCH_ID
            | MESSAGE_SCHEDULES_DISABLED
            | MESSAGE_SCHEDULES_PATTERN_INVALID
            | MESSAGE_SCHEDULES_TARGET_INVALID
            | MESSAGE_SCHEDULES_TTL_INVALID
            | MESSAGE_SCHEDULES_ROLLUP_INVALID
            | STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_INVALID
            | ATOMIC_PUBLISH_TOO_LARGE_BATCH
    )
}

/// Whether a refusal with this code, which does not pass by itself, concerns every message of the subject, with `Nats-`
/// headers or without.
pub(crate) fn is_of_the_stream(code: u64) -> bool {
    matches!(
        code,
        STREAM_STORE_FAILED | STREAM_SEALED | STREAM_NOT_FOUND | MESSAGE_INCR_MISSING
    )
}
