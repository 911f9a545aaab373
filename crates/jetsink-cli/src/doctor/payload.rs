//! The payload limit of the account and the user, which can be below the one that the server announces.

use std::time::Duration;

use jetsink::{NatsPublisher, PublishError, Publisher as _};
use tokio::time::timeout;

use super::finding::AccountFinding;

/// How many sizes are tried between the largest accepted and the smallest refused one.
const TRIES: u32 = 8;

/// The size that common events need; a smaller limit is searched no further.
const SMALLEST: u64 = 256;

const RECONNECT_TIME: Duration = Duration::from_secs(5);

/// Checks whether messages of the announced size are accepted. Each refusal ends the connection.
pub(super) async fn payload_limit(
    publisher: &NatsPublisher,
    announced: u64,
) -> Option<AccountFinding> {
    if accepts(publisher, announced).await != Some(false) {
        return None;
    }
    let (mut accepted, mut refused) = (0, announced);
    for _ in 0..TRIES {
        // Limits are usually powers of two, so the next one is tried in a geometric series first.
        let next = if accepted == 0 {
            refused / 4
        } else {
            accepted + (refused - accepted) / 2
        };
        if next < SMALLEST || next == accepted {
            break;
        }
        match accepts(publisher, next).await {
            Some(true) => accepted = next,
            Some(false) => refused = next,
            None => break,
        }
    }
    Some(AccountFinding::SmallerPayload {
        accepted,
        refused,
        announced,
    })
}

/// `None` if that can't be found out.
async fn accepts(publisher: &NatsPublisher, bytes: u64) -> Option<bool> {
    let mut connection = publisher.connection()?;
    let up = connection.wait_for(|connection| connection.up);
    timeout(RECONNECT_TIME, up).await.ok()?.ok()?;
    match publisher
        .admin()
        .check_size(usize::try_from(bytes).ok()?)
        .await
    {
        Ok(()) => Some(true),
        Err(PublishError::EndsConnection { .. } | PublishError::ConnectionLost) => Some(false),
        Err(_) => None,
    }
}
