//! Causes the faults of a script and measures the recoveries.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::{DrillRun, PATIENCE};
use crate::drill::broker::Broker;
use crate::drill::contender::Contender;
use crate::drill::script::{FaultKind, Script};
use crate::failure::Failure;

impl DrillRun {
    /// Causes and heals the faults. A signal only shortens the waits between them.
    pub(super) async fn play(&self, script: &Script, broker: &mut Broker) -> Result<(), Failure> {
        let mut continues = self.wait(script.pause).await;
        for &fault in &script.faults {
            if !continues {
                break;
            }
            let name = fault.name(script.cluster);
            // A deleted stream can't be read later.
            let read_until = match fault {
                FaultKind::Delete => Some(self.read_before_deletion().await?),
                _ => None,
            };
            let since = Instant::now();
            self.fault_begins(name);
            broker.begin(fault).await?;
            if let Some(read_until) = read_until {
                let mut timeline = self.timeline.borrow_mut();
                let contenders = self.contenders.iter().zip(read_until);
                for ((contender, read), excused) in contenders.zip(&mut timeline.excused) {
                    excused.push(read..contender.begun());
                }
            }
            if !fault.is_momentary() {
                self.wait(script.outage).await;
            }
            broker.heal().await?;
            self.fault_ends();
            let before: Vec<u64> = self
                .contenders
                .iter()
                .map(|contender| contender.delivered())
                .collect();
            let is_seen = fault.end_is_seen_by_clients() && !script.cluster;
            let bound = self.recover_within.unwrap_or(match is_seen {
                true => Duration::from_secs(1),
                false => since.elapsed() + Duration::from_secs(1),
            });
            let recovered = async {
                let contenders = self.contenders.iter().zip(before);
                let again =
                    contenders.map(|(contender, before)| delivers_again(contender, before, bound));
                self.recovered(name, &join_all(again).await, bound);
            };
            ((), continues) = tokio::join!(recovered, self.wait(script.pause));
        }
        Ok(())
    }
}

/// The time until a contender delivers an event; `None` if it does not in time.
async fn delivers_again(contender: &Contender, before: u64, bound: Duration) -> Option<Duration> {
    let since = Instant::now();
    let again = async {
        while contender.delivered() <= before {
            sleep(Duration::from_millis(2)).await;
        }
        since.elapsed()
    };
    timeout(PATIENCE.max(bound), again).await.ok()
}
