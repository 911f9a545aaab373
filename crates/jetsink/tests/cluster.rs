//! A cluster of three with a replicated stream, under a steady load, while its servers come and go.
//!
//! Two sinks emit one event each 2 ms to one stream, each in a task of its own: one without and one
//! with a spool; and one more caller emits to the second one after another, which shows the order.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::*;
use jetsink::CircuitState as State;
use jetsink::{
    ConnectSettings, Delivery, NatsPublisher, Sink, SinkSettings, SpoolSettings, WindowSize,
};
use nats_local::NatsCluster;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// An election takes 4 to 9 s, and on a busy machine it may need a second one.
const TIME_TO_RECOVER: Duration = Duration::from_secs(40);

struct Drill {
    cluster: NatsCluster,
    direct: Arc<NatsSink>,
    spooled: Arc<NatsSink>,
    /// The stream's leader at the beginning.
    leader: usize,
    _folder: TempDir,
}

/// The servers in the sinks' settings. The sinks discover the others from them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Connected {
    Anywhere,
    ToTheLeader,
}

impl Drill {
    async fn start(connected: Connected) -> Self {
        let cluster = NatsCluster::start().await.unwrap();
        cluster
            .create_stream("EVENTS", &["events.>"])
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let leader = cluster.leader("EVENTS").await.unwrap();
        let urls = match connected {
            Connected::Anywhere => cluster.urls(),
            Connected::ToTheLeader => cluster.url(leader),
        };
        let connect = || async {
            let settings = ConnectSettings::new(&urls).unwrap();
            NatsPublisher::connect(settings).await.unwrap()
        };
        let direct = Sink::new(connect().await, SinkSettings::default());
        let spool = SpoolSettings::new(folder.path());
        let spooled = Sink::with_spool(connect().await, SinkSettings::default(), spool).await;
        Self {
            direct: Arc::new(direct),
            spooled: Arc::new(spooled.unwrap()),
            cluster,
            leader,
            _folder: folder,
        }
    }

    /// Runs the fault under load, which tells when all was well again, and checks the promise. Gives
    /// the longest time in which the sink without a spool stored nothing.
    async fn run(
        mut self,
        name: &str,
        fault: impl AsyncFnOnce(&mut NatsCluster) -> Instant,
    ) -> Duration {
        let (direct, spooled) = (Arc::clone(&self.direct), Arc::clone(&self.spooled));
        let fault = async {
            let began = Instant::now();
            let back = fault(&mut self.cluster).await;
            for sink in [&direct, &spooled] {
                recovered(sink).await;
            }
            (began, back)
        };
        // Boxed, since unoptimized futures within futures outgrow a test's stack.
        let fault = Box::pin(one_after_another(&spooled, fault));
        let with_spool = Box::pin(steady_load_on(&spooled, "events.spooled", fault));
        let (direct, (spooled, (ordered, (began, back)))) =
            Box::pin(steady_load_on(&direct, "events.direct", with_spool)).await;

        let without_ok = direct.longest_without_ok();
        let ok_again = direct.first_ok_after(back).expect("delivery resumes");
        let of_spool = spooled.0.iter().chain(&ordered.0);
        let waited = of_spool.filter(|e| matches!(e.result, Ok(Delivery::Spooled)));
        println!(
            "{name}: {} emitted without spool, {} Ok, {} unknown, longest emit {:?}, longest time \
             without an Ok {:?}, Ok {ok_again:?} after the end of the fault, which took {:?}; \
             {} emitted with spool, {} of them spooled, longest emit {:?}",
            direct.0.len(),
            direct.acknowledged().len(),
            direct.unknown(),
            direct.longest(),
            without_ok,
            back - began,
            spooled.0.len() + ordered.0.len(),
            waited.count(),
            spooled.longest().max(ordered.longest()),
        );

        let failed = spooled
            .0
            .iter()
            .chain(&ordered.0)
            .find(|e| e.result.is_err());
        assert!(failed.is_none(), "a spool takes everything: {failed:?}");
        let jetstream = self.cluster.jetstream().await.unwrap();
        let order = ordered.acknowledged();
        let all = Ledger(
            direct
                .0
                .into_iter()
                .chain(spooled.0)
                .chain(ordered.0)
                .collect(),
        );
        all.assert_promise_kept_over(&jetstream).await;
        let there = nats_local::stored(&jetstream, "EVENTS").await.unwrap();
        let there: Vec<_> = there
            .iter()
            .filter(|m| m.subject == "events.ordered")
            .collect();
        assert!(there.iter().map(|m| &m.payload).eq(&order), "out of order");
        without_ok
    }
}

/// Waits until the load's events are delivered again and no event is pending in a spool.
async fn recovered(sink: &NatsSink) {
    let started = Instant::now();
    let before = sink.status().delivered;
    loop {
        let status = sink.status();
        let empty = status.spool.as_ref().is_none_or(|spool| spool.events == 0);
        let closed = status.broker == State::Connected && status.failing_subjects.is_empty();
        if empty && closed && status.delivered > before {
            return;
        }
        assert!(started.elapsed() < TIME_TO_RECOVER, "{status}");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn one_after_another<T>(sink: &Arc<NatsSink>, fault: impl Future<Output = T>) -> (Ledger, T) {
    let (stop, mut stopped) = tokio::sync::watch::channel(());
    let load = async {
        let mut ledger = Ledger::default();
        while stopped.has_changed().is_ok() {
            let payload = format!("ordered {}", ledger.0.len());
            ledger
                .0
                .push(emit(sink, "events.ordered", payload.into()).await);
            let _ = tokio::time::timeout(Duration::from_millis(2), stopped.changed()).await;
        }
        ledger
    };
    let fault = async {
        let given = fault.await;
        drop(stop);
        given
    };
    tokio::join!(load, fault)
}

/// Kills a server, and returns the time when the others have elected a leader.
async fn killed_and_replaced(cluster: &mut NatsCluster, number: usize) -> Instant {
    cluster.server(number).kill().unwrap();
    cluster.leader("EVENTS").await.unwrap();
    Instant::now()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_streams_leader_is_killed_and_comes_back() {
    let drill = Drill::start(Connected::Anywhere).await;
    let fault = async |cluster: &mut NatsCluster| {
        let leader = cluster.leader("EVENTS").await.unwrap();
        let elected = killed_and_replaced(cluster, leader).await;
        cluster.server(leader).restart().await.unwrap();
        cluster.await_replicas("EVENTS").await.unwrap();
        elected
    };
    drill.run("leader killed", fault).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_of_the_sinks_connections_enters_lame_duck_mode() {
    let drill = Drill::start(Connected::ToTheLeader).await;
    let leader = drill.leader;
    let fault = async |cluster: &mut NatsCluster| {
        // Otherwise it is another server than the one that the sinks are connected to.
        assert_eq!(cluster.leader("EVENTS").await.unwrap(), leader);
        cluster.server(leader).lame_duck().unwrap();
        cluster.server(leader).wait_for_exit().await.unwrap();
        let gone = Instant::now();
        cluster.server(leader).restart().await.unwrap();
        cluster.await_replicas("EVENTS").await.unwrap();
        gone
    };
    drill.run("lame duck", fault).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_restart_of_three_servers() {
    let drill = Drill::start(Connected::Anywhere).await;
    let fault = async |cluster: &mut NatsCluster| {
        for number in 0..NatsCluster::SIZE {
            cluster.server(number).stop().unwrap();
            cluster.server(number).restart().await.unwrap();
            cluster.await_replicas("EVENTS").await.unwrap();
            // As an operator who checks the cluster before the next restart.
            sleep(Duration::from_secs(3)).await;
        }
        Instant::now()
    };
    drill.run("rolling restart", fault).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_of_the_sinks_connections_is_cut_off_from_the_other_servers() {
    let drill = Drill::start(Connected::ToTheLeader).await;
    let leader = drill.leader;
    let fault = async |cluster: &mut NatsCluster| {
        // Otherwise it is another server than the one that the sinks are connected to.
        assert_eq!(cluster.leader("EVENTS").await.unwrap(), leader);
        cluster.partition(leader);
        sleep(Duration::from_secs(25)).await;
        cluster.heal(leader);
        Instant::now()
    };
    // An election and the first move; one who stays there waits for all of the 25 s.
    let without_ok = drill.run("partition", fault).await;
    assert!(without_ok < Duration::from_secs(20), "{without_ok:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_is_cut_off_from_servers_and_clients() {
    let drill = Drill::start(Connected::ToTheLeader).await;
    let leader = drill.leader;
    let fault = async |cluster: &mut NatsCluster| {
        // Otherwise it is another server than the one that the sinks are connected to.
        assert_eq!(cluster.leader("EVENTS").await.unwrap(), leader);
        cluster.isolate(leader);
        sleep(Duration::from_secs(25)).await;
        let end = Instant::now();
        cluster.heal(leader);
        end
    };
    drill.run("isolation", fault).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_quorum_is_lost_and_comes_back() {
    let drill = Drill::start(Connected::Anywhere).await;
    let fault = async |cluster: &mut NatsCluster| {
        let leader = cluster.leader("EVENTS").await.unwrap();
        let two = [leader, (leader + 1) % NatsCluster::SIZE];
        for number in two {
            cluster.server(number).kill().unwrap();
        }
        sleep(Duration::from_secs(10)).await;
        for number in two {
            cluster.server(number).restart().await.unwrap();
        }
        cluster.leader("EVENTS").await.unwrap();
        Instant::now()
    };
    drill.run("quorum lost", fault).await;
}

/// An election used up the three attempts of an event, and then the circuit of the subject rejected all behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipeline_without_a_spool_waits_for_the_election_of_a_leader() {
    let mut cluster = NatsCluster::start().await.unwrap();
    cluster
        .create_stream("EVENTS", &["events.>"])
        .await
        .unwrap();
    let leader = cluster.leader("EVENTS").await.unwrap();
    let settings = ConnectSettings::new(&cluster.url((leader + 1) % NatsCluster::SIZE)).unwrap();
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    let sink = Sink::new(publisher, SinkSettings::default());
    let window = WindowSize::new(64).unwrap();
    let mut pipeline = sink.pipeline(window).max_outage(TIME_TO_RECOVER);
    let all: Vec<_> = (0..500)
        .map(|number| Bytes::from(number.to_string()))
        .collect();
    let (before, during) = all.split_at(100);
    for (part, fault) in [(before, false), (during, true)] {
        if fault {
            // Nothing is in flight: an event that the leader took with it has no answer.
            cluster.server(leader).kill().unwrap();
            // Nor is one passed on to it: the others notice its end. An election takes 4 s or longer.
            sleep(Duration::from_secs(1)).await;
        }
        let mut unsent = part.iter();
        loop {
            while pipeline.has_room()
                && let Some(payload) = unsent.next()
            {
                pipeline.push(event("events.a", payload.clone())).unwrap();
            }
            match pipeline.next().await {
                Some(result) => drop(result.unwrap()),
                None => break,
            }
        }
    }
    let jetstream = cluster.jetstream().await.unwrap();
    let there = nats_local::stored(&jetstream, "EVENTS").await.unwrap();
    assert_stored_once_in_order(&all, &there);
}
