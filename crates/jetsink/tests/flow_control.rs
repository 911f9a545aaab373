//! A stream that is read while its flow control is held up: by a way that is cut, and by a reader that
//! takes its time. Neither is a missing permission.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

use std::time::Duration;

use jetsink::{ConnectSettings, NatsPublisher, RequestError, StreamContent, StreamReader};
use nats_local::{Impairment, NatsServer, TcpProxy};
use tokio::time::sleep;

/// Together more than a consumer sends before it wants to hear that it arrived.
const MESSAGES: usize = 60;

/// Longer than the number of stalled heartbeats, one per second, after which the permission is in doubt.
const LONG: Duration = Duration::from_secs(12);

async fn large_stream() -> NatsServer {
    let server = NatsServer::start().await.unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    let jetstream = server.jetstream().await.unwrap();
    for _ in 0..MESSAGES {
        let sent = jetstream.publish("events.a", vec![b'x'; 100_000].into());
        sent.await.unwrap().await.unwrap();
    }
    server
}

async fn reader(port: u16) -> (NatsPublisher, StreamReader) {
    let settings = ConnectSettings::new(&format!("nats://127.0.0.1:{port}")).unwrap();
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    let reader = publisher
        .admin()
        .read_stream(&"EVENTS".parse().unwrap(), StreamContent::Full)
        .await;
    (publisher, reader.unwrap())
}

async fn read(reader: &mut StreamReader) -> Result<usize, RequestError> {
    let mut count = 0;
    while reader.next().await?.is_some() {
        count += 1;
    }
    Ok(count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_without_answers_is_a_lost_connection_and_not_a_missing_permission() {
    let server = large_stream().await;
    let proxy = TcpProxy::to(server.port()).await.unwrap();
    let (_publisher, mut reader) = reader(proxy.port()).await;
    proxy.impair(Impairment::OnlyToClients);
    assert_eq!(read(&mut reader).await, Err(RequestError::ConnectionLost));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_of_a_slow_reader_are_not_a_missing_permission() {
    let server = large_stream().await;
    let (_publisher, mut reader) = reader(server.port()).await;
    sleep(LONG).await;
    assert_eq!(read(&mut reader).await, Ok(MESSAGES));
}
