//! Every way to log in, against a server that asks for it; and what changes on the disk meanwhile.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::path::Path;
use std::time::Duration;

use common::*;
use jetsink::{
    ConnectCause, ConnectError, ConnectSettings, NatsPublisher, Sink, SinkSettings, StreamSpec,
};
use nats_local::{JwtAccount, NatsServer, ReservedPort, TlsFiles};
use tokio::time::{Instant, sleep};

/// A sink that logs in so, with a stream to emit to.
async fn logged_in(settings: ConnectSettings) -> NatsSink {
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    let spec = StreamSpec::new("EVENTS", ["events.>"]).unwrap();
    let plan = publisher.admin().plan_stream(&spec).await.unwrap();
    publisher.admin().apply_stream(&plan, false).await.unwrap();
    let sink = Sink::new(publisher, SinkSettings::default());
    emit(&sink, "events.a", "in".into()).await.result.unwrap();
    sink
}

async fn refused(settings: ConnectSettings) -> ConnectError {
    NatsPublisher::connect(settings).await.unwrap_err()
}

/// Emits until one is stored, by the connection that comes after a restart.
async fn back_again(sink: &NatsSink) {
    let started = Instant::now();
    while let Err(error) = emit(sink, "events.a", "back".into()).await.result {
        assert!(started.elapsed() < Duration::from_secs(20), "{error}");
        sleep(Duration::from_millis(50)).await;
    }
}

fn to(server: &NatsServer) -> ConnectSettings {
    ConnectSettings::new(&server.url()).unwrap()
}

#[tokio::test]
async fn by_token() {
    let config = "authorization { token: hunter2 }";
    let server = NatsServer::builder().config(config).start().await.unwrap();
    logged_in(to(&server).token("hunter2")).await;
    let in_url = format!("nats://hunter2@127.0.0.1:{}", server.port());
    logged_in(ConnectSettings::new(&in_url).unwrap()).await;
    refused(to(&server).token("other")).await;
}

#[tokio::test]
async fn by_nkey() {
    let (user, other) = (nkeys::KeyPair::new_user(), nkeys::KeyPair::new_user());
    let config = format!(
        "authorization {{ users = [ {{ nkey: {} }} ] }}",
        user.public_key()
    );
    let server = NatsServer::builder().config(&config).start().await.unwrap();
    logged_in(to(&server).nkey_seed(&user.seed().unwrap())).await;
    let error = refused(to(&server).nkey_seed(&other.seed().unwrap())).await;
    assert!(
        matches!(
            error,
            ConnectError::Refused {
                cause: ConnectCause::LoginRefused,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_file_is_read_again_for_each_connection() {
    let account = JwtAccount::generate();
    let (first, second) = (
        account.user("first").unwrap(),
        account.user("second").unwrap(),
    );
    let config = account.server_config(&[]).unwrap();
    let mut server = NatsServer::builder().config(&config).start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.creds");
    std::fs::write(&file, &first.credentials).unwrap();
    let sink = logged_in(to(&server).credentials_file(&file)).await;

    server.kill().unwrap();
    let revoked = account.server_config(&[&first]).unwrap();
    server.reconfigure(&revoked).unwrap();
    server.restart().await.unwrap();
    let old = folder.path().join("old.creds");
    std::fs::write(&old, &first.credentials).unwrap();
    refused(to(&server).credentials_file(&old)).await;
    std::fs::write(&file, &second.credentials).unwrap();
    back_again(&sink).await;
}

/// The files of one set of certificates, under names that stay.
fn put(files: &TlsFiles, folder: &Path) {
    for (from, name) in [
        (&files.root, "root.pem"),
        (&files.server_certificate, "server.pem"),
        (&files.server_key, "server-key.pem"),
        (&files.client_certificate, "client.pem"),
        (&files.client_key, "client-key.pem"),
    ] {
        std::fs::copy(from, folder.join(name)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_certificates_are_used_for_mutual_tls() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    put(&TlsFiles::generate(true).unwrap(), folder.path());
    let config = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
        path("server.pem"),
        path("server-key.pem"),
        path("root.pem")
    );
    let mut server = NatsServer::builder().config(&config).start().await.unwrap();
    let settings = to(&server)
        .root_certificates(path("root.pem"))
        .client_certificate(path("client.pem"), path("client-key.pem"));
    let sink = logged_in(settings.clone()).await;
    refused(to(&server).root_certificates(path("root.pem"))).await;

    // Another authority, with new certificates.
    let old = tempfile::tempdir().unwrap();
    std::fs::copy(path("root.pem"), old.path().join("root.pem")).unwrap();
    server.kill().unwrap();
    put(&TlsFiles::generate(true).unwrap(), folder.path());
    server.restart().await.unwrap();
    back_again(&sink).await;
    refused(settings.root_certificates(old.path().join("root.pem"))).await;
}

#[tokio::test]
async fn tls_first_connects() {
    let files = TlsFiles::generate(false).unwrap();
    let server = NatsServer::builder().tls(&files).tls_first();
    let server = server.start().await.unwrap();
    let trusting = to(&server).root_certificates(&files.root);
    logged_in(trusting.clone().tls_first(true)).await;
    refused(trusting.connect_timeout(Duration::from_secs(1)).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_websocket() {
    let port = ReservedPort::new().unwrap();
    let config = format!(
        "websocket {{ listen: \"{}\", no_tls: true }}",
        port.address()
    );
    let mut server = NatsServer::builder().config(&config).start().await.unwrap();
    let url = format!("ws://{}", port.address());
    let sink = logged_in(ConnectSettings::new(&url).unwrap()).await;
    server.kill().unwrap();
    server.restart().await.unwrap();
    back_again(&sink).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connects_to_any_reachable_server() {
    let mut gone = NatsServer::start().await.unwrap();
    let there = NatsServer::start().await.unwrap();
    gone.kill().unwrap();
    let both = format!("{},{}", gone.url(), there.url());
    for _ in 0..4 {
        // Their order is drawn each time.
        logged_in(ConnectSettings::new(&both).unwrap()).await;
    }
}
