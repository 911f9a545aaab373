//! The messages of a stream that allows no consumer: one request per message.

use std::collections::VecDeque;

use super::query::StreamQuery;
use crate::nats::api::cant_read;
use crate::nats::failure::Failure;
use crate::nats::read::catch_up::StreamInfo;
use crate::nats::read::get::{Got, Place};
use crate::nats::read::getter::Getter;
use crate::nats::session::Session;
use crate::nats::shared::Shared;
use crate::nats::stream_name::StreamName;
use crate::outcome::PublishError;

pub(super) struct Gets {
    pub(super) query: StreamQuery,
    getter: Getter,
    allows_direct: Option<bool>,
    /// The next sequence number.
    pub(super) from: u64,
    at_hand: VecDeque<Got>,
}

impl Gets {
    /// `allows_direct` is whether the stream answers direct gets, if that is known.
    pub(super) fn new(query: StreamQuery, from: u64, allows_direct: Option<bool>) -> Self {
        Self {
            query,
            getter: Getter::default(),
            allows_direct,
            from,
            at_hand: VecDeque::new(),
        }
    }

    /// Takes the next message that was fetched.
    pub(super) fn take(&mut self) -> Option<Got> {
        self.at_hand.pop_front()
    }

    /// Fetches the next messages; returns whether there are any. `last` is the stream's last sequence number, as far
    /// as it is known.
    pub(super) async fn fetch(
        &mut self,
        shared: &Shared,
        session: &Session,
        stream: &StreamName,
        last: u64,
    ) -> Result<bool, PublishError> {
        let place = place(shared, session, stream, self.allows_direct);
        let messages = self.getter.messages_from(place, self.from, last).await?;
        let Some(newest) = messages.last() else {
            if self.getter.is_direct() && self.from <= last {
                return Err(cant_read(
                    "its last messages were removed, or the server that reads it is behind its leader",
                ));
            }
            return Ok(false);
        };
        self.from = newest.sequence + 1;
        self.at_hand.extend(messages);
        Ok(true)
    }
}

/// Returns the state of a stream whose messages this user may read, and nothing else. `denied` is the refusal of its
/// full state.
pub(super) async fn by_last_message(
    shared: &Shared,
    session: &Session,
    stream: &StreamName,
    denied: PublishError,
) -> Result<StreamInfo, PublishError> {
    let last = match place(shared, session, stream, None).last().await {
        // No stream answers direct gets: the first refusal tells more.
        Err(error) if Failure::of(&error).allows_another_way() => return Err(denied),
        last => last?.map_or(0, |message| message.sequence),
    };
    let mut info = StreamInfo::up_to(last);
    info.state.messages = last;
    Ok(info)
}

fn place<'a>(
    shared: &'a Shared,
    session: &'a Session,
    stream: &'a StreamName,
    allows_direct: Option<bool>,
) -> Place<'a> {
    Place {
        shared,
        session,
        domain: None,
        stream,
        allows_direct,
    }
}
