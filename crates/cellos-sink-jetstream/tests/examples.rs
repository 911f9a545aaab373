//! The program in `examples/` against a real broker: what it prints, and what is stored.
//!
//! `cargo test` builds it; with `--test examples`, `cargo build -p cellos-sink-jetstream --examples` goes
//! first.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nats_fixture::{NatsServer, StoredMessage, stored};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

const STARTED: &str = "dev.cellos.events.cell.lifecycle.v1.started";
const DESTROYED: &str = "dev.cellos.events.cell.lifecycle.v1.destroyed";

/// What the cells do, whatever the broker does.
const CELLS: [&str; 3] = [
    "cell-1 of acme ended: exit status: 0",
    "cell-2 of globex ended: exit status: 3",
    "cell-3 of a.b ended: exit status: 0",
];

/// Runs it to its end; gives what it told of its cells' events: the last line, and stderr's.
async fn supervise(url: &str, spool: Option<&Path>) -> (String, Vec<String>) {
    let test = std::env::current_exe().unwrap(); // target/<profile>/deps/examples-<hash>
    let path = test.ancestors().nth(2).unwrap().join("examples/supervisor");
    let build = "run `cargo build -p cellos-sink-jetstream --examples` first";
    assert!(path.is_file(), "{} is missing: {build}", path.display());
    let mut command = Command::new(path);
    command.env("NATS_URL", url).env_remove("NATS_CONTEXT");
    command.args(spool).stdin(Stdio::null()).kill_on_drop(true);
    let ended = timeout(Duration::from_secs(30), command.output()).await;
    let output = ended.expect("the example did not end").unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = |bytes: Vec<u8>| -> Vec<String> {
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(str::to_owned).collect()
    };
    let mut printed = lines(output.stdout);
    let last = printed.pop().unwrap();
    assert_eq!(printed, CELLS);
    (last, lines(output.stderr))
}

async fn server_with_stream() -> NatsServer {
    let server = NatsServer::start().await.unwrap();
    let created = server.create_stream("CELLOS_EVENTS", &["cellos.events.>"]);
    created.await.unwrap();
    server
}

async fn stored_by(server: &NatsServer) -> Vec<StoredMessage> {
    let jetstream = server.jetstream().await.unwrap();
    stored(&jetstream, "CELLOS_EVENTS").await.unwrap()
}

/// Subject, type and exit code of each.
fn lives(stored: &[StoredMessage]) -> Vec<(String, String, Option<i64>)> {
    let life = |message: &StoredMessage| {
        let event: Value = serde_json::from_slice(&message.payload).unwrap();
        let ty = event["type"].as_str().unwrap().to_owned();
        let code = event["data"]["exitCode"].as_i64();
        (message.subject.clone(), ty, code)
    };
    stored.iter().map(life).collect()
}

fn life(tenant: &str, ty: &str, code: Option<i64>) -> (String, String, Option<i64>) {
    (format!("cellos.events.{tenant}"), ty.to_owned(), code)
}

#[tokio::test]
async fn supervisor_stores_each_cells_life_but_that_of_a_bad_tenant() {
    let server = server_with_stream().await;
    let (last, errors) = supervise(&server.url(), None).await;
    assert_eq!(last, "3 cells ran; events: 4 reported, 2 not");
    assert_eq!(errors.len(), 2, "{errors:#?}");
    for (error, what) in errors.iter().zip(["started", "destroyed"]) {
        let start = format!("cell-3 of a.b: {what} is not reported: ");
        assert!(error.starts_with(&start), "{error}");
        assert!(error.contains("tenant id has '.' at byte 1"), "{error}");
    }
    let expected = [
        life("acme", STARTED, None),
        life("acme", DESTROYED, Some(0)),
        life("globex", STARTED, None),
        life("globex", DESTROYED, Some(3)),
    ];
    assert_eq!(lives(&stored_by(&server).await), expected);
}

#[tokio::test]
async fn supervisor_runs_its_cells_and_says_what_is_missing_broker_or_stream() {
    let mut server = NatsServer::start().await.unwrap();
    let (last, errors) = supervise(&server.url(), None).await;
    assert_eq!(last, "3 cells ran; events: 0 reported, 6 not");
    let first = &errors[0];
    assert!(first.contains("no stream captures the subject"), "{first}");
    let url = server.url();
    server.kill().unwrap();
    let (last, errors) = supervise(&url, None).await;
    assert_eq!(last, "3 cells ran; events: 0 reported, 6 not");
    assert_eq!(errors.len(), 1 + 6, "{errors:#?}");
    let first = &errors[0];
    let expected = format!("nats connect to {url} failed: ");
    assert!(first.contains(&expected), "{first}");
    // By the failed try to connect, or by this one: the circuit opens at the first of them.
    let second = &errors[1];
    let expected = "cell-1 of acme: started is not reported: event sink: not sent: ";
    assert!(second.starts_with(expected), "{second}");
}

#[tokio::test]
async fn supervisor_with_a_spool_reports_all_it_can_without_a_broker_and_a_later_run_delivers_it() {
    let mut server = server_with_stream().await;
    server.kill().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (last, errors) = supervise(&server.url(), Some(folder.path())).await;
    assert_eq!(
        last, "3 cells ran; events: 4 reported, 2 not",
        "{errors:#?}"
    );
    server.start_again().await.unwrap();
    // A run ends with its last cell: it may leave what it had no time for.
    for _ in 0..20 {
        supervise(&server.url(), Some(folder.path())).await;
        if stored_by(&server).await.len() >= 4 {
            break;
        }
    }
    let there = lives(&stored_by(&server).await);
    for tenant in ["acme", "globex"] {
        let subject = format!("cellos.events.{tenant}");
        let its = there.iter().filter(|(of, ..)| *of == subject);
        let types: Vec<&str> = its.map(|(_, ty, _)| &**ty).collect();
        assert!(types.starts_with(&[STARTED, DESTROYED]), "{there:#?}");
    }
}
