//! Events that a stream's leader has proposed to its replicas, and cannot store until they return.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::time::Duration;

use async_nats::jetstream::stream::Config;
use common::*;
use futures_util::future::join_all;
use jetsink::{
    Baselines, ConnectSettings, Delivery, GapReason, NatsPublisher, Publisher as _, Sink,
    SinkSettings, SpoolSettings, StoredId, StoredIds,
};
use nats_local::{Impairment, NatsCluster, TcpProxy, stored};
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(60);

/// Enough that the event is looked up more than once in it; a leader that hears of no replica for 10 s
/// gives up leading.
const ALONE: Duration = Duration::from_secs(4);

const STREAM: &str = "EVENTS";

/// The log line of the server that becomes the cluster's metadata leader.
const LEADS_ALL: &str = "Self is new JetStream cluster metadata leader";

/// Makes a stream on two of the three servers, so that its leader can store nothing without the replica,
/// while the cluster goes on: the leader answers questions and can be read. Gives both their numbers.
///
/// The replica does not lead the cluster's own group: while it is frozen nothing could be asked.
async fn stream_of_two(cluster: &mut NatsCluster) -> (usize, usize) {
    let jetstream = cluster.jetstream().await.unwrap();
    for _ in 0..20 {
        let config = Config {
            name: STREAM.to_owned(),
            subjects: vec!["events.>".to_owned()],
            num_replicas: 2,
            // Such that it is no help.
            duplicate_window: Duration::from_millis(100),
            ..Config::default()
        };
        cluster.create_stream_with(config).await.unwrap();
        let leader = cluster.leader(STREAM).await.unwrap();
        let stream = jetstream.get_stream(STREAM).await.unwrap();
        let group = stream.cached_info().cluster.clone().unwrap();
        let name = &group.replicas[0].name;
        let replica = (0..NatsCluster::SIZE).find(|&n| cluster.server(n).name() == name);
        let replica = replica.unwrap();
        if !cluster.server(replica).log().contains(LEADS_ALL) {
            return (leader, replica);
        }
        jetstream.delete_stream(STREAM).await.unwrap();
    }
    panic!("the server that leads the cluster is always the replica");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_proposed_by_the_leader_is_not_sent_again() {
    let mut cluster = NatsCluster::start().await.unwrap();
    let (leader, replica) = stream_of_two(&mut cluster).await;
    let folder = tempfile::tempdir().unwrap();
    let settings = ConnectSettings::new(&cluster.url(leader)).unwrap();
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    let spool = SpoolSettings::new(folder.path());
    let sink = Sink::with_spool(publisher, SinkSettings::default(), spool)
        .await
        .unwrap();
    let first = sink.emit(event("events.a", "first")).await.unwrap();
    assert!(matches!(first, Delivery::Stored(_)), "{first:?}");

    cluster.server(replica).freeze().unwrap();
    for payload in ["second", "third"] {
        let delivery = sink.emit(event("events.a", payload)).await.unwrap();
        assert_eq!(delivery, Delivery::Spooled);
    }
    sleep(ALONE).await;
    println!("{}", sink.status());
    // Otherwise this shows nothing: there is something that the leader has taken and not stored.
    let nothing = Baselines::new();
    let mut visit = |_: StoredId<'_>| {};
    let asked = [event("events.a", "again")];
    let looked_up = sink.publisher().stored_ids(&asked, &nothing, &mut visit);
    let looked_up = looked_up.await;
    let Ok(StoredIds::VisitedExcept(gaps)) = &looked_up else {
        panic!("{looked_up:?}");
    };
    assert_eq!(gaps[0].subjects, [asked[0].subject().clone()]);
    assert!(
        matches!(gaps[0].reason, GapReason::Unanswered(_)),
        "{gaps:?}"
    );
    cluster.server(replica).thaw().unwrap();

    let thawed = Instant::now();
    while sink.spool().unwrap().status().events > 0 {
        assert!(thawed.elapsed() < PATIENCE, "{}", sink.status());
        sleep(Duration::from_millis(20)).await;
    }
    println!("drained {:?} after the thaw", thawed.elapsed());
    let jetstream = cluster.jetstream().await.unwrap();
    let there = loop {
        match stored(&jetstream, STREAM).await {
            Ok(there) => break there,
            // A frozen server may have requested an election.
            Err(error) => assert!(thawed.elapsed() < PATIENCE, "{error}"),
        }
        sleep(Duration::from_millis(100)).await;
    };
    let payloads: Vec<_> = there.iter().map(|m| m.payload.clone()).collect();
    assert_eq!(payloads, ["first", "second", "third"]);
}

/// Look-ups of a stream that does not answer run beside those of others, and beside the sending.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subjects_of_a_silent_stream_do_not_delay_those_of_another() {
    const SILENT: usize = 640;
    let mut cluster = NatsCluster::start().await.unwrap();
    let (leader, replica) = stream_of_two(&mut cluster).await;
    let jetstream = cluster.jetstream().await.unwrap();
    loop {
        let config = Config {
            name: "LIVE".to_owned(),
            subjects: vec!["live.>".to_owned()],
            duplicate_window: Duration::from_millis(100),
            ..Config::default()
        };
        cluster.create_stream_with(config).await.unwrap();
        if cluster.leader("LIVE").await.unwrap() != replica {
            break;
        }
        jetstream.delete_stream("LIVE").await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let proxy = TcpProxy::to(cluster.server(leader).port()).await.unwrap();
    let url = format!("nats://127.0.0.1:{}", proxy.port());
    let settings = ConnectSettings::new(&url).unwrap();
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    let spool = SpoolSettings::new(folder.path());
    // A quarter of it is for the disk, which other tests keep busy.
    let sink_settings = SinkSettings::default().deadline(Duration::from_secs(4));
    let sink = Sink::with_spool(publisher, sink_settings.unwrap(), spool)
        .await
        .unwrap();

    cluster.server(replica).freeze().unwrap();
    let silent = (0..SILENT).map(|number| sink.emit(event(&format!("events.{number}"), "silent")));
    for delivery in join_all(silent).await {
        assert_eq!(delivery.unwrap(), Delivery::Spooled);
    }
    proxy.impair(Impairment::SwallowFromServer);
    for payload in ["first", "second"] {
        let delivery = sink.emit(event("live.a", payload)).await.unwrap();
        assert_eq!(delivery, Delivery::Spooled);
    }
    proxy.impair(Impairment::Reset);
    sleep(Duration::from_millis(100)).await;
    proxy.heal();
    let healed = Instant::now();
    while sink.spool().unwrap().status().events > SILENT as u64 {
        assert!(healed.elapsed() < PATIENCE, "{}", sink.status());
        sleep(Duration::from_millis(10)).await;
    }
    let drained = healed.elapsed();
    println!("the other stream's events were stored {drained:?} after the connection");
    // The look-ups of the silent subjects, one after the other, take minutes.
    assert!(drained < Duration::from_secs(15), "{drained:?}");
    cluster.server(replica).thaw().unwrap();
    let there = loop {
        match stored(&jetstream, "LIVE").await {
            Ok(there) => break there,
            // A frozen server may have requested an election.
            Err(error) => assert!(healed.elapsed() < PATIENCE, "{error}"),
        }
        sleep(Duration::from_millis(100)).await;
    };
    let payloads: Vec<_> = there.iter().map(|m| m.payload.clone()).collect();
    assert_eq!(payloads, ["first", "second"]);
}
