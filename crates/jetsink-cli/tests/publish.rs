//! The real command against a real broker.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{Config, DiscardPolicy};
use bytes::Bytes;
use nats_fixture::{NatsServer, StoredMessage, audit, stored};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

const SAMPLES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../samples/cellos-events.jsonl"
);

fn jetsink(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jetsink"));
    command.arg("publish").args(arguments).stdin(Stdio::null());
    for variable in [
        "NATS_URL",
        "NATS_CONTEXT",
        "NATS_USER",
        "NATS_PASSWORD",
        "NATS_CREDS",
        "RUST_LOG",
    ] {
        command.env_remove(variable);
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    jetsink(arguments).output().unwrap()
}

fn with_input(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = jetsink(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that stops early does not read to the end.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", stderr(output));
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn server() -> NatsServer {
    let server = NatsServer::start().await.unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    server
}

async fn there(server: &NatsServer) -> Vec<StoredMessage> {
    stored(&server.jetstream().await.unwrap(), "EVENTS")
        .await
        .unwrap()
}

fn event(number: usize) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{number}","source":"/test","type":"t","data":{{"tenantId":"acme"}}}}"#
    )
}

fn lines(count: usize) -> Vec<Bytes> {
    (0..count)
        .map(|number| Bytes::from(event(number)))
        .collect()
}

fn file_of(folder: &TempDir, name: &str, lines: &[Bytes]) -> PathBuf {
    let path = folder.path().join(name);
    let mut text = Vec::new();
    for line in lines {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    std::fs::write(&path, text).unwrap();
    path
}

fn as_text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn the_sample_is_stored_once_in_order_byte_for_byte_from_file_and_pipe_at_any_window() {
    let sample = std::fs::read(SAMPLES).unwrap();
    let expected: Vec<Bytes> = sample
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(Bytes::copy_from_slice)
        .collect();
    assert_eq!(expected.len(), 102);
    for window in ["1", "16", "1024"] {
        for from_pipe in [false, true] {
            let server = server().await;
            let url = server.url();
            let flags = [
                "-s",
                &url,
                "--subject",
                "events.{tenantId}",
                "--window",
                window,
            ];
            let output = if from_pipe {
                with_input(&flags, &sample)
            } else {
                run(&[&flags[..], &[SAMPLES]].concat())
            };
            assert_code(&output, 0);
            assert!(
                stderr(&output)
                    .starts_with("102 of 102 events stored in EVENTS up to sequence 102;"),
                "{}",
                stderr(&output)
            );
            assert!(output.stdout.is_empty());
            let there = there(&server).await;
            assert!(audit(&expected, &[], &there).is_clean());
            let subjects: std::collections::BTreeSet<_> =
                there.iter().map(|m| m.subject.as_str()).collect();
            assert_eq!(
                subjects.into_iter().collect::<Vec<_>>(),
                ["events.acme", "events.globex", "events.single"]
            );
        }
    }
}

#[tokio::test]
async fn a_bad_line_is_named_by_its_place_and_ends_the_reading_or_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "{}\n\n{}\n{{\"specversion\":\"1.0\"}}\n{{\"id\": nope}}\n\u{1}\n{}\n",
        event(1),
        event(2),
        event(3)
    );
    let input = folder.path().join("in.jsonl");
    std::fs::write(&input, text).unwrap();
    let rejected = folder.path().join("rejected.jsonl");
    let input = as_text(&input);

    let server = server().await;
    let url = server.url();
    let flags = ["-s", &url, "--subject", "events.a"];
    let output = run(&[&flags[..], &[input]].concat());
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(
        text.contains(&format!(
            "{input}:4:21: not a CloudEvent: missing required attribute `id`"
        )) || text.contains(&format!("{input}:4:")),
        "{text}"
    );
    assert!(
        text.contains(&format!("resume with --from-line 5 {input}")),
        "{text}"
    );
    assert_eq!(there(&server).await.len(), 2);

    let skip = [
        "--on-bad-line",
        "skip",
        "--rejected",
        as_text(&rejected),
        "--json",
        input,
    ];
    let output = run(&[&flags[..], &skip].concat());
    assert_code(&output, 1);
    let text = stderr(&output);
    for line in [4, 5, 6] {
        assert_eq!(
            text.matches(&format!("{input}:{line}:")).count(),
            1,
            "{text}"
        );
    }
    let summary = json(&output);
    assert_eq!(
        (&summary["read"], &summary["stored"], &summary["bad_lines"]),
        (&3.into(), &3.into(), &3.into())
    );
    assert_eq!(summary["exit_code"], 1);
    let kept = std::fs::read(&rejected).unwrap();
    assert_eq!(kept, b"{\"specversion\":\"1.0\"}\n{\"id\": nope}\n\x01\n");
}

#[tokio::test]
async fn wrong_usage_is_one_clear_message_and_publishes_nothing() {
    let server = server().await;
    let url = server.url();
    let ok = ["-s", &url, "--subject", "events.a"];
    let cases: [(&[&str], &str); 7] = [
        (
            &[
                "-s",
                &url,
                "--subject",
                "events.a",
                SAMPLES,
                "/no/such/file",
            ],
            "/no/such/file",
        ),
        (
            &["-s", &url, "--subject", "events.a", "/tmp"],
            "/tmp: is a directory",
        ),
        (
            &["-s", "http://u:hunter2@x", "--subject", "events.a", SAMPLES],
            "server 1 of the list",
        ),
        (
            &["-s", &url, "--subject", "events.*", SAMPLES],
            "wildcards are for subscribers",
        ),
        (
            &["-s", &url, "--subject", "events.{tenant}", SAMPLES],
            "unknown placeholder {tenant}",
        ),
        (
            &[
                "-s",
                &url,
                "--subject",
                "events.a",
                "--window",
                "0",
                SAMPLES,
            ],
            "--window",
        ),
        (
            &[
                "-s",
                &url,
                "--subject",
                "events.a",
                "--deadline",
                "5",
                SAMPLES,
            ],
            "write it like 500ms",
        ),
    ];
    for (arguments, expected) in cases {
        let output = run(arguments);
        assert_code(&output, 2);
        let text = stderr(&output);
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let output = run(&[&ok[..], &["--creds", "/no/such.creds", SAMPLES]].concat());
    assert_code(&output, 2);
    assert!(there(&server).await.is_empty());
}

#[tokio::test]
async fn without_a_broker_it_ends_with_3_and_without_a_stream_with_1() {
    let mut server = server().await;
    let url = server.url();
    let output = run(&[
        "-s",
        &url,
        "--subject",
        "nowhere.a",
        "--max-failures",
        "5",
        SAMPLES,
    ]);
    assert_code(&output, 1);
    assert!(
        stderr(&output).contains("no stream captures the subject"),
        "{}",
        stderr(&output)
    );
    server.kill().unwrap();
    let output = run(&["-s", &url, "--subject", "events.a", SAMPLES]);
    assert_code(&output, 3);
    assert!(
        stderr(&output).contains("nats connect to"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test]
async fn an_event_that_is_too_large_fails_alone() {
    let server = NatsServer::builder()
        .max_payload(2_000)
        .start()
        .await
        .unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    let large = format!(
        r#"{{"specversion":"1.0","id":"x","source":"s","type":"t","data":"{}"}}"#,
        "x".repeat(3_000)
    );
    let input = format!("{}\n{large}\n{}\n", event(1), event(2));
    let output = with_input(
        &["-s", &server.url(), "--subject", "events.a"],
        input.as_bytes(),
    );
    assert_code(&output, 1);
    assert!(
        stderr(&output).contains("-:2: not sent:"),
        "{}",
        stderr(&output)
    );
    assert_eq!(there(&server).await.len(), 2);
}

#[tokio::test]
async fn a_full_stream_is_told_and_ends_after_the_failures_allowed() {
    let server = NatsServer::start().await.unwrap();
    let full = Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        max_messages: 7,
        discard: DiscardPolicy::New,
        ..Config::default()
    };
    server.create_stream_with(full).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let input = file_of(&folder, "in.jsonl", &lines(5_000));
    let output = run(&[
        "-s",
        &server.url(),
        "--subject",
        "events.a",
        "--window",
        "8",
        "--json",
        as_text(&input),
    ]);
    assert_code(&output, 1);
    assert!(
        stderr(&output).contains("code 10077"),
        "{}",
        stderr(&output)
    );
    let summary = json(&output);
    assert_eq!(summary["stored"], 7);
    assert!(summary["read"].as_u64().unwrap() < 200, "{summary}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_and_comes_back_costs_nothing() {
    let mut server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let lines = lines(60_000);
    let input = file_of(&folder, "in.jsonl", &lines);
    let child = spawn(&[
        "-s",
        &server.url(),
        "--subject",
        "events.a",
        "--window",
        "64",
        as_text(&input),
    ]);
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        server.kill().unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.start_again().await.unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert_code(&output, 0);
    let audit = audit(&lines, &[], &there(&server).await);
    assert!(audit.is_clean(), "{audit}");
}

fn spawn(arguments: &[&str]) -> Child {
    jetsink(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The number behind `--from-line` in what the command printed.
fn resume_line(output: &Output) -> String {
    let text = stderr(output);
    let rest = text
        .split("--from-line ")
        .nth(1)
        .unwrap_or_else(|| panic!("no place to resume: {text}"));
    rest.split_whitespace().next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stays_away_ends_it_with_3_and_the_place_to_resume() {
    let mut server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let lines = lines(60_000);
    let input = file_of(&folder, "in.jsonl", &lines);
    let url = server.url();
    let flags = [
        "-s",
        &url,
        "--subject",
        "events.a",
        "--id",
        "source-id",
        "--max-outage",
        "1s",
        "--window",
        "64",
    ];
    let child = spawn(&[&flags[..], &[as_text(&input)]].concat());
    tokio::time::sleep(Duration::from_millis(700)).await;
    server.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_code(&output, 3);
    let line = resume_line(&output);
    server.start_again().await.unwrap();
    let rest = run(&[&flags[..], &["--from-line", &line, as_text(&input)]].concat());
    assert_code(&rest, 0);
    let audit = audit(&lines, &[], &there(&server).await);
    assert!(audit.is_clean(), "{audit}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_finishes_what_is_in_flight_and_says_where_to_resume() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let lines = lines(60_000);
    let input = file_of(&folder, "in.jsonl", &lines);
    let url = server.url();
    let flags = ["-s", &url, "--subject", "events.a", "--window", "32"];
    let child = spawn(&[&flags[..], &[as_text(&input)]].concat());
    // Once it is under way.
    while there(&server).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_code(&output, 130);
    let line = resume_line(&output);
    assert_eq!(
        there(&server).await.len() + 1,
        line.parse::<usize>().unwrap()
    );
    assert_code(
        &run(&[&flags[..], &["--from-line", &line, as_text(&input)]].concat()),
        0,
    );
    let audit = audit(&lines, &[], &there(&server).await);
    assert!(audit.is_clean(), "{audit}");
}

#[tokio::test]
async fn a_line_through_a_pipe_goes_out_before_the_next_one_comes() {
    let server = server().await;
    let mut child = jetsink(&["-s", &server.url(), "--subject", "events.a"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    for count in 1..=3 {
        writeln!(pipe, "{}", event(count)).unwrap();
        let started = Instant::now();
        while there(&server).await.len() < count {
            assert!(
                started.elapsed() < Duration::from_secs(10),
                "line {count} waits for another"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    drop(pipe);
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn ids_by_source_and_id_make_a_second_run_all_duplicates() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let input = file_of(&folder, "in.jsonl", &lines(50));
    let url = server.url();
    let flags = [
        "-s",
        &url,
        "--subject",
        "events.a",
        "--id",
        "source-id",
        "--json",
        as_text(&input),
    ];
    assert_eq!(json(&run(&flags))["duplicates"], 0);
    let second = run(&flags);
    assert_code(&second, 0);
    assert_eq!(
        (&json(&second)["stored"], &json(&second)["duplicates"]),
        (&50.into(), &50.into())
    );
    assert_eq!(there(&server).await.len(), 50);
}

#[tokio::test]
async fn binary_mode_sends_attributes_as_headers_and_the_data_as_payload() {
    let server = server().await;
    let output = with_input(
        &[
            "-s",
            &server.url(),
            "--subject",
            "events.{type}",
            "--mode",
            "binary",
        ],
        event(7).as_bytes(),
    );
    assert_code(&output, 0);
    let there = there(&server).await;
    assert_eq!(&there[0].payload[..], br#"{"tenantId":"acme"}"#);
    let header = |name: &str| there[0].headers.get(name).map(ToString::to_string);
    assert_eq!(header("ce-id").as_deref(), Some("7"));
    assert_eq!(header("ce-specversion").as_deref(), Some("1.0"));
}

#[tokio::test]
async fn a_dry_run_checks_and_counts_and_connects_to_nobody() {
    let output = run(&[
        "-s",
        "nats://127.0.0.1:1",
        "--subject",
        "events.{tenantId}",
        "--dry-run",
        SAMPLES,
    ]);
    assert_code(&output, 0);
    let counts = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows: Vec<Vec<&str>> = counts
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().any(|row| row[1] == "events.acme"), "{counts}");
    assert_code(&with_input(&["--subject", "a", "--dry-run"], b"nope"), 1);
}

#[tokio::test]
async fn logins_come_from_flags_and_variables_and_are_never_shown() {
    let server = NatsServer::builder()
        .user_and_password("app", "hunter2")
        .start()
        .await
        .unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    let url = server.url();
    let flags = ["-s", &url, "--subject", "events.a", SAMPLES];
    let by_variable = jetsink(&flags)
        .env("NATS_USER", "app")
        .env("NATS_PASSWORD", "hunter2")
        .output()
        .unwrap();
    assert_code(&by_variable, 0);
    let logged = run(&[
        &flags[..],
        &["--user", "app", "--password", "hunter2", "-vvv"],
    ]
    .concat());
    assert_code(&logged, 0);
    let wrong = run(&[
        &flags[..],
        &["--user", "app", "--password", "sw0rdfish", "-vvv"],
    ]
    .concat());
    assert_code(&wrong, 3);
    assert!(
        stderr(&wrong).contains("authorization violation"),
        "{}",
        stderr(&wrong)
    );
    let in_url = format!("nats://app:sw0rdfish@127.0.0.1:{}", server.port());
    let wrong_url = run(&["-s", &in_url, "--subject", "events.a", "-vvv", SAMPLES]);
    assert_code(&wrong_url, 3);
    for output in [by_variable, logged, wrong, wrong_url] {
        let text = stderr(&output);
        assert!(
            !text.contains("hunter2") && !text.contains("sw0rdfish"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn memory_stays_flat_whatever_the_size_of_the_file() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let mut peaks = Vec::new();
    for count in [10_000, 100_000] {
        let input = file_of(&folder, "in.jsonl", &lines(count));
        let mut child = jetsink(&[
            "-s",
            &server.url(),
            "--subject",
            "events.a",
            "--quiet",
            as_text(&input),
        ])
        .spawn()
        .unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        while child.try_wait().unwrap().is_none() {
            if let Ok(file) = std::fs::File::open(&status) {
                let lines = BufReader::new(file).lines().map_while(Result::ok);
                let high = lines
                    .filter_map(|line| {
                        line.strip_prefix("VmHWM:")?
                            .trim()
                            .strip_suffix(" kB")?
                            .parse()
                            .ok()
                    })
                    .next();
                peak = peak.max(high.unwrap_or(0_u64));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(child.wait().unwrap().success());
        peaks.push(peak);
    }
    println!("peak resident memory in KiB for 10,000 and 100,000 lines: {peaks:?}");
    assert!(peaks[1] < peaks[0] + 16 * 1_024, "{peaks:?}");
}
