//! The task that updates the metrics of the spool and wakes watchers of the sink's status.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::observe::metrics::SpoolMeters;
use crate::publish::Direct;
use crate::publisher::Publisher;
use crate::spool::Spool;

const PERIOD: Duration = Duration::from_secs(1);

/// The pause after a search for the oldest event, in multiples of its duration: it reads once per subject.
const REST_AFTER_READING: u32 = 20;

/// Runs until it is aborted. `oldest_age` gets the age of the oldest event in milliseconds.
pub(crate) async fn report<P: Publisher>(
    direct: Arc<Direct<P>>,
    spool: Arc<Spool>,
    oldest_age: Arc<AtomicU64>,
) {
    let meters = SpoolMeters::new();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_empty = spool.status().events == 0;
    let mut read_again = Instant::now();
    let show_oldest = |age: Duration| {
        meters.show_oldest(age);
        let millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        oldest_age.store(millis, Ordering::Relaxed);
    };
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
            show_oldest(Duration::ZERO);
        } else if read_again <= Instant::now() {
            let started = Instant::now();
            let reading = Arc::clone(&spool);
            // Replay reports a disk that fails.
            if let Ok(Ok(age)) = tokio::task::spawn_blocking(move || reading.oldest_age()).await {
                show_oldest(age);
            }
            read_again = Instant::now() + started.elapsed() * REST_AFTER_READING;
        }
    }
}
