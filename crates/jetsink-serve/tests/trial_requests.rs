//! Trial: requests with random damage. The gateway stays up, stores only valid events, and stores each one that it
//! answered with `202`.
//!
//! `JETSINK_TRIAL_COUNT=100000 cargo test --release -p jetsink-serve --test trial_requests -- --nocapture`

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::*;
use jetsink::CloudEvent;
use jetsink_serve::{GatewaySettings, ServerSettings};
use trial::{Dice, Trial};

const PATIENCE: Duration = Duration::from_secs(20);

/// Pieces that matter to a reader of HTTP, of the binding, or of JSON.
const PIECES: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\0",
    "%",
    "%FF",
    "%00",
    "\"",
    "\\",
    "ce-",
    "ce-id: 2\r\n",
    "CE-SUBJECT: x\r\n",
    "Nats-Msg-Id: x\r\n",
    "content-type: application/cloudevents-batch+json\r\n",
    "content-length: 0\r\n",
    "content-length: 99999999999999999999\r\n",
    "transfer-encoding: chunked\r\n",
    "content-encoding: gzip\r\n",
    "expect: 100-continue\r\n",
    "prefer: wait=0\r\n",
    "[",
    "]",
    "{",
    "}",
    ",",
    "null",
    "1e999",
    "\\ud800",
    "ü",
    "\u{7f}",
    "application/cloudevents+json",
    "HTTP/1.0",
    "OPTIONS ",
    "..",
    "specversion",
];

fn valid(dice: &mut Dice, number: u64) -> Vec<u8> {
    let one = |id: u64| {
        event(
            &format!("{number}-{id}"),
            r#","subject":"s","data":{"tenantId":"acme","n":[1,{"a":null}]}"#,
        )
    };
    let (head, body) = match dice.below(3) {
        0 => (
            "content-type: application/cloudevents+json\r\n".to_owned(),
            one(0),
        ),
        1 => {
            let events: Vec<String> = (0..dice.below(4)).map(one).collect();
            (
                "content-type: application/cloudevents-batch+json\r\n".to_owned(),
                format!("[{}]", events.join(",")),
            )
        }
        _ => {
            let head = format!(
                "ce-specversion: 1.0\r\nce-id: {number}\r\nce-source: /s\r\nce-type: t\r\nce-subject: gr%C3%B6%C3%9Fe\r\n\
                 ce-time: 2026-01-01T00:00:00Z\r\ncontent-type: application/json\r\n"
            );
            (head, r#"{"tenantId":"acme"}"#.to_owned())
        }
    };
    let request = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\n{head}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    request.into_bytes()
}

fn damage(dice: &mut Dice, request: &mut Vec<u8>) {
    for _ in 0..dice.below(4) {
        let at = dice.index(request.len() + 1);
        match dice.below(5) {
            0 if at < request.len() => request[at] = u8::try_from(dice.below(256)).unwrap(),
            1 => {
                let piece = dice.one_of(PIECES).as_bytes().to_vec();
                request.splice(at..at, piece);
            }
            2 => {
                let end = (at + dice.index(20)).min(request.len());
                request.drain(at..end);
            }
            3 => {
                let end = (at + dice.index(60)).min(request.len());
                let copy = request[at..end].to_vec();
                request.splice(at..at, copy);
            }
            _ => {
                let noise = dice.bytes(4);
                request.splice(at..at, noise);
            }
        }
    }
}

/// Sends the bytes and reads all answers.
fn exchange_raw(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A server that refuses the request may close before all of it is written.
    let _ = stream.write_all(request);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_ne!(
            error.kind(),
            std::io::ErrorKind::WouldBlock,
            "no answer to {}",
            request.escape_ascii()
        );
    }
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_requests_store_only_valid_events_and_each_that_was_accepted() {
    let trial = Trial::new("gateway-requests", 400);
    let broker = broker().await;
    let settings = GatewaySettings::default()
        .body_time(Duration::from_secs(2))
        .unwrap();
    let server = ServerSettings::default()
        .header_time(Duration::from_secs(2))
        .unwrap();
    let route = jetsink_serve::Route::new("/", "events.{tenantId}".parse().unwrap()).unwrap();
    let sink = sink(&broker, None).await;
    let gateway = jetsink_serve::Gateway::new(sink, vec![route], settings).unwrap();
    let listener = jetsink_serve::Listener::tcp("127.0.0.1:0".parse().unwrap(), None)
        .await
        .unwrap();
    let running = serving(gateway, listener, server);
    let (number, sequence) = (AtomicU64::new(0), AtomicU64::new(0));
    tokio::task::block_in_place(|| {
        trial.run(|dice| {
            let number = number.fetch_add(1, Ordering::Relaxed);
            let mut request = valid(dice, number);
            damage(dice, &mut request);
            let answer = exchange_raw(running.address, &request);
            let text = String::from_utf8_lossy(&answer).into_owned();
            assert!(text.is_empty() || text.starts_with("HTTP/1."), "{text}");
            assert!(
                !text.contains(" 500 ") && !text.contains("panicked"),
                "{text}"
            );
            // The last sequence that was acknowledged to a client.
            for line in text.lines() {
                if let Some(stored) = line.strip_prefix("jetsink-sequence: ") {
                    sequence.fetch_max(stored.parse().unwrap(), Ordering::Relaxed);
                }
            }
        });
    });
    assert_eq!(
        running.post(&[STRUCTURED], event("last", "")).await.status,
        202
    );
    let messages = messages(&broker).await;
    assert!(
        messages.len() as u64 > sequence.load(Ordering::Relaxed),
        "an accepted event is not stored"
    );
    for message in &messages {
        assert!(
            message.subject.starts_with("events."),
            "{}",
            message.subject
        );
        for (name, _) in message.headers.iter() {
            let name = name.to_string();
            let is_ours = name.starts_with("ce-")
                || ["content-type", "Nats-Msg-Id", "traceparent", "tracestate"]
                    .contains(&name.as_str());
            assert!(is_ours, "header {name} was forwarded");
        }
        if header(message, "content-type") == Some("application/cloudevents+json") {
            CloudEvent::from_json(&message.payload).unwrap();
        } else {
            for name in ["ce-specversion", "ce-id", "ce-source", "ce-type"] {
                assert!(
                    header(message, name).is_some_and(|value| !value.is_empty()),
                    "{name}"
                );
            }
        }
    }
}
