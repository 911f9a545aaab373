//! Requests and connections: in the access log, in the metrics, and their number.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::serve::support::*;
use crate::support::*;

#[tokio::test]
async fn access_log_samples_accepted_requests_and_has_each_refusal() {
    let server = server().await;
    let url = server.url();
    let mut gateway = Gateway::start(&gateway_flags(&url, &["--access-log", "3"]));
    let address = gateway.line("listening on http://");
    let head = "POST / HTTP/1.1\r\ncontent-type: application/cloudevents+json\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for number in 0..4 {
        assert_eq!(request(&address, head, &event(number)).0, 202);
        assert_eq!(post(&address, "/", "{}").0, 400);
    }
    for _ in 0..3 {
        assert_eq!(post(&address, "/none?of=them", "{}").0, 404);
    }
    gateway.signal(Signal::SIGTERM);
    let mut log = String::new();
    gateway.stderr.read_to_string(&mut log).unwrap();
    assert_eq!(gateway.code(), Some(0));
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("access")).collect();
    let with = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(
        (lines.len(), with("status=202"), with("status=400")),
        (5, 2, 2),
        "{log}"
    );
    assert_eq!(with("answer=\"accepted\" events=1 bytes=85"), 2, "{log}");
    assert_eq!(
        with("answer=\"invalid-event\" events=0 bytes=2"),
        2,
        "{log}"
    );
    assert_eq!(
        with("method=POST route=\"-\" status=404 answer=\"no-route\""),
        1,
        "{log}"
    );
    assert_eq!(
        with("trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\""),
        2,
        "{log}"
    );
}

// A reviewer's finding: 1,010 idle connections took all files, and the spool had none for its next segment.
#[test]
fn idle_connections_leave_files_for_the_spool() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let away = format!("nats://{}", free_address());
    let flags = gateway_flags(&away, &["--spool", spool.to_str().unwrap()]);
    let mut limited = command_by_shell("ulimit -Sn 64 && ulimit -Hn 400", "serve");
    limited.args(&flags);
    let mut gateway = Gateway::of(limited);
    let note = gateway.line("at most ");
    assert!(
        note.starts_with("272 connections, since the limit of open files is 400"),
        "{note}"
    );
    let address = gateway.line("listening on http://");
    let mut sender = TcpStream::connect(&address).unwrap();
    let idle: Vec<TcpStream> = (0..400)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    // Opens the first segment of the spool.
    let body = event(1);
    let head = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    sender.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    sender.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 202") && answer.contains("spooled"),
        "{answer}"
    );
    drop(idle);
}

// A reviewer's finding: requests that the parser refuses were in no metric.
#[test]
fn requests_that_cannot_be_parsed_are_counted() {
    let away = format!("nats://{}", free_address());
    let flags = gateway_flags(&away, &["--admin-listen", "127.0.0.1:0"]);
    let mut gateway = Gateway::start(&flags);
    let address = gateway.line("listening on http://");
    let metrics = gateway.line("metrics at http://");
    let metrics = metrics.strip_suffix("/metrics").unwrap();
    let many = "POST / HTTP/1.1".to_owned() + &"\r\nx: y".repeat(101);
    for (head, status) in [
        ("POST / NOTHING/1.1", 400),
        ("PO ST", 400),
        (many.as_str(), 431),
    ] {
        assert_eq!(request(&address, head, "").0, status, "{head}");
    }
    let counted = "jetsink_serve_requests_total{answer=\"unreadable\"} 3";
    let started = Instant::now();
    loop {
        let (_, page) = request(metrics, "GET /metrics HTTP/1.1", "");
        if page.contains(counted) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{page}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
