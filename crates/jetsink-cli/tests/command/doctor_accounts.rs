//! `jetsink doctor` at accounts with imports, mappings and limits of their own, and at unusual streams.

use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{Config, ConsumerLimits, SubjectTransform};
use nats_local::{NatsServer, ReservedPort};

use crate::doctor::doctor;

const LOGIN: [&str; 4] = ["--user", "app", "--password", "p"];

async fn server(config: &str) -> NatsServer {
    NatsServer::builder().config(config).start().await.unwrap()
}

async fn create(server: &NatsServer, user: &str, config: Config) {
    let login = async_nats::ConnectOptions::with_user_and_password(user.into(), "p".into());
    let client = login.connect(server.url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    jetstream.create_stream(config).await.unwrap();
}

fn stream(subject: &str) -> Config {
    Config {
        name: "EVENTS".to_owned(),
        subjects: vec![subject.to_owned()],
        ..Config::default()
    }
}

fn examine(server: &NatsServer, subject: &str) -> crate::doctor::Diagnosis {
    let arguments = [&LOGIN[..], &["--subject", subject]].concat();
    doctor(&server.url(), &arguments)
}

#[tokio::test]
async fn account_with_imports_only_is_no_problem_if_its_events_reach_a_stream() {
    let server = server(
        r#"accounts: {
            STREAMS: { jetstream: enabled, users: [{ user: admin, password: p }],
                       exports: [{ service: "events.>" }] }
            APP: { users: [{ user: app, password: p }],
                   imports: [{ service: { account: STREAMS, subject: "events.>" } }] } }"#,
    )
    .await;
    create(&server, "admin", stream("events.>")).await;
    let reaches = examine(&server, "events.a");
    reaches.has("warning", "account.imports");
    assert_eq!(reaches.code, 0, "{}", reaches.text);
    let misses = examine(&server, "nowhere.a");
    assert_eq!(misses.code, 1, "{}", misses.text);
}

#[tokio::test]
async fn subject_that_the_account_maps_is_no_problem() {
    let server = server(
        r#"accounts: { APP: { jetstream: enabled, users: [{ user: app, password: p }],
                              mappings: { "events.*": "stored.$1" } } }"#,
    )
    .await;
    create(&server, "app", stream("stored.>")).await;
    let diagnosis = examine(&server, "events.{tenantId}");
    diagnosis.has("warning", "subject.elsewhere");
    assert_eq!(diagnosis.code, 0, "{}", diagnosis.text);
}

#[tokio::test]
async fn payload_limit_of_the_account_is_found() {
    let server = server(
        r#"accounts: { APP: { jetstream: enabled, users: [{ user: app, password: p }],
                              limits: { max_payload: 4096 } } }"#,
    )
    .await;
    create(&server, "app", stream("events.>")).await;
    let diagnosis = examine(&server, "events.a");
    diagnosis.has("warning", "account.payload");
    assert!(
        diagnosis.text.contains("accepts 4096 bytes"),
        "{}",
        diagnosis.text
    );
}

#[tokio::test]
async fn unusual_streams_have_findings() {
    let server = NatsServer::start().await.unwrap();
    let jetstream = server.jetstream().await.unwrap();
    let mut config = stream("events.>");
    config.subject_transform = Some(SubjectTransform {
        source: "events.>".to_owned(),
        destination: "stored.>".to_owned(),
    });
    config.consumer_limits = Some(ConsumerLimits {
        max_ack_pending: 1_000,
        inactive_threshold: std::time::Duration::ZERO,
    });
    jetstream.create_stream(config).await.unwrap();
    let counter = Config {
        name: "COUNTER".to_owned(),
        subjects: vec!["counter.>".to_owned()],
        allow_message_counter: true,
        ..Config::default()
    };
    let counter = jetstream.create_stream(counter).await.unwrap();
    let diagnosis = doctor(&server.url(), &["--subject", "events.a"]);
    diagnosis.has("warning", "stream.subject-transform");
    diagnosis.has("warning", "stream.consumer-limits");
    if !counter.cached_info().config.allow_message_counter {
        return println!("this server has no counters");
    }
    let diagnosis = doctor(&server.url(), &["--subject", "counter.a"]);
    diagnosis.has("problem", "stream.counter");
}

#[tokio::test]
async fn stream_behind_a_leaf_node_is_no_problem() {
    let stores = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let port = ReservedPort::new().unwrap();
    let node = |store: &tempfile::TempDir, domain: &str, leafnodes: String| {
        let store = store.path();
        let config = format!(
            "jetstream {{ store_dir: {store:?}, domain: {domain}, max_file_store: 1TB }}\nleafnodes {{ {leafnodes} }}"
        );
        NatsServer::builder()
            .without_jetstream()
            .config(&config)
            .start()
    };
    let listen = format!("listen: \"127.0.0.1:{}\"", port.number());
    let hub = node(&stores[0], "hub", listen).await.unwrap();
    hub.create_stream("EVENTS", &["events.>"]).await.unwrap();
    let remote = format!(
        "remotes: [{{ url: \"nats-leaf://127.0.0.1:{}\" }}]",
        port.number()
    );
    let leaf = node(&stores[1], "leaf", remote).await.unwrap();
    let jetstream = leaf.jetstream().await.unwrap();
    // Until the leaf node is connected.
    let give_up = Instant::now() + Duration::from_secs(30);
    while jetstream
        .publish("events.a", "x".into())
        .await
        .unwrap()
        .await
        .is_err()
    {
        assert!(Instant::now() < give_up);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let diagnosis = doctor(&leaf.url(), &["--subject", "events.a"]);
    diagnosis.has("warning", "subject.elsewhere");
    assert_eq!(diagnosis.code, 0, "{}", diagnosis.text);
}

#[tokio::test]
async fn stream_that_this_user_may_not_read_shows_the_effect_of_the_spools_setting() {
    let server = server(
        r#"authorization: { users: [{ user: admin, password: p },
            { user: app, password: p, permissions: { subscribe: ["_INBOX.>"],
              publish: ["events.>", "$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.>"] } }] }"#,
    )
    .await;
    create(&server, "admin", stream("events.>")).await;
    for choice in ["deliver", "hold"] {
        let arguments = ["--subject", "events.a", "--when-unconfirmed", choice];
        let diagnosis = doctor(&server.url(), &[&LOGIN[..], &arguments].concat());
        diagnosis.has("warning", "look-up.impossible");
        let effect = format!("(when-unconfirmed {choice})");
        assert!(diagnosis.text.contains(&effect), "{}", diagnosis.text);
    }
}
