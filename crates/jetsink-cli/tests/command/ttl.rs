//! `--ttl-from expirytime`: messages with a time to live, and events that expire before they are sent.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use nats_local::NatsServer;

use crate::support::*;

/// An event that expires at this time.
fn expiring(number: usize, time: &str) -> String {
    let event = event(number);
    let start = event.strip_suffix('}').unwrap();
    format!("{start},\"expirytime\":\"{time}\"}}")
}

fn in_seconds(seconds: i64) -> String {
    let now = Timestamp::try_from(SystemTime::now()).unwrap();
    let time = now + jiff::SignedDuration::from_secs(seconds);
    format!("{time:.0}")
}

fn stream(server: &NatsServer, arguments: &[&str]) -> std::process::Output {
    let url = server.url();
    let flags = ["-s", &url, "--name=EVENTS", "--subject=events.>"];
    let output = command("stream", &[&["apply"], &flags[..], arguments].concat());
    { output }.output().unwrap()
}

#[tokio::test]
async fn an_event_lives_in_the_stream_until_its_expirytime() {
    let server = NatsServer::start().await.unwrap();
    assert_code(&stream(&server, &[]), 0);
    let url = server.url();
    let flags = ["-s", &url, "--subject", "events.a", "--ttl-from=expirytime"];
    let input = [event(0), expiring(1, &in_seconds(3_600))].join("\n");

    // Not allowed yet: the event that needs it fails, with the remedy.
    let output = with_input(&flags, input.as_bytes());
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(
        text.contains("-:2: ") && text.contains("(code 10166)"),
        "{text}"
    );
    assert!(text.contains("allow_msg_ttl"), "{text}");
    assert_eq!(there(&server).await.len(), 1);

    assert_code(&stream(&server, &["--allow-ttl"]), 0);
    let plan = stream(&server, &["--allow-ttl"]);
    assert!(!String::from_utf8_lossy(&plan.stdout).contains("allow_msg_ttl"));
    let past = expiring(2, "2020-01-01t00:00:00+01:00");
    let input = [
        expiring(1, &in_seconds(3_600)),
        past,
        expiring(3, &in_seconds(2)),
    ]
    .join("\n");
    let output = with_input(&flags, input.as_bytes());
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(
        text.contains("-:2: not sent: the event expired before it was sent"),
        "{text}"
    );
    let stored = there(&server).await;
    assert_eq!(stored.len(), 3);
    assert!(stored[0].headers.get("Nats-TTL").is_none());
    let ttl = stored[1].headers.get("Nats-TTL").unwrap().as_str();
    let ttl: u64 = ttl.parse().unwrap();
    assert!((3_500..=3_600).contains(&ttl), "{ttl}");
    let started = std::time::Instant::now();
    while count(&server).await == 3 {
        assert!(started.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn an_event_that_expires_in_the_spool_becomes_a_dead_letter() {
    let mut server = NatsServer::start().await.unwrap();
    assert_code(&stream(&server, &["--allow-ttl"]), 0);
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let url = server.url();
    server.kill().unwrap();
    let input = [
        event(0),
        expiring(1, &in_seconds(2)),
        expiring(2, &in_seconds(3_600)),
    ];
    let output = with_input(
        &[
            "-s",
            &url,
            "--subject=events.a",
            "--ttl-from=expirytime",
            "--max-outage=0",
            "--spool",
            as_text(&spool),
        ],
        input.join("\n").as_bytes(),
    );
    assert_code(&output, 4);
    tokio::time::sleep(Duration::from_secs(3)).await;
    server.restart().await.unwrap();
    let replay = ["replay", "-s", &url, as_text(&spool)];
    let output = command("spool", &replay).output().unwrap();
    assert_code(&output, 1);
    let stored = there(&server).await;
    assert_eq!(stored.len(), 2, "{}", stderr(&output));
    assert!(stored[1].headers.get("Nats-TTL").is_some());
    let dead = ["dead", as_text(&spool)];
    let output = command("spool", &dead).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("it expired at 20"), "{text}");
}

#[test]
fn an_expirytime_that_is_no_timestamp_is_a_bad_line() {
    for mode in ["structured", "binary"] {
        let flags = [
            "--subject=e",
            "--dry-run",
            "--ttl-from=expirytime",
            "--mode",
            mode,
        ];
        let output = with_input(&flags, expiring(1, "tomorrow").as_bytes());
        assert_code(&output, 1);
        let text = stderr(&output);
        assert!(
            text.contains("attribute `expirytime` must be a timestamp of RFC 3339"),
            "{text}"
        );
        // Without the flag it is an attribute as any other.
        let output = with_input(
            &["--subject=e", "--dry-run", "--mode", mode],
            expiring(1, "tomorrow").as_bytes(),
        );
        assert_code(&output, 0);
    }
}
