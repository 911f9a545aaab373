//! Logging in, and what must never be seen of it. One test, since it owns the process's log.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::io::Write;
use std::sync::{Arc, Mutex};

use common::*;
use jetsink::{ConnectSettings, NatsPublisher};
use nats_fixture::{NatsServer, TlsFiles};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn logins_work_or_fail_with_a_reason_and_no_secret_is_in_any_log_line_or_error() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .init();
    let mut texts = Vec::new();

    let mut server = NatsServer::builder()
        .user_and_password("app", "hunter2")
        .start()
        .await
        .unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    let plain = ConnectSettings::new(&server.url()).unwrap();
    let good = plain.clone().user_and_password("app", "hunter2");
    texts.push(format!("{good:?}"));
    let sink = sink_with(good).await;
    emit(&sink, "events.a", "x".into()).await.result.unwrap();
    texts.push(format!("{sink:?} {:?}", sink.publisher()));
    // A reconnect logs in again.
    server.kill().unwrap();
    texts.push(
        emit(&sink, "events.a", "x".into())
            .await
            .result
            .unwrap_err()
            .to_string(),
    );
    server.start_again().await.unwrap();

    let in_url = format!("nats://app:sw0rdfish@127.0.0.1:{}", server.port());
    let token_in_url = format!("nats://sw0rdfish@127.0.0.1:{}", server.port());
    for wrong in [
        plain.clone().user_and_password("app", "sw0rdfish"),
        plain.clone().token("sw0rdfish"),
        plain.clone().nkey_seed("SUsw0rdfish"),
        ConnectSettings::new(&in_url).unwrap(),
        ConnectSettings::new(&token_in_url).unwrap(),
        plain,
    ] {
        texts.push(format!("{wrong:?}"));
        let error = NatsPublisher::connect(wrong).await.unwrap_err().to_string();
        assert!(error.contains("login"), "{error}");
        texts.push(error);
    }

    let files = TlsFiles::generate(true).unwrap();
    let server = NatsServer::builder().tls(&files).start().await.unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    let unknown_authority = ConnectSettings::new(&server.url()).unwrap();
    let no_certificate = unknown_authority.clone().root_certificates(&files.root);
    let good = no_certificate
        .clone()
        .client_certificate(&files.client_certificate, &files.client_key);
    for wrong in [unknown_authority, no_certificate] {
        texts.push(NatsPublisher::connect(wrong).await.unwrap_err().to_string());
    }
    let sink = sink_with(good).await;
    emit(&sink, "events.a", "x".into()).await.result.unwrap();

    texts.push(String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned());
    assert!(
        texts.iter().any(|text| text.contains("circuit opened")),
        "the log was read"
    );
    for text in texts {
        for secret in ["hunter2", "sw0rdfish"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}
