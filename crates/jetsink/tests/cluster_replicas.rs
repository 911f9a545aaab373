//! Reading a replicated stream while one of its servers catches up.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

use std::time::Duration;

use futures_util::future::join_all;
use jetsink::{ConnectSettings, NatsPublisher, RequestError, StreamContent, StreamQuery};
use nats_local::NatsCluster;
use tokio::time::Instant;

/// Enough that a server which was away takes a while to fetch them.
const EVENTS: usize = 40_000;
const BYTES: usize = 1_024;
/// How long it is read again and again.
const TIME: Duration = Duration::from_secs(3);

/// How long it may take until anything can be read.
const PATIENCE: Duration = Duration::from_secs(40);

/// How many events of the last subject there are; one was acknowledged.
async fn read_last(publisher: &NatsPublisher) -> Result<usize, RequestError> {
    let query = StreamQuery::new(StreamContent::HeadersOnly)
        .subjects([jetsink::SubjectPattern::new("events.last").unwrap()]);
    let mut reader = publisher
        .admin()
        .read_stream(&"EVENTS".parse().unwrap(), query)
        .await?;
    let mut found = 0;
    while reader.next().await?.is_some() {
        found += 1;
    }
    reader.close().await;
    Ok(found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_server_returns_the_acknowledged_events() {
    let mut cluster = NatsCluster::start().await.unwrap();
    cluster
        .create_stream("EVENTS", &["events.>"])
        .await
        .unwrap();
    let leader = cluster.leader("EVENTS").await.unwrap();
    let behind = (leader + 1) % NatsCluster::SIZE;
    let url = cluster.url(leader);
    let client = async_nats::connect(&url).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let settings = ConnectSettings::new(&url).unwrap();
    let publisher = NatsPublisher::connect(settings).await.unwrap();

    cluster.server(behind).kill().unwrap();
    for _ in 0..EVENTS / 1_000 {
        let some = (0..1_000).map(|_| jetstream.publish("events.many", vec![b'x'; BYTES].into()));
        let acks = join_all(some).await.into_iter().map(Result::unwrap);
        join_all(acks.map(IntoFuture::into_future)).await;
    }
    let last = jetstream.publish("events.last", "x".into()).await.unwrap();
    last.await.unwrap();
    cluster.server(behind).restart().await.unwrap();

    let started_again = Instant::now();
    let (mut complete, mut refused) = (0, 0);
    while started_again.elapsed() < TIME || complete == 0 {
        assert!(started_again.elapsed() < PATIENCE);
        match read_last(&publisher).await {
            Ok(found) => {
                assert_eq!(found, 1, "{:?} after the end", started_again.elapsed());
                complete += 1;
            }
            // Better than half of it.
            Err(error) => {
                println!("{:?}: {error}", started_again.elapsed());
                refused += 1;
            }
        }
    }
    println!("read {complete} times, refused {refused} times");
}
