//! Repeats of events, over a kill.

use std::time::{Duration, Instant};

use nats_local::NatsServer;
use nix::sys::signal::Signal;

use crate::serve::support::*;
use crate::support::*;

#[tokio::test]
async fn repeat_of_a_spooled_event_is_a_duplicate_after_a_kill() {
    let mut server = server().await;
    server.kill().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let spool = as_text(&folder.path().join("spool")).to_owned();
    let url = server.url();
    let flags = gateway_flags(&url, &["--spool", &spool]);
    let binary = |address: &str, headers: &str, data: &str| {
        let head = format!(
            "POST / HTTP/1.1\r\nce-specversion: 1.0\r\nce-id: binary\r\nce-source: /s\r\nce-type: t\r\n{headers}"
        );
        request(address, &head, data)
    };
    let mut gateway = Gateway::start(&flags);
    let address = gateway.line("listening on http://");
    for n in 1..=3 {
        assert_eq!(post(&address, "/", &event(n)).0, 202);
    }
    assert_eq!(binary(&address, "ce-a: 1\r\nce-b: 2", "data").0, 202);
    drop(gateway); // SIGKILL
    let mut gateway = Gateway::start(&[&flags[..], &["-v"]].concat());
    let address = gateway.line("listening on http://");
    // A start goes on after a second.
    gateway.line("identities of events in the spool are known");
    for n in 1..=3 {
        let (code, answer) = post(&address, "/", &event(n));
        assert_eq!(code, 202);
        assert!(answer.contains("jetsink-outcome: spooled"), "{answer}");
        assert!(answer.contains("jetsink-duplicate: true"), "{answer}");
    }
    let (code, answer) = binary(&address, "ce-b: 2\r\nce-a: 1", "data");
    assert_eq!(code, 202);
    assert!(answer.contains("jetsink-duplicate: true"), "{answer}");
    assert_eq!(
        binary(&address, "ce-a: 1\r\nce-b: 2", "other").0,
        422,
        "other bytes with the same identity"
    );
    let (code, answer) = post(&address, "/", &event(4));
    assert_eq!(code, 202);
    assert!(answer.contains("jetsink-duplicate: false"), "{answer}");
    server.restart().await.unwrap();
    let started = Instant::now();
    while there(&server).await.len() < 5 {
        assert!(started.elapsed() < PATIENCE, "they are not delivered");
        std::thread::sleep(Duration::from_millis(50));
    }
    gateway.signal(Signal::SIGTERM);
    gateway.line("left in the spool 0");
    assert_eq!(there(&server).await.len(), 5, "each is stored once");
}

#[tokio::test]
async fn repeat_of_an_event_that_left_the_spool_is_a_duplicate_after_a_kill() {
    let mut server = NatsServer::start().await.unwrap();
    let config = async_nats::jetstream::stream::Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        // The stream itself has forgotten the ids by the time of the repeats.
        duplicate_window: Duration::from_millis(100),
        ..Default::default()
    };
    server.create_stream_with(config).await.unwrap();
    server.kill().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let spool = as_text(&folder.path().join("spool")).to_owned();
    let url = server.url();
    let flags = gateway_flags(&url, &["--spool", &spool, "-v"]);
    let binary = |address: &str, headers: &str, data: &str| {
        let head = format!(
            "POST / HTTP/1.1\r\nce-specversion: 1.0\r\nce-id: binary\r\nce-source: /s\r\nce-type: t\r\n{headers}"
        );
        request(address, &head, data)
    };
    let batch = format!("[{},{}]", event(3), event(4));
    let send_batch = |address: &str| {
        let head = "POST / HTTP/1.1\r\ncontent-type: application/cloudevents-batch+json\r\nprefer: return=representation";
        request(address, head, &batch)
    };
    let mut gateway = Gateway::start(&flags);
    let address = gateway.line("listening on http://");
    for n in 1..=2 {
        let (code, answer) = post(&address, "/", &event(n));
        assert_eq!(code, 202);
        assert!(answer.contains("jetsink-outcome: spooled"), "{answer}");
    }
    assert_eq!(send_batch(&address).0, 202);
    assert_eq!(binary(&address, "ce-a: 1\r\nce-b: 2", "data").0, 202);
    server.restart().await.unwrap();
    let all_stored = async |count: usize| {
        let started = Instant::now();
        while there(&server).await.len() < count {
            assert!(started.elapsed() < PATIENCE, "they are not delivered");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    all_stored(5).await;
    // Twice: the second process has only read the file.
    for _ in 0..2 {
        // Beyond the stream's window, and until the spool has marked them.
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(gateway); // SIGKILL
        gateway = Gateway::start(&flags);
        let address = gateway.line("listening on http://");
        gateway.line("identities of events in the spool are known");
        for n in 1..=4 {
            let (code, answer) = post(&address, "/", &event(n));
            assert_eq!(code, 202);
            assert!(answer.contains("jetsink-duplicate: true"), "{answer}");
        }
        let (code, answer) = send_batch(&address);
        assert_eq!(code, 202);
        assert_eq!(answer.matches("\"duplicate\":true").count(), 2, "{answer}");
        let (code, answer) = binary(&address, "ce-b: 2\r\nce-a: 1", "data");
        assert_eq!(code, 202);
        assert!(answer.contains("jetsink-duplicate: true"), "{answer}");
        let (code, _) = binary(&address, "ce-b: 2\r\nce-a: 1", "other");
        assert_eq!(code, 422, "other bytes with the same identity");
    }
    let address = {
        drop(gateway);
        gateway = Gateway::start(&flags);
        gateway.line("listening on http://")
    };
    let (code, answer) = post(&address, "/", &event(5));
    assert_eq!(code, 202);
    assert!(answer.contains("jetsink-duplicate: false"), "{answer}");
    all_stored(6).await;
    assert_eq!(there(&server).await.len(), 6, "each is stored once");
}
