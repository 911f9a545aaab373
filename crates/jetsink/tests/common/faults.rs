//! The faults of one server: it is killed, frozen, cut off, its streams deleted and full.

#![allow(dead_code, missing_docs, unreachable_pub)] // each trial has need of another part

use std::time::Duration;

use async_nats::jetstream::stream::Config;
use nats_local::{Impairment, NatsServer, TcpProxy};
use tokio::time::{Instant, sleep};

use super::rounds::{Inflicted, Lanes, Round, between, streams};
use trial::Dice;

/// A server, a proxy to it, and the two sinks that connect through the proxy.
pub struct OneServer {
    server: NatsServer,
    proxy: TcpProxy,
    lanes: Lanes,
}

impl OneServer {
    pub async fn start() -> Self {
        let server = NatsServer::start().await.unwrap();
        let proxy = TcpProxy::to(server.port()).await.unwrap();
        for stream in streams(false) {
            server.create_stream_with(stream).await.unwrap();
        }
        let lanes = Lanes::start(&format!("nats://127.0.0.1:{}", proxy.port())).await;
        Self {
            server,
            proxy,
            lanes,
        }
    }

    /// One fault under load, `after` the load has begun.
    pub async fn run(&mut self, after: Duration, fault: Fault) -> Round {
        let url = self.server.url();
        let fault = async {
            sleep(after).await;
            inflict(fault, &mut self.server, &self.proxy).await
        };
        let connect = async || async_nats::jetstream::new(async_nats::connect(url).await.unwrap());
        Box::pin(self.lanes.run(fault, connect)).await
    }
}

/// A fault of the broker and its length.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    Killed(Duration),
    Frozen(Duration),
    Impaired(Impairment, Duration),
    StreamDeleted(Duration),
    StreamFull(Duration),
}

impl Fault {
    /// How long it lasts, not counting the time that a server takes to come up.
    pub fn time(self) -> Duration {
        match self {
            Self::Killed(time)
            | Self::Frozen(time)
            | Self::Impaired(_, time)
            | Self::StreamDeleted(time)
            | Self::StreamFull(time) => time,
        }
    }

    /// In 13 rounds: 5 kills, 3 freezes, 3 partitions, a deleted and a full stream.
    pub fn of_round(round: u64, dice: &mut Dice) -> Self {
        match round % 13 {
            0 | 5 | 6 | 9 | 12 => Self::Killed(between(dice, 100, 2_500)),
            1 | 7 | 10 => Self::Frozen(between(dice, 100, 3_500)),
            3 => Self::StreamDeleted(between(dice, 100, 1_500)),
            4 => Self::StreamFull(between(dice, 100, 1_500)),
            _ => {
                let impairment = match dice.below(5) {
                    0 => Impairment::Reset,
                    1 => Impairment::BlackHole,
                    2 => Impairment::OnlyToServer,
                    3 => Impairment::OnlyToClients,
                    _ => Impairment::Slow(between(dice, 10, 400)),
                };
                Self::Impaired(impairment, between(dice, 100, 4_000))
            }
        }
    }
}

async fn remember(server: &NatsServer, network_holds_back: bool) {
    let jetstream = server.jetstream().await.unwrap();
    for stream in streams(network_holds_back) {
        jetstream.update_stream(stream).await.unwrap();
    }
}

async fn inflict(fault: Fault, server: &mut NatsServer, proxy: &TcpProxy) -> Inflicted {
    remember(server, matches!(fault, Fault::Impaired(..))).await;
    match fault {
        Fault::Killed(time) => {
            server.kill_for(time).await.unwrap();
        }
        Fault::Frozen(time) => {
            server.freeze_for(time).await.unwrap();
        }
        Fault::Impaired(impairment, time) => {
            proxy.impair(impairment);
            sleep(time).await;
            proxy.heal();
        }
        Fault::StreamDeleted(time) => {
            let jetstream = server.jetstream().await.unwrap();
            for stream in streams(false) {
                jetstream.delete_stream(stream.name).await.unwrap();
            }
            let gone_until = Some(Instant::now());
            sleep(time).await;
            for stream in streams(false) {
                jetstream.create_stream(stream).await.unwrap();
            }
            return Inflicted {
                gone_until,
                ..Inflicted::until_now()
            };
        }
        Fault::StreamFull(time) => {
            let jetstream = server.jetstream().await.unwrap();
            for stream in streams(false) {
                let full = Config {
                    max_messages: 1,
                    ..stream
                };
                jetstream.update_stream(full).await.unwrap();
            }
            sleep(time).await;
            remember(server, false).await;
        }
    }
    Inflicted::until_now()
}
