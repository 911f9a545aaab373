//! `--metrics-listen`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

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
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    let address = line
        .trim()
        .strip_prefix("jetsink: metrics at http://")
        .and_then(|rest| rest.strip_suffix("/metrics"))
        .unwrap_or_else(|| panic!("{line}"));
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
    assert!(answers(address, "/readyz", 503).starts_with("reconnecting"));
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
