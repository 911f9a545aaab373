//! Trial: a cluster of three whose servers come and go, round after round, under a load with and
//! without a spool.
//!
//! `JETSINK_TRIAL_COUNT=60 cargo test --release -p jetsink --test trial_cluster -- --nocapture` for the
//! full count; `JETSINK_SEED` repeats a run as far as the machine's timing lets it.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;
#[path = "common/rounds.rs"]
mod rounds;

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Config;
use common::*;
use nats_local::NatsCluster;
use rounds::{Inflicted, Lanes, Round, between, streams};
use tokio::time::{Instant, sleep};
use trial::{Dice, Trial};

/// A fault of the cluster. A fault of one server concerns the leader of a stream.
#[derive(Debug, Clone, Copy)]
enum Fault {
    LeaderKilled,
    RollingRestart,
    LameDuck,
    /// It is cut off from the other two; its clients stay with it.
    LeaderCutOff(Duration),
    /// Also from its clients.
    LeaderIsolated(Duration),
    /// Each server is cut off from the others.
    AllCutOff(Duration),
    /// Two of three are killed.
    QuorumLost(Duration),
}

impl Fault {
    fn of_round(round: u64, dice: &mut Dice) -> Self {
        match round % 7 {
            0 => Self::LeaderKilled,
            1 => Self::LeaderCutOff(between(dice, 1_000, 15_000)),
            2 => Self::QuorumLost(between(dice, 500, 6_000)),
            3 => Self::LameDuck,
            4 => Self::LeaderIsolated(between(dice, 1_000, 15_000)),
            5 => Self::RollingRestart,
            _ => Self::AllCutOff(between(dice, 1_000, 8_000)),
        }
    }

    fn network_holds_back(self) -> bool {
        match self {
            Self::LeaderCutOff(_) | Self::LeaderIsolated(_) | Self::AllCutOff(_) => true,
            Self::LeaderKilled | Self::RollingRestart | Self::LameDuck | Self::QuorumLost(_) => {
                false
            }
        }
    }
}

fn replicated(network_holds_back: bool) -> [Config; 2] {
    streams(network_holds_back).map(|stream| Config {
        num_replicas: NatsCluster::SIZE,
        ..stream
    })
}

async fn inflict(fault: Fault, cluster: &mut NatsCluster, stream: &str) -> Inflicted {
    let jetstream = cluster.jetstream().await.unwrap();
    for stream in replicated(fault.network_holds_back()) {
        set_up(&jetstream, stream).await;
    }
    sleep(Duration::from_millis(200)).await;
    let leader = cluster.leader(stream).await.unwrap();
    match fault {
        Fault::LeaderKilled => {
            cluster.server(leader).kill().unwrap();
            let _ = cluster.leader(stream).await.unwrap();
            cluster.server(leader).restart().await.unwrap();
        }
        Fault::RollingRestart => {
            for number in 0..NatsCluster::SIZE {
                cluster.server(number).stop().unwrap();
                cluster.server(number).restart().await.unwrap();
                whole(cluster).await;
            }
        }
        Fault::LameDuck => {
            cluster.server(leader).lame_duck().unwrap();
            cluster.server(leader).wait_for_exit().await.unwrap();
            cluster.server(leader).restart().await.unwrap();
        }
        Fault::LeaderCutOff(time) => {
            cluster.partition(leader);
            sleep(time).await;
            cluster.heal(leader);
        }
        Fault::LeaderIsolated(time) => {
            cluster.isolate(leader);
            sleep(time).await;
            cluster.heal(leader);
        }
        Fault::AllCutOff(time) => {
            (0..NatsCluster::SIZE).for_each(|number| cluster.partition(number));
            sleep(time).await;
            (0..NatsCluster::SIZE).for_each(|number| cluster.heal(number));
        }
        Fault::QuorumLost(time) => {
            let two = [leader, (leader + 1) % NatsCluster::SIZE];
            for number in two {
                cluster.server(number).kill().unwrap();
            }
            sleep(time).await;
            for number in two {
                cluster.server(number).restart().await.unwrap();
            }
        }
    }
    // The next round's fault is for a cluster that is whole.
    whole(cluster).await;
    Inflicted::until_now()
}

/// The servers may be about to choose who answers, on a busy machine for longer than a request waits.
async fn set_up(jetstream: &Context, stream: Config) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while let Err(error) = jetstream.update_stream(&stream).await {
        assert!(Instant::now() < give_up, "{}: {error}", stream.name);
        sleep(Duration::from_millis(100)).await;
    }
}

async fn whole(cluster: &NatsCluster) {
    for stream in streams(false) {
        let _ = cluster.leader(&stream.name).await.unwrap();
        cluster.await_replicas(&stream.name).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rounds_of_cluster_faults_break_no_guarantee() {
    let trial = Trial::new("faults-of-a-cluster", 1);
    let mut dice = Dice::new(trial.seed());
    let mut cluster = NatsCluster::start().await.unwrap();
    for stream in replicated(false) {
        cluster.create_stream_with(stream).await.unwrap();
    }
    whole(&cluster).await;
    let mut lanes = Lanes::start(&cluster.urls()).await;
    let mut all = Round::default();
    for number in 0..trial.count() {
        let fault = Fault::of_round(number, &mut dice);
        let stream = &streams(false)[usize::from(dice.below(2) == 1)].name;
        // Printed before the round, so that a failed round is identified.
        println!("round {number}: {fault:?}, by the leader of {stream}");
        let urls = cluster.urls();
        let fault = inflict(fault, &mut cluster, stream);
        let connect = async || {
            let servers: Vec<String> = urls.split(',').map(str::to_owned).collect();
            async_nats::jetstream::new(async_nats::connect(servers).await.unwrap())
        };
        let round = Box::pin(lanes.run(fault, connect)).await;
        println!("    {round}");
        all.merge(&round);
    }
    println!("all: {all}");
    trial.passed_over(trial.count(), all.emitted);
}
