//! The programs in `examples/` against a real broker: what they print, and what is stored.
//!
//! `cargo test` builds them; with `--test examples`, `cargo build -p jetsink --examples` goes first.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::process::{Output, Stdio};
use std::time::Duration;

use common::*;
use nats_fixture::{NatsServer, StoredMessage, stored};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

/// For one step of a program, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program of `examples/`, of the build that this test is of.
fn example(name: &str, url: &str) -> Command {
    let test = std::env::current_exe().unwrap(); // target/<profile>/deps/examples-<hash>
    let path = test.ancestors().nth(2).unwrap().join("examples").join(name);
    let build = "run `cargo build -p jetsink --examples` first, in the tests' profile";
    assert!(path.is_file(), "{} is missing: {build}", path.display());
    let source = format!("{}/examples/{name}.rs", env!("CARGO_MANIFEST_DIR"));
    let written = |path: &str| std::fs::metadata(path).unwrap().modified().unwrap();
    let built = written(path.to_str().unwrap());
    assert!(written(&source) <= built, "{name} is outdated: {build}");
    let mut command = Command::new(path);
    command.env("NATS_URL", url).env_remove("NATS_CONTEXT");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn output(command: &mut Command) -> Output {
    let ended = timeout(PATIENCE, command.output()).await;
    ended.expect("the example did not end").unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// An example that goes on until it is told to end.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let lines = BufReader::new(stdout).lines();
        Self { child, lines }
    }

    /// The next line that holds `part`.
    async fn line_with(&mut self, part: &str) -> String {
        let mut printed = Vec::new();
        let found = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if line.contains(part) {
                    return Some(line);
                }
                printed.push(line);
            }
            None
        };
        let found = timeout(PATIENCE, found).await.ok().flatten();
        found.unwrap_or_else(|| panic!("no line with {part:?}, but {printed:#?}"))
    }

    fn signal(&self, signal: &str) {
        let process = self.child.id().unwrap().to_string();
        let kill = std::process::Command::new("kill")
            .args([signal, &process])
            .status();
        assert!(kill.unwrap().success());
    }

    async fn end(mut self) {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        let status = ended.expect("the example did not end").unwrap();
        assert!(status.success(), "{status}");
    }
}

async fn stored_by(server: &NatsServer) -> Vec<StoredMessage> {
    let jetstream = server.jetstream().await.unwrap();
    stored(&jetstream, "EVENTS").await.unwrap()
}

fn subjects(stored: &[StoredMessage]) -> Vec<&str> {
    stored.iter().map(|message| &*message.subject).collect()
}

fn ids(stored: &[StoredMessage]) -> Vec<String> {
    let id = |message: &StoredMessage| {
        let event: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        event["id"].as_str().unwrap().to_owned()
    };
    stored.iter().map(id).collect()
}

#[tokio::test]
async fn commands_say_in_one_line_what_is_missing_broker_or_stream() {
    let mut server = NatsServer::start().await.unwrap();
    for name in ["binary", "tenants"] {
        let without_stream = output(&mut example(name, &server.url())).await;
        assert_eq!(without_stream.status.code(), Some(1), "{without_stream:?}");
        let told = text(&without_stream.stderr);
        assert!(told.contains("no stream captures the subject"), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    let url = server.url();
    server.kill().unwrap();
    for name in ["binary", "tenants"] {
        let without_broker = output(&mut example(name, &url)).await;
        assert_eq!(without_broker.status.code(), Some(1), "{without_broker:?}");
        let told = text(&without_broker.stderr);
        let expected = format!("nats connect to {url} failed: ");
        assert!(told.starts_with(&expected), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(without_broker.stdout.is_empty(), "{without_broker:?}");
    }
}

#[tokio::test]
async fn binary_stores_the_data_alone_under_the_attributes_headers() {
    let server = server_with_stream().await;
    let output = output(&mut example("binary", &server.url())).await;
    assert!(output.status.success(), "{output:?}");
    let expected = "ce-specversion: 1.0\nce-id: 42\nce-source: /caf%C3%A9\nce-type: order.placed\n\
        ce-datacontenttype: application/json\n\n{\"total\":12}\nstored: EVENTS has it at 1\n";
    assert_eq!(text(&output.stdout), expected);
    let there = stored_by(&server).await;
    assert_eq!(subjects(&there), ["events.binary"]);
    assert_eq!(there[0].payload, r#"{"total":12}"#);
    let source = there[0].headers.get("ce-source").unwrap();
    assert_eq!(source.as_str(), "/caf%C3%A9");
}

#[tokio::test]
async fn tenants_refuses_two_ids_and_stores_every_other_event_at_its_own_subject() {
    let server = server_with_stream().await;
    let output = output(&mut example("tenants", &server.url())).await;
    assert!(output.status.success(), "{output:?}");
    let expected = [
        "events.acme: stored at 1",
        "events.globex: stored at 2",
        "refused: the event gives no valid subject: tenant id has '.' at byte 4: ",
        "refused: the event gives no valid subject: tenant id has '>' at byte 0: ",
        "events.single: stored at 3",
        "events.acme%2Eeu: stored at 4",
        "the broker's circuit: Connected",
    ];
    let lines: Vec<&str> = text(&output.stdout).lines().collect();
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}, not {expected}");
    }
    let there = stored_by(&server).await;
    let expected = [
        "events.acme",
        "events.globex",
        "events.single",
        "events.acme%2Eeu",
    ];
    assert_eq!(subjects(&there), expected);
}

#[tokio::test]
async fn spool_takes_events_with_the_broker_away_and_stores_them_in_order_when_it_is_back() {
    let mut server = server_with_stream().await;
    server.kill().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let spool = || {
        let mut command = example("spool", &server.url());
        command.arg(folder.path());
        Running::start(&mut command)
    };

    // The first run ends without a broker ever.
    let mut interrupted = spool();
    for number in 1..=3 {
        let line = interrupted.line_with("event").await;
        assert_eq!(line, format!("event {number}: on the disk"));
    }
    let told = interrupted.line_with("waiting: ").await;
    assert!(told.contains("no connection to the broker"), "{told}");
    interrupted.signal("-INT");
    let receipt = interrupted.line_with("delivered").await;
    assert_eq!(receipt, "delivered 0, waiting 3, unknown 0, dead letters 0");
    interrupted.end().await;

    // The broker comes back during the second.
    let mut emptied = spool();
    emptied.line_with("event 3: on the disk").await;
    emptied.line_with("spool: 6 events").await;
    server.start_again().await.unwrap();
    let receipt = emptied.line_with("delivered").await;
    assert_eq!(receipt, "delivered 6, waiting 0, unknown 0, dead letters 0");
    emptied.end().await;
    assert_eq!(
        ids(&stored_by(&server).await),
        ["1", "2", "3", "1", "2", "3"]
    );
}

#[tokio::test]
async fn spool_names_the_missing_stream_and_stores_the_events_once_it_is_made() {
    let server = NatsServer::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut command = example("spool", &server.url());
    let mut waiting = Running::start(command.arg(folder.path()));
    waiting.line_with("no stream captures the subject").await;
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    let receipt = waiting.line_with("delivered").await;
    assert_eq!(receipt, "delivered 3, waiting 0, unknown 0, dead letters 0");
    waiting.end().await;
    assert_eq!(ids(&stored_by(&server).await), ["1", "2", "3"]);
}

/// Status code and text of an answer, head and body.
async fn http(address: &str, request: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{request} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
    read.expect("no answer").unwrap();
    let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (code, answer)
}

#[tokio::test]
async fn axum_answers_when_the_event_is_stored_and_tells_a_missing_stream_and_an_outage() {
    let mut server = NatsServer::start().await.unwrap();
    let mut command = example("axum", &server.url());
    let mut service = Running::start(command.arg("127.0.0.1:0"));
    let listening = service.line_with("listening on ").await;
    let address = listening.trim_start_matches("listening on ");
    let post = async |id: &str| {
        let event = format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/shop","type":"order.placed"}}"#
        );
        http(address, "POST /events", &event).await
    };
    // It listens before it is connected.
    let ready_within_patience = async |expected: u16| {
        let becomes = async {
            while http(address, "GET /ready", "").await.0 != expected {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let became = timeout(PATIENCE, becomes).await;
        became.unwrap_or_else(|_| panic!("/ready never answered {expected}"));
    };

    ready_within_patience(200).await;
    let (code, answer) = post("1").await;
    assert_eq!(code, 503, "{answer}");
    assert!(
        answer.contains("no stream captures the subject"),
        "{answer}"
    );
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    let first_stored = async {
        loop {
            // The subject's own circuit may be open a moment longer.
            let (code, answer) = post("1").await;
            if code != 503 {
                return (code, answer);
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let (code, answer) = timeout(PATIENCE, first_stored).await.expect("never stored");
    assert_eq!(code, 201, "{answer}");
    assert!(answer.ends_with("\r\n\r\nEVENTS 1"), "{answer}");
    let (code, answer) = post("1").await;
    assert_eq!(code, 200, "stored before: {answer}");
    let (code, answer) = http(address, "POST /events", "{}").await;
    assert_eq!(code, 400, "{answer}");
    assert!(answer.contains("not a CloudEvent"), "{answer}");

    server.kill().unwrap();
    ready_within_patience(503).await;
    service.line_with("no connection to the broker").await;
    let (code, answer) = post("2").await;
    assert_eq!(code, 503, "{answer}");
    assert!(answer.contains("not sent: "), "{answer}");
    server.start_again().await.unwrap();
    ready_within_patience(200).await;
    let (code, answer) = post("2").await;
    assert_eq!(code, 201, "{answer}");

    service.signal("-TERM");
    let receipt = service.line_with("delivered").await;
    assert_eq!(receipt, "delivered 3, unknown 0");
    service.end().await;
    assert_eq!(ids(&stored_by(&server).await), ["1", "2"]);
}

#[tokio::test]
async fn service_serves_its_counters_and_stores_what_it_counts() {
    let server = server_with_stream().await;
    let mut command = example("service", &server.url());
    command.args([&*server.url(), "events.demo", "50", "127.0.0.1:0"]);
    let mut service = Running::start(&mut command);
    let serving = service.line_with("metrics at http://").await;
    let address = serving.trim_start_matches("metrics at http://");
    let counted = async {
        loop {
            let (code, answer) = http(address, "GET /metrics", "").await;
            assert_eq!(code, 200, "{answer}");
            let stored = answer
                .lines()
                .find_map(|line| line.strip_prefix(r#"jetsink_emits_total{outcome="stored"} "#));
            if let Some(stored) = stored.and_then(|number| number.parse::<usize>().ok())
                && stored >= 5
            {
                return stored;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let counted = timeout(PATIENCE, counted).await.expect("nothing counted");
    service.signal("-INT");
    let receipt = service.line_with("Receipt").await;
    service.end().await;
    let there = stored_by(&server).await;
    assert!(there.len() >= counted, "{} of {counted}", there.len());
    assert!(
        receipt.contains(&format!("delivered: {},", there.len())),
        "{receipt}"
    );
}
