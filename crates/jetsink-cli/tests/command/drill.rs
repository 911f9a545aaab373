//! `jetsink drill`: a short outage of a broker of its own, and of one of somebody else's.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::*;

fn drill(arguments: &[&str]) -> Command {
    let mut command = command("drill", arguments);
    // As the other tests have it, and not in the cache of whoever runs them.
    command.env(
        "NATS_SERVER_BIN",
        nats_fixture::nats_server_binary().unwrap(),
    );
    command
}

/// One line of a lane's verdict.
fn seen<'a>(record: &'a Value, lane: &str, name: &str) -> &'a Value {
    let named = |list: &'a Value, name: &str| {
        let list = list.as_array().unwrap().iter();
        list.clone()
            .find(|one| one["name"] == name)
            .unwrap_or_else(|| panic!("no {name}"))
    };
    named(&named(&record["lanes"], lane)["checks"], name)
}

#[test]
fn a_short_outage_is_told_in_words_in_json_and_as_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.html");
    let picture = folder.path().join("picture.svg");
    let output = drill(&[
        "--faults=kill,delete",
        "--outage=1s",
        "--pause=1s",
        "--compare=raw",
        "--json",
        "--report",
        as_text(&report),
        "--picture",
        as_text(&picture),
    ])
    .output()
    .unwrap();
    assert_code(&output, 0);
    let told = stderr(&output);
    assert!(
        told.contains(": killed") && told.contains("whole again"),
        "{told}"
    );
    let record = json(&output);
    assert_eq!(record["kept"], true);
    assert_eq!(record["faults"].as_array().unwrap().len(), 2);
    for lane in ["jetsink", "jetsink with a spool"] {
        for name in ["lost", "duplicated", "out of order", "altered"] {
            assert_eq!(seen(&record, lane, name)["kept"], true, "{lane}: {name}");
        }
        let emitted = seen(&record, lane, "emitted")["seen"].as_str().unwrap();
        assert!(
            emitted.replace(',', "").parse::<u64>().unwrap() > 100,
            "{emitted}"
        );
    }
    // What was told Ok in the stream that was deleted was read before.
    let spooled = seen(&record, "jetsink with a spool", "told Err");
    assert_eq!(spooled["seen"], "0");
    assert_eq!(
        seen(&record, "plain async-nats", "lost")["bound"],
        Value::Null
    );
    let samples = record["lanes"][1]["samples"].as_array().unwrap();
    assert!(
        samples
            .iter()
            .any(|sample| sample["circuit"] == "reconnecting")
    );
    assert!(
        samples
            .iter()
            .any(|sample| sample["spooled"].as_u64() > Some(0))
    );
    let html = std::fs::read_to_string(report).unwrap();
    assert!(html.contains("<svg") && html.contains("plain async-nats"));
    assert!(
        std::fs::read_to_string(picture)
            .unwrap()
            .starts_with("<svg")
    );
}

#[test]
fn a_bound_that_is_not_kept_ends_it_with_1_and_is_named() {
    let output = drill(&[
        "--faults=freeze",
        "--outage=500ms",
        "--pause=500ms",
        "--spool=without",
        "--longest-emit=100ms",
    ])
    .output()
    .unwrap();
    assert_code(&output, 1);
    let text = String::from_utf8_lossy(&output.stdout);
    let broken = text
        .lines()
        .find(|line| line.ends_with("BROKEN"))
        .unwrap_or_default();
    assert!(
        broken.contains("longest emit") && broken.contains("at most 100 ms"),
        "{text}"
    );
    assert!(text.ends_with("1 promise was BROKEN\n"), "{text}");
}

#[tokio::test]
async fn a_broker_of_somebody_else_gets_the_load_and_nothing_more() {
    let mut server = server().await;
    let url = server.url();
    let theirs = [
        "--server",
        &url,
        "--subject",
        "events.drill",
        "--duration",
        "4s",
        "--json",
    ];
    let child = drill(&theirs)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    server.kill().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.start_again().await.unwrap();
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap());
    let output = output.await.unwrap();
    assert_code(&output, 0);
    let record = json(&output);
    let faults = record["faults"].as_array().unwrap();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0]["name"], "not delivering");
    let stored = |lane| {
        seen(&record, lane, "stored")["seen"]
            .as_str()
            .unwrap()
            .replace(',', "")
    };
    let stored: usize = ["jetsink", "jetsink with a spool"]
        .map(|lane| stored(lane).parse::<usize>().unwrap())
        .iter()
        .sum();
    assert_eq!(stored, there(&server).await.len());
}

#[test]
fn an_interrupt_brings_the_broker_back_and_gives_the_verdict() {
    let child = drill(&["--faults=kill", "--outage=60s", "--pause=500ms"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(3));
    kill(
        Pid::from_raw(i32::try_from(child.id()).unwrap()),
        Signal::SIGINT,
    )
    .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_code(&output, 130);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.ends_with("every promise was kept\n"), "{text}");
}

#[tokio::test]
async fn what_can_not_be_is_told_with_what_to_do() {
    let server = server().await;
    let url = server.url();
    let cases: [(&[&str], i32, &str); 6] = [
        (&["--faults=quorum"], 2, "needs --cluster"),
        (&["--faults=flood"], 2, "possible values"),
        (&["--subject=events.a"], 2, "--server"),
        (&["--server", &url], 2, "--subject SUBJECT is needed"),
        (
            &["--server", &url, "--subject=nowhere.a"],
            2,
            "jetsink stream apply",
        ),
        (
            &["--report=/no/such/folder/x.html"],
            2,
            "/no/such/folder/x.html",
        ),
    ];
    for (arguments, code, text) in cases {
        let output = drill(arguments).output().unwrap();
        assert_code(&output, code);
        assert!(
            stderr(&output).contains(text),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
    let mut command = drill(&["--pause=0"]);
    let output = command
        .env("NATS_SERVER_BIN", "/no/such/file")
        .output()
        .unwrap();
    assert_code(&output, 3);
    assert!(
        stderr(&output).contains("NATS_SERVER_BIN"),
        "{}",
        stderr(&output)
    );
}
