//! Parses the reply subject of a consumer's message.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::Message;

/// A message's position in its stream and among the deliveries of its consumer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MessageInfo {
    pub(crate) sequence: u64,
    /// The number of messages that the consumer has sent, including this one.
    pub(crate) delivered: u64,
    pub(crate) stored_at: SystemTime,
    /// The number of messages that the consumer has yet to send.
    pub(crate) pending: u64,
}

impl MessageInfo {
    pub(crate) fn of(message: &Message) -> Option<Self> {
        Self::parse(message.reply.as_deref()?)
    }

    /// `$JS.ACK.STREAM.CONSUMER.TRIES.SEQUENCE.DELIVERED.TIME.PENDING` (ADR-15), or with the domain and the
    /// account's hash before the stream and optional tokens at the end.
    fn parse(reply: &str) -> Option<Self> {
        let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let tokens = match tokens.len() {
            7 => &tokens[..],
            9.. => &tokens[2..],
            _ => return None,
        };
        let number = |index: usize| tokens.get(index)?.parse().ok();
        Some(Self {
            sequence: number(3)?,
            delivered: number(4)?,
            stored_at: UNIX_EPOCH + Duration::from_nanos(number(5)?),
            pending: number(6)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_info_is_parsed_from_both_forms_of_the_reply() {
        let info = MessageInfo {
            sequence: 17,
            delivered: 4,
            stored_at: UNIX_EPOCH + Duration::new(1_700_000_000, 5),
            pending: 9,
        };
        for reply in [
            "$JS.ACK.EVENTS.c.1.17.4.1700000000000000005.9",
            "$JS.ACK.hub.ACCHASH.EVENTS.c.1.17.4.1700000000000000005.9.token",
        ] {
            assert_eq!(MessageInfo::parse(reply).as_ref(), Some(&info), "{reply}");
        }
        for reply in [
            "",
            "_INBOX.1",
            "$JS.ACK.EVENTS.c.1.17.4.1",
            "$JS.ACK.E.c.1.x.4.1.9",
        ] {
            assert_eq!(MessageInfo::parse(reply), None, "{reply}");
        }
    }
}
