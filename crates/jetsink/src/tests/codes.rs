//! Compares the server's error codes with those that async-nats generates from the server's list.

use async_nats::jetstream::ErrorCode;

use crate::outcome::codes;

macro_rules! agree {
    ($($name:ident),* $(,)?) => {
        $(assert_eq!(codes::$name, ErrorCode::$name.0, stringify!($name));)*
    };
}

#[test]
fn error_codes_are_those_of_the_client() {
    agree!(
        ACCOUNT_RESOURCES_EXCEEDED,
        CLUSTER_NOT_AVAILABLE,
        CLUSTER_NOT_LEADER,
        INSUFFICIENT_RESOURCES,
        MAXIMUM_CONSUMERS_LIMIT,
        MEMORY_RESOURCES_EXCEEDED,
        JETSTREAM_NOT_ENABLED_FOR_ACCOUNT,
        STORAGE_RESOURCES_EXCEEDED,
        STREAM_MESSAGE_EXCEEDS_MAXIMUM,
        STREAM_NOT_FOUND,
        STREAM_NOT_MATCH,
        STREAM_WRONG_LAST_MESSAGE_ID,
        STREAM_WRONG_LAST_SEQUENCE,
        JETSTREAM_NOT_ENABLED,
        STREAM_STORE_FAILED,
        STREAM_HEADER_EXCEEDS_MAXIMUM,
        CONSUMER_WQ_REQUIRES_EXPLICIT_ACK,
        CONSUMER_WQ_MULTIPLE_UNFILTERED,
        CONSUMER_WQ_CONSUMER_NOT_UNIQUE,
        CONSUMER_WQ_CONSUMER_NOT_DELIVER_ALL,
        STREAM_OFFLINE,
        STREAM_DUPLICATE_MESSAGE_CONFLICT,
        STREAM_WRONG_LAST_SEQUENCE_CONSTANT,
        STREAM_TOO_MANY_REQUESTS,
        STREAM_OFFLINE_REASON,
    );
}
