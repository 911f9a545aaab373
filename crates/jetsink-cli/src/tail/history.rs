//! The last messages that pass a filter: from the stream's end backwards, in growing pieces, so that
//! neither all of it is read nor more kept than what is asked for.

use std::collections::VecDeque;

use jetsink::{PublishError, StoredEvent, StreamStart};

use super::content::Content;
use super::follower::Follower;

/// The first piece, where no more are asked for.
const FIRST_PIECE: u64 = 256;

/// The messages in their order, and the sequence number behind the stream's end at that time.
pub(super) async fn last(
    follower: &mut Follower<'_>,
    most: usize,
) -> Result<(VecDeque<StoredEvent>, u64), PublishError> {
    let mut piece = FIRST_PIECE.max(most as u64);
    let reader = follower.open(StreamStart::Last(piece), false).await?;
    let (first, behind) = (reader.first_sequence(), reader.last_sequence() + 1);
    let mut end = behind;
    let mut found: VecDeque<StoredEvent> = VecDeque::new();
    loop {
        let begin = end.saturating_sub(piece).max(1);
        let mut here = VecDeque::new();
        while let Some(message) = follower.next().await? {
            // The broker finds the next of a rare subject behind this piece, where all was seen before.
            if message.sequence >= end {
                break;
            }
            if follower
                .plan
                .filter
                .passes(&message, &Content::of(&message))
            {
                here.push_back(message);
                if here.len() > most - found.len() {
                    here.pop_front();
                }
            }
        }
        here.append(&mut found);
        found = here;
        if found.len() >= most || begin <= first.max(1) {
            break;
        }
        (end, piece) = (begin, piece.saturating_mul(2));
        let start = StreamStart::Sequence(end.saturating_sub(piece).max(1));
        follower.open(start, false).await?;
    }
    follower.close_reader().await;
    Ok((found, behind))
}
