//! Trial: one server, killed, frozen, cut off, its stream deleted and full, round after round, under a
//! load with and without a spool.
//!
//! `JETSINK_TRIAL_COUNT=260 cargo test --release -p jetsink --test trial_faults -- --nocapture` for the
//! full count; `JETSINK_SEED` repeats a run as far as the machine's timing lets it.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;
#[path = "common/rounds.rs"]
mod rounds;

use std::time::Duration;

use async_nats::jetstream::stream::Config;
use common::*;
use nats_fixture::{NatsServer, TcpProxy, Way};
use rounds::{Dice, Inflicted, Lanes, Round, streams};
use tokio::time::{Instant, sleep};

/// What is done to the broker, and for how long.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Killed(Duration),
    Frozen(Duration),
    Way(Way, Duration),
    StreamDeleted(Duration),
    StreamFull(Duration),
}

impl Fault {
    /// Of each 13: 5 kills, 3 freezes, 3 partitions, a deleted and a full stream.
    fn of_round(round: u64, dice: &mut Dice) -> Self {
        match round % 13 {
            0 | 5 | 6 | 9 | 12 => Self::Killed(dice.between(100, 2_500)),
            1 | 7 | 10 => Self::Frozen(dice.between(100, 3_500)),
            3 => Self::StreamDeleted(dice.between(100, 1_500)),
            4 => Self::StreamFull(dice.between(100, 1_500)),
            _ => {
                let way = match dice.below(5) {
                    0 => Way::Reset,
                    1 => Way::BlackHole,
                    2 => Way::OnlyToServer,
                    3 => Way::OnlyToClients,
                    _ => Way::Slow(dice.between(10, 400)),
                };
                Self::Way(way, dice.between(100, 4_000))
            }
        }
    }
}

async fn inflict(fault: Fault, server: &mut NatsServer, proxy: &TcpProxy) -> Inflicted {
    match fault {
        Fault::Killed(time) => {
            server.kill().unwrap();
            sleep(time).await;
            server.start_again().await.unwrap();
        }
        Fault::Frozen(time) => {
            server.freeze().unwrap();
            sleep(time).await;
            server.thaw().unwrap();
        }
        Fault::Way(way, time) => {
            proxy.set(way);
            sleep(time).await;
            proxy.mend();
        }
        Fault::StreamDeleted(time) => {
            let jetstream = server.jetstream().await.unwrap();
            for stream in streams() {
                jetstream.delete_stream(stream.name).await.unwrap();
            }
            let gone_until = Some(Instant::now());
            sleep(time).await;
            for stream in streams() {
                jetstream.create_stream(stream).await.unwrap();
            }
            return Inflicted {
                gone_until,
                ..Inflicted::until_now()
            };
        }
        Fault::StreamFull(time) => {
            let jetstream = server.jetstream().await.unwrap();
            for stream in streams() {
                let full = Config {
                    max_messages: 1,
                    ..stream
                };
                jetstream.update_stream(full).await.unwrap();
            }
            sleep(time).await;
            for stream in streams() {
                jetstream.update_stream(stream).await.unwrap();
            }
        }
    }
    Inflicted::until_now()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn round_after_round_of_faults_breaks_no_promise() {
    let count = variable("JETSINK_TRIAL_COUNT").unwrap_or(5);
    let seed = variable("JETSINK_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("{count} rounds, JETSINK_SEED={seed}");
    let mut dice = Dice::new(seed);
    let mut server = NatsServer::start().await.unwrap();
    let proxy = TcpProxy::to(server.port()).await.unwrap();
    for stream in streams() {
        server.create_stream_with(stream).await.unwrap();
    }
    let mut lanes = Lanes::start(&format!("nats://127.0.0.1:{}", proxy.port())).await;
    let mut all = Round::default();
    for number in 0..count {
        let fault = Fault::of_round(number, &mut dice);
        // Told before, so that a round that fails can be read.
        println!("round {number}: {fault:?}");
        let url = server.url();
        let fault = inflict(fault, &mut server, &proxy);
        let connect = async || async_nats::jetstream::new(async_nats::connect(url).await.unwrap());
        let round = Box::pin(lanes.run(fault, connect)).await;
        println!("    {round}");
        all.merge(&round);
    }
    println!("all: {all}");
    println!("trial faults-of-one-server count={count} failures=0 seed={seed}");
}
