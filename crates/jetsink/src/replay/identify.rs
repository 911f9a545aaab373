//! Learns which streams acknowledge events: a baseline counts only for the stream that it was made for.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::debug;

use crate::outcome::PublishError;
use crate::publish::Direct;
use crate::publisher::{ConnectionState, Publisher};

/// The pause after a failed request.
const PAUSE: Duration = Duration::from_secs(1);

/// Identifies each stream after its first acknowledgement, and all of them after each new connection. Runs
/// until it is dropped.
pub(super) async fn identify_streams<P: Publisher>(direct: &Direct<P>) {
    let Some(high_water) = direct.high_water() else {
        return;
    };
    let mut connection = direct.publisher().connection();
    let mut number = connection.as_ref().map(|c| c.borrow().number);
    loop {
        let streams = tokio::select! {
            new = reconnected(&mut connection, number) => {
                number = Some(new);
                high_water.identify_again();
                continue;
            }
            streams = high_water.unidentified() => streams,
        };
        for (stream, domain) in streams {
            let created = direct
                .publisher()
                .stream_created(&stream, domain.as_deref());
            match created.await {
                Ok(created) => high_water.identified(stream, domain, created, Instant::now()),
                Err(error) => {
                    debug!(%stream, %error, "a stream can't be identified at the moment");
                    if error == PublishError::NotConnected {
                        break;
                    }
                }
            }
        }
        // Failed ones are still to be identified.
        if !high_water.is_identified() {
            sleep(PAUSE).await;
        }
    }
}

/// Waits for another connection than `number`; returns its number.
async fn reconnected(
    connection: &mut Option<watch::Receiver<ConnectionState>>,
    number: Option<u64>,
) -> u64 {
    if let Some(connection) = connection {
        let is_new = |c: &ConnectionState| c.up && Some(c.number) != number;
        if let Ok(new) = connection.wait_for(is_new).await {
            return new.number;
        }
    }
    std::future::pending().await
}
