//! Tests of the local servers and their faults, which every other broker test depends on.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

use std::time::Duration;

use nats_local::{NatsServer, TlsFiles, stored};
use tokio::time::timeout;

async fn publish(server: &NatsServer, payload: &'static str) {
    let jetstream = server.jetstream().await.unwrap();
    let ack = jetstream.publish("events.a", payload.into()).await.unwrap();
    ack.await.unwrap();
}

#[tokio::test]
async fn a_killed_server_comes_back_at_its_port_with_its_streams() {
    let mut server = NatsServer::start().await.unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    publish(&server, "one").await;
    let port = server.port();
    server.stop().unwrap();
    assert!(server.client().await.is_err());
    server.restart().await.unwrap();
    assert_eq!(server.port(), port);
    publish(&server, "two").await;
    let messages = stored(&server.jetstream().await.unwrap(), "EVENTS")
        .await
        .unwrap();
    let payloads: Vec<_> = messages.iter().map(|m| &m.payload[..]).collect();
    assert_eq!(payloads, [b"one", b"two"]);
}

#[tokio::test]
async fn a_frozen_server_answers_when_it_is_thawed() {
    let server = NatsServer::start().await.unwrap();
    let client = server.client().await.unwrap();
    server.freeze().unwrap();
    server.freeze().unwrap(); // no second stop to wait for
    let request = client.request("$JS.API.INFO", "".into());
    let mut request = std::pin::pin!(request);
    assert!(
        timeout(Duration::from_millis(200), &mut request)
            .await
            .is_err()
    );
    server.thaw().unwrap();
    assert!(request.await.is_ok());
}

#[tokio::test]
async fn a_dropped_server_is_gone() {
    let server = NatsServer::start().await.unwrap();
    let port = server.port();
    drop(server);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[tokio::test]
async fn logins_and_certificates_are_demanded() {
    let server = NatsServer::builder()
        .user_and_password("u", "p")
        .start()
        .await
        .unwrap();
    assert!(server.client().await.is_ok());
    assert!(async_nats::connect(server.url()).await.is_err());

    let files = TlsFiles::generate(true).unwrap();
    let server = NatsServer::builder().tls(&files).start().await.unwrap();
    assert!(server.client().await.is_ok());
    let without_certificate =
        async_nats::ConnectOptions::new().add_root_certificates(files.root.clone());
    assert!(without_certificate.connect(server.url()).await.is_err());
}

#[tokio::test]
async fn an_empty_stream_reads_as_empty() {
    let server = NatsServer::start().await.unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    let jetstream = server.jetstream().await.unwrap();
    assert!(stored(&jetstream, "EVENTS").await.unwrap().is_empty());
}
