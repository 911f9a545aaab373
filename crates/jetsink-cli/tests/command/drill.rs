//! `jetsink drill`: short outages of its own broker and of a given one.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::*;

fn drill(arguments: &[&str]) -> Command {
    let mut command = command("drill", arguments);
    // The binary of the other tests, not one from the user's cache folder.
    command.env("NATS_SERVER_BIN", nats_local::nats_server_binary().unwrap());
    command
}

/// Bounds that only a stall breaks, for tests of other behavior.
const PATIENT: [&str; 2] = ["--longest-emit=60s", "--recover-within=60s"];

fn started(arguments: &[&str]) -> Child {
    let mut command = drill(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Calls `then` once `text` is on standard error; returns the whole output.
fn once_printed(mut child: Child, text: &str, then: impl FnOnce(&Child)) -> Output {
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut told = String::new();
    while !told.contains(text) {
        assert!(errors.read_line(&mut told).unwrap() > 0, "it ended: {told}");
    }
    then(&child);
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut errors, &mut rest).unwrap();
    let mut output = child.wait_with_output().unwrap();
    output.stderr = [told.as_bytes(), &rest].concat();
    output
}

/// One line of a contender's verdict.
fn seen<'a>(record: &'a Value, contender: &str, name: &str) -> &'a Value {
    let named = |list: &'a Value, name: &str| {
        let list = list.as_array().unwrap().iter();
        list.clone()
            .find(|one| one["name"] == name)
            .unwrap_or_else(|| panic!("no {name}"))
    };
    named(&named(&record["contenders"], contender)["checks"], name)
}

#[test]
fn short_outage_is_in_the_text_the_json_and_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.html");
    let picture = folder.path().join("picture.svg");
    let output = drill(&PATIENT)
        .args(["--faults=kill,delete", "--outage=1s", "--pause=1s"])
        .args(["--compare=raw", "--http", "--json"])
        .args(["--report", as_text(&report), "--picture", as_text(&picture)])
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
    for contender in ["jetsink", "jetsink with a spool", "jetsink serve"] {
        for name in ["lost", "duplicated", "out of order", "altered"] {
            assert_eq!(
                seen(&record, contender, name)["kept"],
                true,
                "{contender}: {name}"
            );
        }
        let emitted = seen(&record, contender, "emitted")["seen"]
            .as_str()
            .unwrap();
        assert!(
            emitted.replace(',', "").parse::<u64>().unwrap() > 100,
            "{emitted}"
        );
    }
    // The drill reads a stream before it deletes it.
    for contender in ["jetsink with a spool", "jetsink serve"] {
        let refused = seen(&record, contender, "returned an error");
        assert_eq!(refused["seen"], "0", "{contender}");
    }
    assert_eq!(
        seen(&record, "plain async-nats", "lost")["bound"],
        Value::Null
    );
    let samples = record["contenders"][1]["samples"].as_array().unwrap();
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
fn violated_bound_is_named_with_exit_code_1() {
    let output = drill(&[
        "--faults=freeze",
        "--outage=500ms",
        "--pause=500ms",
        "--spool=without",
        "--longest-emit=100ms",
        "--recover-within=60s",
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
async fn given_broker_gets_the_load_and_no_fault() {
    let mut server = server().await;
    let url = server.url();
    let theirs = [
        "--server",
        &url,
        "--subject",
        "events.drill",
        "--duration=6s",
    ];
    let child = drill(&[&theirs[..], &["--longest-emit=60s", "--json"]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while there(&server).await.len() < 50 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.kill_for(Duration::from_millis(500)).await.unwrap();
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap());
    let output = output.await.unwrap();
    assert_code(&output, 0);
    let record = json(&output);
    let faults = record["faults"].as_array().unwrap();
    assert!(!faults.is_empty());
    assert_eq!(faults[0]["name"], "not delivering");
    let stored = |contender| {
        seen(&record, contender, "stored")["seen"]
            .as_str()
            .unwrap()
            .replace(',', "")
    };
    let stored: usize = ["jetsink", "jetsink with a spool"]
        .map(|contender| stored(contender).parse::<usize>().unwrap())
        .iter()
        .sum();
    assert_eq!(stored, there(&server).await.len());
}

#[tokio::test]
async fn missing_broker_at_the_end_leaves_the_record_and_no_verdict() {
    let mut server = server().await;
    let url = server.url();
    let arguments = [
        "--server",
        &url,
        "--subject=events.drill",
        "--duration=6s",
        "--longest-emit=60s",
        "--spool=without",
        "--json",
    ];
    let child = started(&arguments);
    while there(&server).await.len() < 50 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.kill().unwrap();
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap());
    let output = output.await.unwrap();
    assert_code(&output, 3);
    let record = json(&output);
    assert_eq!(record["about"]["unread"], true);
    assert!(record["kept"].is_null());
    assert_eq!(
        seen(&record, "jetsink", "stored, lost, out of order")["seen"],
        "not known"
    );
    assert_eq!(seen(&record, "jetsink", "longest emit")["kept"], true);
}

/// The output of a drill that is interrupted during a fault.
fn interrupted(arguments: &[&str], fault: &str) -> String {
    let output = once_printed(started(&[arguments, &PATIENT].concat()), fault, |child| {
        let child = Pid::from_raw(i32::try_from(child.id()).unwrap());
        kill(child, Signal::SIGINT).unwrap();
    });
    assert_code(&output, 130);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn interrupt_heals_the_broker_and_prints_the_verdict() {
    // Without a spool the drill only waits for the broker.
    let drill = [
        "--faults=kill",
        "--outage=60s",
        "--pause=500ms",
        "--spool=without",
    ];
    let text = interrupted(&drill, ": killed");
    assert!(
        text.ends_with("as far as it came:\nevery promise was kept\n"),
        "{text}"
    );
}

/// The drill has read the stream before it deletes it: those events are not second copies.
#[test]
fn an_interrupt_while_the_stream_is_gone_finds_nothing_twice() {
    let drill = ["--faults=delete", "--outage=60s", "--pause=500ms"];
    let text = interrupted(&drill, ": stream deleted");
    assert!(text.ends_with("every promise was kept\n"), "{text}");
}

#[tokio::test]
async fn impossible_drill_is_an_error_with_its_remedy() {
    let server = server().await;
    let url = server.url();
    let cases: [(&[&str], i32, &str); 8] = [
        (&["--faults=quorum"], 2, "needs --cluster"),
        (&["--faults=flood"], 2, "possible values"),
        (&["--subject=events.a"], 2, "--server"),
        (&["--token=t"], 2, "--server"),
        (
            &["--report=/tmp/x.svg", "--picture=/tmp/x.svg"],
            2,
            "the same file",
        ),
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
