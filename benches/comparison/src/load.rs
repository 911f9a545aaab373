//! Loads: one event after the other, and one each 2 ms independent of earlier results.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cellos_core::CloudEventV1;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::Result;
use crate::contender::Client;
use crate::events::event;
use crate::ledger::{Emitted, Ledger, Returned};

/// An emit that takes longer is given up, and reported as "over".
pub(crate) const GIVEN_UP_AFTER: Duration = Duration::from_secs(60);

/// How long a load waits for the first `Ok` after the broker's return.
const LONGEST_WAIT_FOR_OK: Duration = Duration::from_secs(60);

pub(crate) async fn emit(client: &Client, number: u64, event: &CloudEventV1) -> Emitted {
    let started = Instant::now();
    let returned = match timeout(GIVEN_UP_AFTER, client.emit(event)).await {
        Ok(Ok(())) => Returned::Ok,
        Ok(Err(_)) => Returned::Err,
        Err(_) => Returned::Nothing,
    };
    Emitted {
        number,
        started,
        ended: Instant::now(),
        returned,
    }
}

/// Emits `count` events one after the other, or as many as there is time for.
pub(crate) async fn in_turn(
    client: &Client,
    first: u64,
    count: u64,
    at_most: Duration,
) -> Result<Ledger> {
    let began = Instant::now();
    let mut ledger = Ledger::default();
    for number in first..first + count {
        if began.elapsed() > at_most {
            break;
        }
        let event = event(number)?;
        ledger.0.push(emit(client, number, &event).await);
    }
    Ok(ledger)
}

/// When the broker was away, by this process's clock and by the wall's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Away {
    pub(crate) from: Instant,
    pub(crate) until: Instant,
    pub(crate) from_unix_nanos: i128,
    pub(crate) until_unix_nanos: i128,
}

/// Emits one event each 2 ms, each in a task of its own: for 1 s, while `outage` runs, until an event
/// that was emitted after it is `Ok`, and 3 s more.
pub(crate) async fn steady(
    client: &Arc<Client>,
    outage: impl Future<Output = Result<Away>>,
) -> Result<(Ledger, Away)> {
    let began = Instant::now();
    // When the newest event that is Ok was emitted, in ns from `began`.
    let newest_ok = Arc::new(AtomicU64::new(0));
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let load = async {
        let mut tasks = JoinSet::new();
        let mut tick = interval(Duration::from_millis(2));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 0.. {
            tokio::select! {
                _ = tick.tick() => {}
                _ = &mut stopped => break,
            }
            let event = event(number)?;
            let (client, newest_ok) = (Arc::clone(client), Arc::clone(&newest_ok));
            tasks.spawn(async move {
                let emitted = emit(&client, number, &event).await;
                if emitted.returned == Returned::Ok {
                    newest_ok.fetch_max(nanos(emitted.started - began), Ordering::Relaxed);
                }
                emitted
            });
        }
        Ok(Ledger(tasks.join_all().await))
    };
    let fault = async {
        sleep(Duration::from_secs(1)).await;
        let away = outage.await?;
        let back = nanos(away.until - began);
        let give_up = Instant::now() + LONGEST_WAIT_FOR_OK;
        while newest_ok.load(Ordering::Relaxed) < back && Instant::now() < give_up {
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_secs(3)).await;
        let _ = stop.send(());
        Ok(away)
    };
    tokio::try_join!(load, fault)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
