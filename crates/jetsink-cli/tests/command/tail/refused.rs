//! Streams, subjects and times that `tail` refuses, each with its reason.

use super::*;

#[tokio::test]
async fn tail_that_can_not_begin_is_an_error_in_one_line() {
    let mut server = server().await;
    let url = server.url();
    let told = |output: &Output, code: i32, what: &str| {
        assert_code(output, code);
        let text = stderr(output);
        assert!(text.contains(what) && text.lines().count() == 1, "{text}");
    };
    let none = command("tail", &["--stream", "NONE", "-s", &url])
        .output()
        .unwrap();
    told(&none, 2, "stream NONE: stream not found");
    told(
        &tail(&server, &["--subject", "a.>.b"]),
        2,
        "--subject \"a.>.b\"",
    );
    let misspelt = ["--no-follow", "--subject", "e.{tenantId}.{Tyep}"];
    told(
        &tail(&server, &[&misspelt[..], &["--tenant", "a"]].concat()),
        2,
        "{Tyep}",
    );
    told(
        &tail(&server, &["--since", "1m", "--until", "2m"]),
        2,
        "before --since",
    );
    assert_code(&tail(&server, &["--all", "--last", "3"]), 2);
    assert_code(&tail(&server, &["--since", "soon"]), 2);
    server.kill().unwrap();
    told(&tail(&server, &[]), 3, "connect");

    let plain = NatsServer::builder()
        .without_jetstream()
        .start()
        .await
        .unwrap();
    told(&tail(&plain, &[]), 2, "JetStream is not available");
}

/// A broker with an administrator, and a user who may only publish to some subjects.
async fn with_permissions(publish: &str) -> (NatsServer, async_nats::jetstream::Context) {
    let server = NatsServer::builder()
        .config(&format!(
            "authorization {{ users = [ {{ user: admin, password: admin }}, {{ user: look, password: look, \
             permissions: {{ publish: [{publish}], subscribe: [\"_INBOX.>\"] }} }} ] }}"
        ))
        .start()
        .await
        .unwrap();
    let admin = async_nats::ConnectOptions::with_user_and_password("admin".into(), "admin".into());
    let client = admin.connect(server.url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let config = async_nats::jetstream::stream::Config {
        name: "EVENTS".into(),
        subjects: vec!["events.>".into()],
        ..Default::default()
    };
    jetstream.create_stream(config).await.unwrap();
    (server, jetstream)
}

const AS_LOOK: [&str; 4] = ["--user", "look", "--password", "look"];

#[tokio::test]
async fn missing_permission_of_the_user_is_named() {
    for (publish, what) in [
        (r#""$JS.API.STREAM.INFO.EVENTS""#, "CONSUMER.CREATE.EVENTS"),
        (r#""events.>""#, "STREAM.INFO.EVENTS"),
    ] {
        let (server, _) = with_permissions(publish).await;
        let output = tail(&server, &AS_LOOK);
        assert_code(&output, 2);
        let text = stderr(&output);
        assert!(
            text.contains("may not read it") && text.contains(what),
            "{text}"
        );
    }
}

/// Regression: its word to go on was refused by an event without a place, and asked for again and again.
#[tokio::test]
async fn user_without_permission_for_flow_control_gets_an_error() {
    let publish = r#""$JS.API.STREAM.INFO.EVENTS", "$JS.API.CONSUMER.CREATE.EVENTS""#;
    let (server, jetstream) = with_permissions(publish).await;
    let large = Bytes::from(vec![b'x'; 100_000]);
    for _ in 0..60 {
        let sent = jetstream.publish("events.a", large.clone());
        sent.await.unwrap().await.unwrap();
    }
    let output = tail(&server, &[&AS_LOOK[..], &["--all", "--no-follow"]].concat());
    assert_code(&output, 2);
    assert!(stderr(&output).contains("$JS.FC.>"), "{}", stderr(&output));
    let publish = format!("{publish}, \"$JS.FC.>\"");
    let (server, jetstream) = with_permissions(&publish).await;
    for _ in 0..60 {
        let sent = jetstream.publish("events.a", large.clone());
        sent.await.unwrap().await.unwrap();
    }
    let output = tail(&server, &[&AS_LOOK[..], &["--all", "--no-follow"]].concat());
    assert_code(&output, 0);
    assert_eq!(stdout(&output).lines().count(), 60);
}
