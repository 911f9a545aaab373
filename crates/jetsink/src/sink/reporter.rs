//! The task that shows the spool to the metrics, and to those who watch the sink's status.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::observe::metrics::SpoolMeters;
use crate::publish::Direct;
use crate::publisher::Publisher;
use crate::spool::Spool;

const PERIOD: Duration = Duration::from_secs(1);

/// Looking for the oldest event takes a read for each subject; this much of the time at the most.
const REST_AFTER_READING: u32 = 20;

/// Reports for ever.
pub(crate) async fn report<P: Publisher>(direct: Arc<Direct<P>>, spool: Arc<Spool>) {
    let meters = SpoolMeters::new();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_empty = spool.status().events == 0;
    let mut read_again = Instant::now();
    loop {
        ticks.tick().await;
        let status = spool.status();
        meters.show(&status);
        let empty = status.events == 0;
        if empty != was_empty {
            was_empty = empty;
            direct.scopes().history().changed();
        }
        if empty {
            meters.show_oldest(Duration::ZERO);
        } else if read_again <= Instant::now() {
            let started = Instant::now();
            let reading = Arc::clone(&spool);
            // A disk that fails is told by replay.
            if let Ok(Ok(age)) = tokio::task::spawn_blocking(move || reading.oldest_age()).await {
                meters.show_oldest(age);
            }
            read_again = Instant::now() + started.elapsed() * REST_AFTER_READING;
        }
    }
}
