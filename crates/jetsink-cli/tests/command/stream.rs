//! `jetsink stream`.

use std::process::Output;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, StorageType};
use futures_util::StreamExt as _;
use nats_local::NatsServer;

use crate::support::*;

const DAY: Duration = Duration::from_secs(86_400);

fn stream(server: &NatsServer, arguments: &[&str]) -> Output {
    let url = server.url();
    command("stream", arguments)
        .args(["-s", &url])
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn config(server: &NatsServer, name: &str) -> Option<Config> {
    let jetstream = server.jetstream().await.unwrap();
    let stream = jetstream.get_stream(name).await.ok()?;
    Some(stream.cached_info().config.clone())
}

async fn make(server: &NatsServer, config: Config) {
    let jetstream = server.jetstream().await.unwrap();
    jetstream.create_stream(config).await.unwrap();
}

const EVENTS: [&str; 4] = ["--name", "EVENTS", "--subject", "events.>"];

fn wanting<'a>(verb: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&[verb], &EVENTS[..], more].concat()
}

#[tokio::test]
async fn a_stream_is_planned_made_once_and_checked() {
    let server = NatsServer::start().await.unwrap();
    let output = stream(&server, &wanting("check", &[]));
    assert_code(&output, 1);
    let output = stream(&server, &wanting("plan", &[]));
    assert_code(&output, 0);
    let text = stdout(&output);
    assert!(
        text.starts_with("stream EVENTS does not exist; it is created with\n"),
        "{text}"
    );
    assert!(text.contains("  + max_age: 90d\n"), "{text}");
    assert!(
        config(&server, "EVENTS").await.is_none(),
        "a plan makes nothing"
    );

    let output = stream(&server, &wanting("apply", &[]));
    assert_code(&output, 0);
    assert_eq!(stdout(&output), "stream EVENTS was created\n");
    let made = config(&server, "EVENTS").await.unwrap();
    assert_eq!(made.max_age, 90 * DAY);
    assert_eq!(made.duplicate_window, Duration::from_secs(120));
    for verb in ["apply", "check", "plan"] {
        let output = stream(&server, &wanting(verb, &[]));
        assert_code(&output, 0);
        assert_eq!(stdout(&output), "stream EVENTS meets the specification\n");
    }
    assert_eq!(config(&server, "EVENTS").await.unwrap(), made);
}

#[tokio::test]
async fn longer_retention_is_reduced_only_by_force_and_other_settings_are_kept() {
    let server = NatsServer::start().await.unwrap();
    let there = Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned(), "more.>".to_owned()],
        max_age: 365 * DAY,
        duplicate_window: Duration::from_secs(1),
        description: Some("ours".to_owned()),
        max_message_size: 1_000,
        allow_direct: true,
        ..Config::default()
    };
    make(&server, there).await;
    let output = stream(&server, &wanting("apply", &[]));
    assert_code(&output, 0);
    let text = stdout(&output);
    assert!(text.contains("  ~ duplicate_window: 1s → 2m\n"), "{text}");
    assert!(
        text.contains("  = max_age: 365d stays; 90d only by force\n"),
        "{text}"
    );
    let made = config(&server, "EVENTS").await.unwrap();
    assert_eq!((made.max_age, made.subjects.len()), (365 * DAY, 2));
    assert_eq!(made.duplicate_window, Duration::from_secs(120));
    assert_eq!(made.description.as_deref(), Some("ours"));
    assert_eq!((made.max_message_size, made.allow_direct), (1_000, true));
    assert_code(&stream(&server, &wanting("check", &[])), 0);

    let output = stream(&server, &wanting("apply", &["--force"]));
    assert_code(&output, 0);
    let made = config(&server, "EVENTS").await.unwrap();
    assert_eq!((made.max_age, made.subjects.len()), (90 * DAY, 1));
    assert_eq!(made.description.as_deref(), Some("ours"));
}

#[tokio::test]
async fn unsupported_setting_is_an_error_and_changes_nothing() {
    let server = NatsServer::start().await.unwrap();
    let there = Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        max_age: DAY,
        storage: StorageType::Memory,
        ..Config::default()
    };
    make(&server, there).await;
    let output = stream(&server, &wanting("apply", &[]));
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(
        text.contains("storage is memory: storage can't be changed"),
        "{text}"
    );
    assert_eq!(config(&server, "EVENTS").await.unwrap().max_age, DAY);

    let output = stream(&server, &["apply", "--preset", "cellos", "--replicas", "3"]);
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("stream CELLOS_EVENTS: "), "{text}");
    assert!(text.contains("non-clustered"), "{text}");
}

#[tokio::test]
async fn file_creates_several_streams_and_an_error_names_its_line() {
    let server = NatsServer::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("streams.toml");
    let path = as_text(&path);
    let good = "[[stream]]\nname = \"A\"\nsubjects = [\"a.>\"]\nretention-floor = \"30d\"\n\
                [[stream]]\nname = \"B\"\nsubjects = [\"b.>\"]\nmax-bytes = \"1GiB\"\n";
    std::fs::write(path, good).unwrap();
    let output = stream(&server, &["apply", "--json", "--file", path]);
    assert_code(&output, 0);
    let lines: Vec<serde_json::Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["stream"], "B");
    assert_eq!(lines[1]["changed"], true);
    assert_eq!(config(&server, "A").await.unwrap().max_age, 30 * DAY);
    assert_eq!(config(&server, "B").await.unwrap().max_bytes, 1 << 30);
    assert_code(&stream(&server, &["check", "--file", path]), 0);

    for (wrong, told) in [
        (
            "[[stream]]\nname = \"A\"\nsubjects = [\"a\"]\nreplica = 3\n",
            ":4: unknown field `replica`",
        ),
        ("[[stream]]\nname = \"A\"\n", ":1: missing field `subjects`"),
        (
            "[[stream]]\nname = \"A\"\nsubjects = [\"a\"]\nretention-floor = \"soon\"\n",
            ":4: \"soon\" is no time",
        ),
        ("[[stream]\n", ":1: "),
        ("", ": there is no [[stream]] in it"),
        (
            "[[stream]]\nname = \"A\"\nsubjects = [\"a b\"]\n",
            "\"a b\"",
        ),
    ] {
        std::fs::write(path, wrong).unwrap();
        let output = stream(&server, &["plan", "--file", path]);
        assert_code(&output, 2);
        let text = stderr(&output);
        assert!(text.contains(told), "{wrong}: {text}");
        assert!(text.contains(path) && text.lines().count() == 1, "{text}");
    }
}

#[tokio::test]
async fn wrong_usage_is_2_and_no_broker_is_3() {
    for arguments in [
        &["plan"][..],
        &["plan", "--name", "A"],
        &["plan", "--subject", "a"],
        &[
            "plan",
            "--preset",
            "cellos",
            "--name",
            "A",
            "--subject",
            "a",
        ],
        &["plan", "--preset", "cellos", "--replicas", "9"],
        &["plan", "--file", "/no/such/file"],
        &["plan", "--file", "x", "--replicas", "3"],
    ] {
        let output = command("stream", arguments).output().unwrap();
        assert_code(&output, 2);
    }
    let mut server = NatsServer::start().await.unwrap();
    server.kill().unwrap();
    assert_code(&stream(&server, &wanting("check", &[])), 3);
}

#[tokio::test]
async fn json_has_the_state_behind_the_command() {
    let server = NatsServer::start().await.unwrap();
    for (verb, exists, changed) in [
        ("plan", false, false),
        ("apply", true, true),
        ("apply", true, false),
    ] {
        let output = stream(&server, &wanting(verb, &["--json"]));
        assert_code(&output, 0);
        let object = json(&output);
        assert_eq!(object["exists"], exists, "{verb}: {object}");
        assert_eq!(object["satisfied"], exists, "{verb}: {object}");
        assert_eq!(object["changed"], changed, "{verb}: {object}");
    }
}

#[tokio::test]
async fn missing_permission_names_the_request() {
    for (allowed, verb, denied) in [
        ("events.>", "plan", "$JS.API.STREAM.INFO.EVENTS"),
        ("events.>", "check", "$JS.API.STREAM.INFO.EVENTS"),
        ("events.>", "apply", "$JS.API.STREAM.INFO.EVENTS"),
        (
            "$JS.API.STREAM.INFO.*",
            "apply",
            "$JS.API.STREAM.CREATE.EVENTS",
        ),
    ] {
        let server = NatsServer::builder()
            .config(&format!(
                "authorization {{ users = [ {{ user: a, password: a, \
                 permissions: {{ publish: [\"{allowed}\"], subscribe: [\"_INBOX.>\"] }} }} ] }}"
            ))
            .start()
            .await
            .unwrap();
        let login = ["--user", "a", "--password", "a"];
        let output = stream(&server, &wanting(verb, &login));
        assert_code(&output, 1);
        let text = stderr(&output);
        assert!(text.contains(&format!("publish to {denied},")), "{text}");
    }
}

#[tokio::test]
async fn refused_stream_names_those_that_have_its_subjects() {
    let server = NatsServer::start().await.unwrap();
    for (name, subject) in [("ORDERS", "orders.>"), ("BILLS", "bills.paid")] {
        server.create_stream(name, &[subject]).await.unwrap();
    }
    let apply = [
        "apply",
        "--name=ALL",
        "--subject=bills.*",
        "--subject=orders.new",
    ];
    let output = stream(&server, &apply);
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(
        text.contains("; some of these subjects belong to BILLS, ORDERS:"),
        "{text}"
    );
}

/// Answers requests about a stream in this order, and no further ones.
async fn answering(answers: &'static [&'static str]) -> NatsServer {
    let server = NatsServer::builder()
        .without_jetstream()
        .start()
        .await
        .unwrap();
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut requests = client.subscribe("$JS.API.STREAM.*.EVENTS").await.unwrap();
    client.flush().await.unwrap();
    tokio::spawn(async move {
        let mut answers = answers.iter();
        while let Some(request) = requests.next().await {
            if let (Some(answer), Some(reply)) = (answers.next(), request.reply) {
                client.publish(reply, (*answer).into()).await.unwrap();
            }
        }
    });
    server
}

// A reviewer's finding: the object was missing although the stream was changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_says_what_is_known_after_a_request_that_has_failed() {
    const NO_STREAM: &str =
        r#"{"error":{"code":404,"err_code":10059,"description":"stream not found"}}"#;
    const AWAY: &str =
        r#"{"error":{"code":503,"err_code":10008,"description":"JetStream is not available"}}"#;
    let yes = serde_json::Value::Bool(true);
    let unknown = serde_json::Value::Null;
    for (answers, exists, changed) in [
        // The one after the change, and the change itself, which is not answered.
        (&[NO_STREAM, r#"{"config":{}}"#, AWAY][..], &yes, &yes),
        (&[NO_STREAM], &unknown, &unknown),
    ] {
        let server = answering(answers).await;
        let output = stream(&server, &wanting("apply", &["--json"]));
        assert_ne!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(
            stderr(&output).starts_with("jetsink: "),
            "{}",
            stderr(&output)
        );
        let object = json(&output);
        assert_eq!((&object["exists"], &object["changed"]), (exists, changed));
        assert!(object["satisfied"].is_null(), "{object}");
    }
}
