//! Reading a stream back: the look-up before replay, and the parts that the stream reader shares with it.
//!
//! `stored_ids` collects the message ids that streams have stored. It finds the stream of each subject
//! (`grouping`), asks the stream's leader for the last sequence number (`last_sequence`) and reads up to it, also
//! from a lagging replica (`catch_up`). `consumer` creates an ephemeral consumer, as the stream allows it
//! (`config`), and answers its flow control; the reply subject of a message contains its sequence number
//! (`message_info`). `get` reads a stream that allows no consumer. `removals` decides whether the stream may have removed
//! events, `identity` recognises a stream.

pub(crate) mod catch_up;
mod config;
pub(crate) mod consumer;
pub(crate) mod get;
mod grouping;
mod identity;
mod last_sequence;
pub(crate) mod message_info;
mod removals;
mod stored_ids;

use crate::outcome::{PublishError, codes};
pub(crate) use identity::stream_created;
pub(crate) use stored_ids::stored_ids;

/// Whether the broker never answers such a request of this user: a later one fails, too.
pub(crate) fn is_never_answered(error: &PublishError) -> bool {
    match error {
        PublishError::PermissionDenied => true,
        PublishError::Refused(refusal) => matches!(
            refusal.code,
            codes::STREAM_NOT_FOUND
                | codes::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT
                | codes::JETSTREAM_NOT_ENABLED
        ),
        _ => false,
    }
}

/// Whether the user or the account may not ask for a stream's state. It may be allowed to read messages: an account
/// may import a part of the API.
pub(crate) fn is_state_denied(error: &PublishError) -> bool {
    match error {
        PublishError::PermissionDenied | PublishError::JetStreamUnavailable => true,
        PublishError::Refused(refusal) => matches!(
            refusal.code,
            codes::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT | codes::JETSTREAM_NOT_ENABLED
        ),
        _ => false,
    }
}

/// Whether nothing can be read at the moment, whichever stream it is.
fn concerns_all(error: &PublishError) -> bool {
    matches!(
        error,
        PublishError::NotConnected
            | PublishError::ConnectionLost
            | PublishError::ClientBusy
            | PublishError::AckTimeout {
                broker_answers: false
            }
            | PublishError::InboxDenied { .. }
    )
}

/// Whether a stream can't be read by a consumer. It may be readable message by message.
pub(crate) fn is_consumer_refused(error: &PublishError) -> bool {
    match error {
        PublishError::Refused(refusal) => matches!(
            refusal.code,
            codes::MAXIMUM_CONSUMERS_LIMIT
                | codes::CONSUMER_MAX_PENDING_ACK_EXCESS
                | codes::CONSUMER_WQ_REQUIRES_EXPLICIT_ACK
                | codes::CONSUMER_WQ_MULTIPLE_UNFILTERED
                | codes::CONSUMER_WQ_CONSUMER_NOT_UNIQUE
                | codes::CONSUMER_WQ_CONSUMER_NOT_DELIVER_ALL
                | codes::CONSUMER_REPLICAS_SHOULD_MATCH_STREAM
                | codes::CONSUMER_INACTIVE_THRESHOLD_EXCESS
                | codes::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT
                | codes::JETSTREAM_NOT_ENABLED
        ),
        PublishError::FlowControlDenied
        | PublishError::PermissionDenied
        | PublishError::JetStreamUnavailable => true,
        _ => false,
    }
}
