//! Logins, and secrets that must never be visible. One test, since it owns the process's log.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::io::Write;
use std::sync::{Arc, Mutex};

use common::*;
use jetsink::{ConnectCause, ConnectError, ConnectSettings, NatsPublisher};
use metrics_exporter_prometheus::PrometheusBuilder;
use nats_local::{JwtAccount, NatsServer, TlsFiles};

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
    let metrics = PrometheusBuilder::new().install_recorder().unwrap();
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
    server.restart().await.unwrap();

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
        let error = NatsPublisher::connect(wrong).await.unwrap_err();
        let is_login = |cause| {
            matches!(
                cause,
                ConnectCause::LoginRefused | ConnectCause::LoginUnusable
            )
        };
        assert!(
            matches!(error, ConnectError::Refused { cause, .. } if is_login(cause)),
            "{error}"
        );
        texts.push(error.to_string());
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

    // Keys and tokens, which are let in once, and once not.
    let (user, other) = (nkeys::KeyPair::new_user(), nkeys::KeyPair::new_user());
    let account = JwtAccount::generate();
    let (jwt_user, stranger) = (
        account.user("app").unwrap(),
        JwtAccount::generate().user("app").unwrap(),
    );
    let folder = tempfile::tempdir().unwrap();
    let creds = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let by_nkey = format!(
        "authorization {{ users = [ {{ nkey: {} }} ] }}",
        user.public_key()
    );
    let settings = |server: &NatsServer| ConnectSettings::new(&server.url()).unwrap();
    let by_token = NatsServer::builder().config("authorization { token: tok3n }");
    let by_token = by_token.start().await.unwrap();
    let by_nkey = NatsServer::builder()
        .config(&by_nkey)
        .start()
        .await
        .unwrap();
    let by_jwt = NatsServer::builder().config(&account.server_config(&[]).unwrap());
    let by_jwt = by_jwt.start().await.unwrap();
    for (good, wrong) in [
        (
            settings(&by_token).token("tok3n"),
            settings(&by_token).token("sw0rdfish"),
        ),
        (
            settings(&by_nkey).nkey_seed(&user.seed().unwrap()),
            settings(&by_nkey).nkey_seed(&other.seed().unwrap()),
        ),
        (
            settings(&by_jwt).credentials_file(creds("app.creds", &jwt_user.credentials)),
            settings(&by_jwt).credentials_file(creds("other.creds", &stranger.credentials)),
        ),
    ] {
        texts.push(format!("{good:?} {wrong:?}"));
        let sink = sink_with(good).await;
        // Without a stream: an error with every field.
        let error = emit(&sink, "events.a", "x".into())
            .await
            .result
            .unwrap_err();
        texts.push(format!("{error} {error:?} {sink:?} {}", sink.status()));
        texts.push(NatsPublisher::connect(wrong).await.unwrap_err().to_string());
    }
    let mut secrets = vec![
        "hunter2".to_owned(),
        "sw0rdfish".to_owned(),
        "tok3n".to_owned(),
    ];
    secrets.extend([user.seed().unwrap(), other.seed().unwrap()]);
    for of in [&jwt_user, &stranger] {
        // The token, and the seed: the long lines of the file.
        let lines = of.credentials.lines().filter(|line| line.len() > 40);
        secrets.extend(lines.map(str::to_owned));
    }
    assert_eq!(secrets.len(), 9, "{secrets:?}");

    let rendered = metrics.render();
    assert!(rendered.contains("jetsink_emits_total"));
    texts.push(rendered);
    texts.push(String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned());
    assert!(
        texts.iter().any(|text| text.contains("circuit opened")),
        "the log was read"
    );
    for text in texts {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{secret} in {text}");
        }
    }
}
