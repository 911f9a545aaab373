//! `jetsink tail`, against real brokers.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use bytes::Bytes;
use nats_local::{Impairment, NatsServer, TcpProxy};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::*;

mod following;
mod refused;

fn tail_command(server: &NatsServer, arguments: &[&str]) -> Command {
    let url = server.url();
    let mut command = command("tail", &["--stream", "EVENTS", "-s", &url]);
    command.args(arguments);
    command
}

fn tail(server: &NatsServer, arguments: &[&str]) -> Output {
    tail_command(server, arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// One that runs, and its output line by line.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
    notes: BufReader<ChildStderr>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let notes = BufReader::new(child.stderr.take().unwrap());
        Self {
            child,
            lines,
            notes,
        }
    }

    /// The next line, as JSON.
    fn event(&mut self) -> serde_json::Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn note(&mut self) -> String {
        let mut line = String::new();
        self.notes.read_line(&mut line).unwrap();
        line
    }

    fn interrupt(&self) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, Signal::SIGINT).unwrap();
    }

    fn code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// The exit code of a command that might continue for ever.
    async fn code_soon(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < Duration::from_secs(30), "it goes on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn consumers(server: &NatsServer) -> usize {
    let jetstream = server.jetstream().await.unwrap();
    let mut stream = jetstream.get_stream("EVENTS").await.unwrap();
    stream.info().await.unwrap().state.consumer_count
}

/// Waits until the stream has a consumer.
async fn await_consumer(server: &NatsServer) {
    let start = Instant::now();
    while consumers(server).await == 0 {
        assert!(start.elapsed() < Duration::from_secs(30), "no consumer");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn store(server: &NatsServer, subject: &str, headers: &[(&str, &str)], payload: &str) {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, *value);
    }
    let jetstream = server.jetstream().await.unwrap();
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    let sent = jetstream.publish_with_headers(subject.to_owned(), map, payload);
    sent.await.unwrap().await.unwrap();
}

fn of(id: &str, kind: &str, data: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"{kind}","data":{data}}}"#)
}

/// The ids of the shown events.
fn ids(output: &Output) -> Vec<String> {
    let text = stdout(output);
    let lines = text.lines();
    lines
        .map(|line| line.rsplit('\t').next().unwrap().to_owned())
        .collect()
}

/// Four events of two tenants and two types, on subjects that do not always say the tenant.
async fn mixed() -> NatsServer {
    let server = server().await;
    let acme = r#"{"tenantId":"acme"}"#;
    let late = r#"{"correlation":{"tenantId":"acme"}}"#;
    store(&server, "events.acme", &[], &of("1", "a.started", acme)).await;
    store(&server, "events.single", &[], &of("2", "a.ended", late)).await;
    store(&server, "events.single", &[], &of("3", "b.started", "{}")).await;
    store(&server, "events.acme", &[], &of("4", "b.ended", acme)).await;
    server
}

#[tokio::test]
async fn history_is_shown_line_by_line_and_leaves_no_consumer() {
    let server = mixed().await;
    let output = tail(&server, &["--all", "--no-follow"]);
    assert_code(&output, 0);
    let text = stdout(&output);
    let first: Vec<&str> = text.lines().next().unwrap().split('\t').collect();
    assert_eq!(first[1..], ["acme", "a.started", "/s", "1"]);
    assert!(
        first[0].len() == 24 && first[0].ends_with('Z'),
        "{}",
        first[0]
    );
    assert!(text.contains("\tsingle\tb.started\t/s\t3\n"), "{text}");
    assert!(!text.contains('\u{1b}'), "a pipe is no terminal: {text:?}");
    assert_eq!(consumers(&server).await, 0);

    assert_eq!(ids(&tail(&server, &["--no-follow"])).len(), 4);
    assert_eq!(ids(&tail(&server, &["--all", "-n", "3"])), ["1", "2", "3"]);
    let last = tail(&server, &["--last", "2", "--no-follow"]);
    assert_eq!(ids(&last), ["3", "4"]);
    assert!(ids(&tail(&server, &["--last", "0", "--no-follow"])).is_empty());
    assert_eq!(consumers(&server).await, 0);
}

#[tokio::test]
async fn the_tenant_is_the_events_and_all_filters_hold_together() {
    let server = mixed().await;
    let shown = |filters: &[&str]| {
        let output = tail(&server, &[&["--all", "--no-follow"], filters].concat());
        assert_code(&output, 0);
        ids(&output)
    };
    assert_eq!(shown(&["--tenant", "acme"]), ["1", "2", "4"]);
    assert_eq!(shown(&["--tenant", "single"]), ["3"]);
    assert_eq!(shown(&["--type", "*.started"]), ["1", "3"]);
    assert_eq!(
        shown(&["--type", "a.*", "--type", "b.end?d"]),
        ["1", "2", "4"]
    );
    assert_eq!(shown(&["--subject", "events.single"]), ["2", "3"]);
    assert_eq!(
        shown(&["--subject", "events.single", "--tenant", "acme"]),
        ["2"]
    );
    let by_template = ["--subject", "events.{tenantId}", "--tenant", "acme"];
    assert_eq!(
        shown(&by_template),
        ["1", "4"],
        "the broker's choice, by subject"
    );
    let overlapping = ["--subject", "events.*", "--subject", "events.acme"];
    assert_eq!(shown(&overlapping), ["1", "2", "3", "4"]);
    let last = [
        "--last",
        "1",
        "--no-follow",
        "--tenant",
        "acme",
        "--type",
        "a.*",
    ];
    assert_eq!(ids(&tail(&server, &last)), ["2"]);
}

#[tokio::test]
async fn the_last_of_a_rare_kind_is_found_far_from_the_end() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let mut events: Vec<Bytes> = vec![of("rare-1", "rare", "{}").into()];
    events.extend(lines(700));
    events.push(of("rare-2", "rare", "{}").into());
    events.extend(lines(900));
    let file = file_of(&folder, "events.jsonl", &events);
    let url = server.url();
    let publish = ["-s", &url, "--subject", "events.{type}", as_text(&file)];
    assert_code(&run(&publish), 0);
    let filters: [&[&str]; 2] = [&["--type", "rare"], &["--subject", "events.rare"]];
    for filter in filters {
        let shown = |last: &str| {
            let output = tail(
                &server,
                &[filter, &["--last", last, "--no-follow"]].concat(),
            );
            assert_code(&output, 0);
            ids(&output)
        };
        assert_eq!(shown("1"), ["rare-2"]);
        assert_eq!(shown("2"), ["rare-1", "rare-2"]);
        assert_eq!(shown("9"), ["rare-1", "rare-2"]);
    }
    assert_eq!(consumers(&server).await, 0);
}

/// Regression: it went on from the end that it had found to the one that there was by then.
#[tokio::test]
async fn the_last_of_a_stream_that_grows_are_no_more_than_asked_for() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let file = file_of(&folder, "events.jsonl", &lines(10_000));
    let url = server.url();
    let mut publishing = spawn(&["-s", &url, "--subject", "events.all", as_text(&file)]);
    let mut while_it_grows = 0;
    while publishing.try_wait().unwrap().is_none() {
        let output = tail(&server, &["--last", "2", "--no-follow"]);
        assert_code(&output, 0);
        assert!(ids(&output).len() <= 2, "{}", stdout(&output));
        while_it_grows += 1;
    }
    assert!(while_it_grows > 0);
    assert_eq!(
        ids(&tail(&server, &["--last", "2", "--no-follow"])),
        ["9998", "9999"]
    );
}

#[tokio::test]
async fn times_bound_the_shown_events() {
    let server = server().await;
    store(&server, "events.a", &[], &event(1)).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let parted = jiff::Timestamp::now().to_string();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    store(&server, "events.a", &[], &event(2)).await;
    let shown = |bounds: &[&str]| ids(&tail(&server, &[bounds, &["--no-follow"]].concat()));
    assert_eq!(shown(&["--since", &parted]), ["2"]);
    assert_eq!(shown(&["--since", "1h"]), ["1", "2"]);
    assert_eq!(shown(&["--until", &parted]), ["1"]);
    assert_eq!(shown(&["--all", "--until", &parted]), ["1"]);
    assert!(shown(&["--until", "1h"]).is_empty());
    // It ends by itself at a time to come, too.
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1);
    let output = tail(&server, &["--since", "1h", "--until", &soon.to_string()]);
    assert_code(&output, 0);
    assert_eq!(ids(&output), ["1", "2"]);
}

#[tokio::test]
async fn events_of_both_modes_are_shown_and_other_messages_without_terminal_controls() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let spaced = of(
        "b c",
        "t",
        r#"{"tenantId":"acme","n":12345678901234567890123}"#,
    );
    let file = file_of(&folder, "events.jsonl", &[spaced.clone().into()]);
    let url = server.url();
    for mode in ["structured", "binary"] {
        let publish = ["-s", &url, "--subject", "events.a", "--mode", mode];
        assert_code(&run(&[&publish[..], &[as_text(&file)]].concat()), 0);
    }
    store(&server, "events.a", &[], "\u{1b}]0;owned\u{7}\r\nx\u{9b}2J").await;
    let evil = of("x\\u001b[31m\\u202e", "t\u{9b}", "{}");
    store(&server, "events.a", &[("Nats-Msg-Id", "m1")], &evil).await;
    store(&server, "events.a", &[("ce-specversion", "1.0")], "half").await;

    let output = tail(&server, &["--all", "--no-follow"]);
    assert_code(&output, 0);
    let text = stdout(&output);
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    assert_eq!(lines[0][1..], ["acme", "t", "/s", "b c"]);
    assert_eq!(lines[1][1..], lines[0][1..]);
    assert_eq!(
        lines[2][1..],
        [
            "-",
            "not a CloudEvent",
            "events.a",
            "\\u{1b}]0;owned\\u{7}\\r\\nx\\u{9b}2J"
        ]
    );
    assert_eq!(lines[3][2..], ["t\\u{9b}", "/s", "x\\u{1b}[31m\\u{202e}"]);
    assert_eq!(lines[4][2], "not a CloudEvent");

    let output = tail(&server, &["--all", "--no-follow", "--json"]);
    assert_code(&output, 0);
    let text = stdout(&output);
    assert!(
        !text.chars().any(|c| c.is_control() && c != '\n'),
        "{text:?}"
    );
    let objects: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let first = text.lines().next().unwrap();
    assert!(
        first.ends_with(&format!(",\"event\":{spaced}}}")),
        "{first}"
    );
    assert!(
        text.lines()
            .nth(1)
            .unwrap()
            .contains("12345678901234567890123"),
        "{text}"
    );
    assert_eq!(objects[1]["event"]["id"], "b c");
    assert_eq!(objects[1]["sequence"], 2);
    assert!(objects[2]["event"].is_null() && objects[2]["payload"].is_string());
    let wanted: serde_json::Value = serde_json::from_str(&evil).unwrap();
    assert_eq!(
        (&objects[3]["event"], &objects[3]["message_id"]),
        (&wanted, &"m1".into())
    );
}

/// The output on a terminal of 80 columns.
async fn on_a_terminal(server: &NatsServer, variables: &[(&str, &str)]) -> String {
    let size = nix::pty::Winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pty = nix::pty::openpty(&size, None).unwrap();
    let mut command = tail_command(server, &["--all", "--no-follow"]);
    command.env_remove("NO_COLOR").env("TERM", "xterm");
    command.envs(variables.iter().copied());
    let mut child = command.stdout(pty.slave).spawn().unwrap();
    drop(command);
    let mut shown = Vec::new();
    // Ends with an error once the last writer has closed it.
    let _ = std::fs::File::from(pty.master).read_to_end(&mut shown);
    assert!(child.wait().unwrap().success());
    String::from_utf8(shown).unwrap()
}

#[tokio::test]
async fn a_terminal_of_80_columns_gets_lines_that_fit_in_colour_unless_it_wants_none() {
    let server = server().await;
    let url = server.url();
    assert_code(&run(&["-s", &url, "--subject", "events.a", SAMPLES]), 0);
    store(&server, "events.a", &[], &"\u{1b}[31mlong ".repeat(99)).await;
    let coloured = on_a_terminal(&server, &[]).await;
    assert!(coloured.contains("\u{1b}[36m"), "{coloured:?}");
    let plain = on_a_terminal(&server, &[("NO_COLOR", "1")]).await;
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    // A header and the events.
    assert_eq!(plain.lines().count(), 104);
    let header: Vec<&str> = plain.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["TIME", "TENANT", "TYPE", "SOURCE", "ID"]);
    for line in plain.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(plain.contains("lifecycle.v1.destroyed cellos-"), "{plain}");
}
