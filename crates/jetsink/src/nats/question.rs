//! The requests to the JetStream API, by the last part of their subject. Names in them are checked.

use std::fmt;

use super::stream_name::StreamName;

/// A request to the JetStream API.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Question<'a> {
    AccountInfo,
    /// The streams that capture a subject.
    StreamNames,
    StreamInfo(&'a StreamName),
    StreamCreate(&'a StreamName),
    StreamUpdate(&'a StreamName),
    /// One message, from the stream's leader.
    MessageGet(&'a StreamName),
    /// One message, from any replica, if the stream allows it.
    DirectGet(&'a StreamName),
    ConsumerCreate(&'a StreamName),
    ConsumerDelete {
        stream: &'a StreamName,
        /// The name that the server gave it.
        consumer: &'a str,
    },
}

impl fmt::Display for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccountInfo => f.write_str("INFO"),
            Self::StreamNames => f.write_str("STREAM.NAMES"),
            Self::StreamInfo(stream) => write!(f, "STREAM.INFO.{stream}"),
            Self::StreamCreate(stream) => write!(f, "STREAM.CREATE.{stream}"),
            Self::StreamUpdate(stream) => write!(f, "STREAM.UPDATE.{stream}"),
            Self::MessageGet(stream) => write!(f, "STREAM.MSG.GET.{stream}"),
            Self::DirectGet(stream) => write!(f, "DIRECT.GET.{stream}"),
            Self::ConsumerCreate(stream) => write!(f, "CONSUMER.CREATE.{stream}"),
            Self::ConsumerDelete { stream, consumer } => {
                write!(f, "CONSUMER.DELETE.{stream}.{consumer}")
            }
        }
    }
}
