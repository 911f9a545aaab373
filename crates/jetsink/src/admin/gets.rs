//! The messages of a stream that allows no consumer: one request per message.

use std::collections::VecDeque;

use super::query::StreamQuery;
use crate::nats::api::cant_read;
use crate::nats::read::catch_up::StreamInfo;
use crate::nats::read::get::{Getter, Got, Place, is_no_direct_get};
use crate::nats::session::Session;
use crate::nats::shared::Shared;
use crate::nats::stream_name::StreamName;
use crate::outcome::PublishError;

pub(super) struct Gets {
    pub(super) query: StreamQuery,
    getter: Getter,
    /// The next sequence number.
    pub(super) from: u64,
    at_hand: VecDeque<Got>,
}

impl Gets {
    pub(super) fn new(query: StreamQuery, from: u64) -> Self {
        Self {
            query,
            getter: Getter::default(),
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
        let place = place(shared, session, stream);
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
    let last = match place(shared, session, stream).last().await {
        // No stream answers direct gets: the first refusal tells more.
        Err(error) if is_no_direct_get(&error) => return Err(denied),
        last => last?.map_or(0, |message| message.sequence),
    };
    let mut info = StreamInfo::up_to(last);
    info.state.messages = last;
    Ok(info)
}

fn place<'a>(shared: &'a Shared, session: &'a Session, stream: &'a StreamName) -> Place<'a> {
    Place {
        shared,
        session,
        domain: None,
        stream,
    }
}
