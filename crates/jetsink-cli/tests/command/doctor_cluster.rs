//! `jetsink doctor` at what only shows behind a network, or with several servers.

use std::time::{Duration, Instant};

use async_nats::jetstream::stream::Config;
use nats_local::{NatsCluster, NatsServer, TcpProxy};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::doctor::{Diagnosis, doctor};

fn replicated(replicas: usize) -> Config {
    Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        num_replicas: replicas,
        ..Config::default()
    }
}

fn examine(url: &str) -> Diagnosis {
    doctor(url, &["--subject", "events.{tenantId}"])
}

/// Servers take some seconds to miss each other.
async fn until(url: &str, level: &str, code: &str) {
    let started = Instant::now();
    loop {
        let diagnosis = examine(url);
        if diagnosis.shows(level, code) || started.elapsed() > Duration::from_secs(40) {
            return diagnosis.has(level, code);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_behind_a_path_which_drops_everything() {
    let server = NatsServer::start().await.unwrap();
    let proxy = TcpProxy::to(server.port()).await.unwrap();
    proxy.cut();
    let url = format!("nats://127.0.0.1:{}", proxy.port());
    examine(&url).has("problem", "address.no-nats");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_answers_no_call() {
    // No process accepts, and the system drops connections once the queue is full.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(taken) = timeout(Duration::from_secs(1), TcpStream::connect(address)).await {
        waiting.push(taken.unwrap());
        assert!(waiting.len() < 100, "the queue has no end");
    }
    examine(&format!("nats://{address}")).has("problem", "address.silent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_away() {
    let mut cluster = NatsCluster::start().await.unwrap();
    cluster.create_stream_with(replicated(3)).await.unwrap();
    cluster.await_replicas("EVENTS").await.unwrap();
    let url = cluster.url(cluster.leader("EVENTS").await.unwrap());
    let healthy = examine(&url);
    assert_eq!(
        (healthy.code, healthy.found.len()),
        (0, 0),
        "{}",
        healthy.text
    );
    let leader = cluster.leader("EVENTS").await.unwrap();
    let other = (leader + 1) % NatsCluster::SIZE;
    cluster.server(other).kill().unwrap();
    until(&url, "warning", "stream.replica-behind").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_without_a_leader_in_a_cluster_that_has_one() {
    let mut cluster = NatsCluster::start().await.unwrap();
    // Half of two replicas is no majority; two of three servers are.
    cluster.create_stream_with(replicated(2)).await.unwrap();
    let leader = cluster.leader("EVENTS").await.unwrap();
    cluster.server(leader).kill().unwrap();
    let others = (0..NatsCluster::SIZE).filter(|number| *number != leader);
    let urls: Vec<String> = others.map(|number| cluster.url(number)).collect();
    until(&urls.join(","), "problem", "stream.no-leader").await;
}
