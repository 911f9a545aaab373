//! The last messages that pass a filter: read from the stream's end backwards, in growing pieces, so
//! that neither the whole stream is read nor more than the wanted messages are kept.

use std::collections::VecDeque;

use jetsink::{RequestError, StoredEvent, StreamStart};

use super::content::Content;
use super::reading::Reading;

/// The minimum size of the first piece, in messages.
const FIRST_PIECE: u64 = 256;

/// Returns the messages in their order, and the sequence number after the stream's last one.
pub(super) async fn last(
    reading: &mut Reading<'_>,
    max: usize,
) -> Result<(VecDeque<StoredEvent>, u64), RequestError> {
    let mut piece = FIRST_PIECE.max(max as u64);
    let reader = reading.open(StreamStart::Last(piece), false).await?;
    let (first, behind) = (reader.first_sequence(), reader.last_sequence() + 1);
    let mut end = behind;
    let mut found: VecDeque<StoredEvent> = VecDeque::new();
    loop {
        let begin = end.saturating_sub(piece).max(1);
        let mut here = VecDeque::new();
        while let Some(message) = reading.next().await? {
            // The next message of a rare subject may be after this piece: it was read before.
            if message.sequence >= end {
                break;
            }
            if reading.plan.filter.passes(&message, &Content::of(&message)) {
                here.push_back(message);
                if here.len() > max - found.len() {
                    here.pop_front();
                }
            }
        }
        here.append(&mut found);
        found = here;
        if found.len() >= max || begin <= first.max(1) {
            break;
        }
        (end, piece) = (begin, piece.saturating_mul(2));
        let start = StreamStart::Sequence(end.saturating_sub(piece).max(1));
        reading.open(start, false).await?;
    }
    reading.close_reader().await;
    Ok((found, behind))
}
