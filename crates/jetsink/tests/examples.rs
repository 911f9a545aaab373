//! Runs the examples by their own instructions against a real broker, and checks their output and the stream.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

use std::process::{Output, Stdio};
use std::time::Duration;

use nats_local::{NatsServer, ReservedPort, StoredMessage, example, stored};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// The time limit of one example, far longer than it takes.
const MAX_TIME: Duration = Duration::from_secs(25);

fn program(name: &str, broker: &NatsServer) -> Command {
    let path = example(env!("CARGO_MANIFEST_DIR"), name).unwrap();
    let mut command = Command::new(path);
    command
        .env_clear() // no login of the developer's
        .env("NATS_URL", broker.url())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn ended(command: &mut Command) -> (bool, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = timeout(MAX_TIME, command.output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.success(), text(stdout), text(stderr))
}

async fn events(broker: &NatsServer) -> Vec<StoredMessage> {
    let jetstream = broker.jetstream().await.unwrap();
    stored(&jetstream, "EXAMPLES").await.unwrap()
}

/// Returns the output that an example's docs show between "prints" and the end of the block.
fn shown(name: &str) -> String {
    let path = format!("{}/examples/{name}.rs", env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(path).unwrap();
    let (_, after) = source.split_once("//! prints").unwrap();
    let (_, block) = after.split_once("//! ```text\n").unwrap();
    let (block, _) = block.split_once("//! ```").unwrap();
    block
        .lines()
        .map(|line| line.trim_start_matches("//!").trim_start().to_owned() + "\n")
        .collect()
}

#[tokio::test]
async fn spool_keeps_events_without_a_broker_and_the_next_run_delivers_them_first() {
    let mut broker = NatsServer::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run = || {
        let mut command = program("spool", &broker);
        command.arg(folder.path());
        command
    };
    let mut before = run();
    let mut without = run();
    let mut again = run();

    let (ok, printed, problem) = ended(&mut before).await;
    assert!(ok, "{problem}");
    assert_eq!(printed, shown("spool"));

    broker.kill().unwrap();
    let (ok, printed, _) = ended(&mut without).await;
    assert!(ok);
    assert_eq!(printed.matches("spooled, the disk has it").count(), 3);
    assert!(
        printed.ends_with("delivered 0, waiting 3, unknown 0, dead letters 0\n"),
        "{printed}"
    );

    broker.restart().await.unwrap();
    let (ok, printed, _) = ended(&mut again).await;
    assert!(ok);
    assert!(
        printed.ends_with("delivered 6, waiting 0, unknown 0, dead letters 0\n"),
        "{printed}"
    );
    let numbers: Vec<_> = events(&broker)
        .await
        .iter()
        .map(|event| {
            let event: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
            event["id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(numbers, ["1", "2", "3", "1", "2", "3", "1", "2", "3"]);
}

#[tokio::test]
async fn binary_stores_attributes_as_headers_and_the_data_alone() {
    let broker = NatsServer::start().await.unwrap();
    let (ok, printed, problem) = ended(&mut program("binary", &broker)).await;
    assert!(ok, "{problem}");
    assert_eq!(printed, shown("binary"));
    let events = events(&broker).await;
    assert_eq!(events.len(), 1);
    assert_eq!(&events[0].payload[..], br#"{"total":12}"#);
    let subject = events[0].headers.get("ce-subject").unwrap();
    assert_eq!(subject.as_str(), "caf%C3%A9");
}

#[tokio::test]
async fn tenants_refuses_only_invalid_ids() {
    let broker = NatsServer::start().await.unwrap();
    let (ok, printed, problem) = ended(&mut program("tenants", &broker)).await;
    assert!(ok, "{problem}");
    for (printed, shown) in printed.lines().zip(shown("tenants").lines()) {
        let shown = shown.trim_end_matches('…');
        assert!(printed.starts_with(shown), "{printed} where {shown}");
    }
    assert_eq!(printed.lines().count(), shown("tenants").lines().count());
    let events = events(&broker).await;
    let subjects: Vec<_> = events.iter().map(|event| event.subject.as_str()).collect();
    let expected = ["acme", "globex", "single", "acme%2Eeu"];
    assert_eq!(subjects, expected.map(|t| format!("examples.tenants.{t}")));
}

#[tokio::test]
async fn commands_fail_in_one_line_without_a_broker() {
    let mut broker = NatsServer::start().await.unwrap();
    broker.kill().unwrap();
    for name in ["binary", "tenants"] {
        let (ok, printed, problem) = ended(&mut program(name, &broker)).await;
        assert!(!ok);
        assert_eq!(printed, "");
        assert_eq!(problem.lines().count(), 1, "{problem}");
        let start = format!("nats connect to {} failed: ", broker.url());
        assert!(problem.starts_with(&start), "{problem}");
    }
}

#[tokio::test]
async fn http_answers_by_the_outcome_and_shuts_down_gracefully() {
    const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed"}"#;
    let mut broker = NatsServer::start().await.unwrap();
    let mut service = program("http", &broker).arg("127.0.0.1:0").spawn().unwrap();
    let mut lines = BufReader::new(service.stdout.take().unwrap()).lines();
    let first = lines.next_line().await.unwrap().unwrap();
    let address = first.strip_prefix("listening on ").unwrap();
    becomes_ready(address).await;

    // The stream does not exist yet.
    let (code, text) = request(address, "POST /events", EVENT).await;
    assert_eq!(code, 503, "{text}");
    assert!(text.contains("no stream captures the subject"), "{text}");
    let (code, _) = request(address, "GET /ready", "").await;
    assert_eq!(code, 200, "a subject that fails is not the broker");
    broker
        .create_stream("EXAMPLES", &["examples.>"])
        .await
        .unwrap();

    let stored_once = timeout(MAX_TIME, async {
        loop {
            let (code, text) = request(address, "POST /events", EVENT).await;
            if code == 201 {
                break text;
            }
            assert!(text.contains("retry-after: 1"), "{text}"); // the subject's circuit
            sleep(Duration::from_millis(100)).await;
        }
    });
    let text = stored_once.await.unwrap();
    assert!(text.ends_with("EXAMPLES 1"), "{text}");
    // The caller who posts again has it stored once.
    let (code, text) = request(address, "POST /events", EVENT).await;
    assert_eq!(code, 201);
    assert!(text.ends_with("EXAMPLES 1"), "{text}");
    let (code, text) = request(address, "POST /events", "{}").await;
    assert_eq!(code, 400);
    assert!(text.contains("not a CloudEvent"), "{text}");
    let large = EVENT.replace("order.placed", &"x".repeat(1_100_000));
    let (code, text) = request(address, "POST /events", &large).await;
    assert_eq!(code, 422);
    assert!(text.contains("bytes with headers"), "{text}");

    broker.kill().unwrap();
    timeout(MAX_TIME, async {
        while request(address, "GET /ready", "").await.0 == 200 {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    let (code, text) = request(address, "GET /health", "").await;
    assert_eq!(code, 200, "alive without a broker");
    assert!(text.contains("reconnecting"), "{text}");
    let (code, text) = request(address, "POST /events", EVENT).await;
    assert_eq!(code, 503);
    assert!(text.contains("not sent"), "{text}");

    broker.restart().await.unwrap();
    becomes_ready(address).await;
    let (code, _) = request(address, "POST /events", &EVENT.replace("\"1\"", "\"2\"")).await;
    assert_eq!(code, 201);

    terminate(&service);
    let status = timeout(MAX_TIME, service.wait()).await.unwrap().unwrap();
    assert!(status.success());
    let last = lines.next_line().await.unwrap().unwrap();
    assert_eq!(last, "delivered 3, unknown 0", "one of them a duplicate");
    assert_eq!(events(&broker).await.len(), 2);
}

#[tokio::test]
async fn service_emits_at_its_rate_and_shows_its_metrics() {
    let broker = NatsServer::start().await.unwrap();
    broker
        .create_stream("EXAMPLES", &["examples.>"])
        .await
        .unwrap();
    let port = ReservedPort::new().unwrap();
    let metrics = port.address().to_string();
    let mut service = program("service", &broker)
        .args([&broker.url(), "examples.service", "50", &metrics])
        // Shown with the test's output. An unread pipe would fill up with errors on a slow machine, and stop the service.
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let counted = r#"jetsink_emits_total{outcome="stored"}"#;
    timeout(MAX_TIME, async {
        loop {
            if TcpStream::connect(&metrics).await.is_ok() {
                let (code, text) = request(&metrics, "GET /metrics", "").await;
                assert_eq!(code, 200);
                let count = text.lines().find_map(|line| line.strip_prefix(counted));
                if count.is_some_and(|count| count.trim().parse::<u64>().unwrap() >= 5) {
                    break;
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
    let process = Pid::from_raw(i32::try_from(service.id().unwrap()).unwrap());
    kill(process, Signal::SIGINT).unwrap();
    let status = timeout(MAX_TIME, service.wait()).await.unwrap().unwrap();
    assert!(status.success());
    let mut printed = String::new();
    let mut stdout = service.stdout.take().unwrap();
    stdout.read_to_string(&mut printed).await.unwrap();
    let there = events(&broker).await.len();
    let receipt = format!("delivered: {there},");
    assert!(printed.contains(&receipt), "{there} stored; {printed}");
}

fn terminate(process: &Child) {
    let process = Pid::from_raw(i32::try_from(process.id().unwrap()).unwrap());
    kill(process, Signal::SIGTERM).unwrap();
}

async fn becomes_ready(address: &str) {
    timeout(MAX_TIME, async {
        while request(address, "GET /ready", "").await.0 != 200 {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
}

/// One request on a connection of its own: the answer's code, and all of its text.
async fn request(address: &str, what: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{what} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(MAX_TIME, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (code, answer)
}
