//! A start while a predecessor still runs.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::serve::support::*;
use crate::support::*;

#[tokio::test]
async fn gateway_starts_without_a_broker_and_waits_for_the_spool_of_its_predecessor() {
    let mut server = server().await;
    server.kill().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let spool = as_text(&folder.path().join("spool")).to_owned();
    let url = server.url();
    let flags = gateway_flags(&url, &["--spool", &spool, "--stop-time", "500ms"]);
    let mut first = Gateway::start(&flags);
    let address = first.line("listening on http://");
    let (code, answer) = post(&address, "/", &event(1));
    assert_eq!(code, 202);
    assert!(answer.contains("jetsink-outcome: spooled"), "{answer}");
    let mut refused = Gateway::start(&flags);
    assert_eq!(refused.code(), Some(2), "the spool is in use");
    let mut second = Gateway::start(&[&flags[..], &["--spool-wait", "15s"]].concat());
    std::thread::sleep(Duration::from_millis(500));
    assert!(second.child.try_wait().unwrap().is_none());
    first.signal(Signal::SIGTERM);
    assert_eq!(first.code(), Some(0));
    let address = second.line("listening on http://");
    server.restart().await.unwrap();
    let started = Instant::now();
    while there(&server).await.is_empty() {
        assert!(
            started.elapsed() < PATIENCE,
            "the spooled event is not delivered"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let (code, answer) = post(&address, "/", &event(1));
    assert_eq!(code, 202);
    assert!(answer.contains("jetsink-duplicate: true"), "{answer}");
    assert_eq!(there(&server).await.len(), 1);
}

// A reviewer's finding: during the wait for the spool no signal and no page worked.
#[tokio::test]
async fn wait_for_the_spool_has_pages_ends_by_a_signal_and_survives_a_hangup() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let spool = as_text(&folder.path().join("spool")).to_owned();
    let (url, admin) = (server.url(), free_address());
    let flags = gateway_flags(&url, &["--spool", &spool]);
    let mut first = Gateway::start(&flags);
    first.line("listening on http://");
    let waits = ["--spool-wait", "1h", "--admin-listen", &admin];
    let mut second = Gateway::start(&[&flags[..], &waits].concat());
    second.line("waiting up to");
    assert_eq!(
        (get(&admin, "/healthz"), get(&admin, "/readyz")),
        (200, 503)
    );
    second.signal(Signal::SIGHUP);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(get(&admin, "/healthz"), 200, "a hangup does not end it");
    second.signal(Signal::SIGTERM);
    assert_eq!(second.code(), Some(0));
    let mut third = Gateway::start(&[&flags[..], &waits].concat());
    third.line("waiting up to");
    first.signal(Signal::SIGTERM);
    assert_eq!(first.code(), Some(0));
    third.line("listening on http://");
    third.line("metrics at");
    let started = Instant::now();
    while get(&admin, "/readyz") != 200 {
        assert!(started.elapsed() < PATIENCE, "it does not become ready");
    }
}

// A rolling restart on one host: the new process is started first.
#[tokio::test]
async fn successor_takes_over_addresses_sockets_and_spool() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let spool = as_text(&folder.path().join("spool")).to_owned();
    let socket = as_text(&folder.path().join("serve.sock")).to_owned();
    let (address, admin, url) = (free_address(), free_address(), server.url());
    let flags = [
        "-s",
        &url,
        "--subject",
        "events.all",
        "--listen",
        &address,
        "--listen-unix",
        &socket,
        "--admin-listen",
        &admin,
        "--spool",
        &spool,
    ];
    let waits = [&flags[..], &["--spool-wait", "1h"]].concat();
    let mut gateway = Gateway::start(&flags);
    gateway.line("listening on http://");
    let mut refused = Gateway::start(&flags);
    assert_eq!(refused.code(), Some(2), "without a wait");
    for round in 0..3 {
        let mut next = Gateway::start(&waits);
        next.line("waiting up to");
        assert_eq!(post(&address, "/", &event(2 * round)).0, 202);
        gateway.signal(Signal::SIGTERM);
        assert_eq!(gateway.code(), Some(0));
        next.line("status at");
        // It listens already, and answers once it has the spool.
        assert_eq!(post(&address, "/", &event(2 * round + 1)).0, 202);
        assert!(UnixStream::connect(&socket).is_ok());
        assert_eq!(get(&admin, "/readyz"), 200);
        gateway = next;
    }
    assert_eq!(there(&server).await.len(), 6);
}

// A reviewer's finding: the broker was dialled for each attempt to get the lock.
#[tokio::test]
async fn broker_is_dialled_once_the_spool_is_open() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let spool = as_text(&folder.path().join("spool")).to_owned();
    let url = server.url();
    let mut first = Gateway::start(&gateway_flags(&url, &["--spool", &spool]));
    first.line("listening on http://");
    let broker = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    broker.set_nonblocking(true).unwrap();
    let silent = format!("nats://{}", broker.local_addr().unwrap());
    let waits = ["--spool", &spool, "--spool-wait", "1h"];
    let mut second = Gateway::start(&gateway_flags(&silent, &waits));
    second.line("waiting up to");
    std::thread::sleep(Duration::from_millis(300));
    let dialled = broker.accept().map_err(|error| error.kind());
    assert_eq!(dialled.err(), Some(std::io::ErrorKind::WouldBlock));
    first.signal(Signal::SIGTERM);
    second.line("listening on http://");
    assert!(broker.accept().is_ok());
}
