//! `--metrics-listen`.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::*;

/// The status line's code, and the body.
fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, body.to_owned())
}

/// Asks until the answer has this code.
fn answers(address: &str, path: &str, code: u16) -> String {
    let started = Instant::now();
    loop {
        let (given, body) = get(address, path);
        if given == code {
            return body;
        }
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{path}: {given} {body}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The address that the system has assigned.
#[track_caller]
fn served_at(child: &mut Child) -> String {
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    // Later lines are not read; the child may still write them.
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    let address = line.trim().strip_prefix("jetsink: metrics at http://");
    let address = address.and_then(|rest| rest.strip_suffix("/metrics"));
    address.unwrap_or_else(|| panic!("{line}")).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_health_and_readiness_are_served_while_it_publishes() {
    let mut server = server().await;
    let mut child = jetsink(&[
        "-s",
        &server.url(),
        "--subject",
        "events.a",
        "--metrics-listen",
        "127.0.0.1:0",
    ])
    .stdin(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    let address = &served_at(&mut child);
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{}", event(1)).unwrap();

    assert_eq!(
        answers(address, "/readyz", 200).split(' ').next(),
        Some("connected")
    );
    assert_eq!(get(address, "/healthz").0, 200);
    assert_eq!(get(address, "/nowhere").0, 404);
    let stored = r#"jetsink_emits_total{outcome="stored"} 1"#;
    let started = Instant::now();
    while !get(address, "/metrics").1.contains(stored) {
        assert!(started.elapsed() < Duration::from_secs(20), "not counted");
    }
    server.kill().unwrap();
    let reason = answers(address, "/readyz", 503);
    assert!(
        reason.starts_with("no connection to the broker"),
        "{reason}"
    );
    assert_eq!(get(address, "/healthz").0, 200);
    server.restart().await.unwrap();
    // A circuit closes by a publish.
    writeln!(input, "{}", event(2)).unwrap();
    answers(address, "/readyz", 200);
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(there(&server).await.len(), 2);
}

#[test]
fn address_in_use_ends_the_command_with_2() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&[
        "--subject",
        "events.a",
        "--metrics-listen",
        &address,
        SAMPLES,
    ]);
    assert_code(&output, 2);
    let text = stderr(&output);
    assert!(
        text.contains(&format!("--metrics-listen {address}: ")),
        "{text}"
    );
}

// A reviewer's finding: a liveness probe ended the process while the broker was away at the start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_served_before_the_input_and_the_broker_can_be_reached() {
    let mut server = server().await;
    let url = server.url();
    server.kill().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let flags = ["-s", &url, "--subject", "events.a", "--max-outage=1h"];
    let served = ["--metrics-listen=127.0.0.1:0", as_text(&fifo)];
    let mut child = jetsink(&[&flags[..], &served].concat())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let address = &served_at(&mut child);
    let is_starting = || {
        answers(address, "/healthz", 200);
        answers(address, "/metrics", 200);
        assert!(answers(address, "/readyz", 503).starts_with("starting"));
    };
    // The FIFO has no writer.
    is_starting();
    let mut input = File::options().write(true).open(&fifo).unwrap();
    // The broker is away.
    tokio::time::sleep(Duration::from_millis(500)).await;
    is_starting();
    server.restart().await.unwrap();
    answers(address, "/readyz", 200);
    writeln!(input, "{}", event(0)).unwrap();
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(count(&server).await, 1);
}

// A reviewer's finding: it was ready while each event found the spool full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spool_without_room_for_the_next_event_makes_it_unready_only_while_the_broker_is_away() {
    let mut server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let spool = format!("--spool={}", as_text(&folder.path().join("spool")));
    let mut child = jetsink(&[
        "-s",
        &server.url(),
        "--subject",
        "events.a",
        "--metrics-listen=127.0.0.1:0",
        "--spool-limit=300000",
        "--max-outage=1h",
        &spool,
    ])
    .stdin(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    let address = &served_at(&mut child);
    answers(address, "/readyz", 200);
    server.kill().unwrap();
    let mut input = child.stdin.take().unwrap();
    let data = format!(r#""data":{{"text":"{}","#, "x".repeat(70_000));
    for number in 0..6 {
        writeln!(input, "{}", event(number).replace(r#""data":{"#, &data)).unwrap();
    }
    let text = answers(address, "/readyz", 503);
    assert!(text.contains("the spool is full"), "{text}");
    server.restart().await.unwrap();
    answers(address, "/readyz", 200);
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(count(&server).await, 6);
}
