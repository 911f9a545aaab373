//! Headers that are slow or too long.

use std::time::Duration;

use jetsink_serve::{GatewaySettings, ServerSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::common::*;
use crate::support::*;

#[tokio::test]
async fn slow_headers_slow_bodies_and_long_headers_end() {
    let broker = broker().await;
    let settings = GatewaySettings::default()
        .body_time(Duration::from_millis(300))
        .unwrap();
    let gateway = gateway_of(&broker, settings).await;
    let server = ServerSettings::default()
        .header_time(Duration::from_millis(300))
        .and_then(|server| server.max_header_bytes(8 << 10))
        .unwrap();
    let running = serving(gateway, tcp(None).await, server);
    let connect = async |start: &[u8]| {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(start).await.unwrap();
        let mut answer = Vec::new();
        // A server that closes early may reset the connection.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("the connection stays open");
        answer
    };
    let idle = connect(b"").await;
    assert!(idle.is_empty() || parse(&idle).status == 408, "{idle:?}");
    let slow_head = connect(b"POST / HTTP/1.1\r\nhost: loc").await;
    assert!(
        slow_head.is_empty() || parse(&slow_head).status == 408,
        "{slow_head:?}"
    );
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\ncontent-length: 10\r\n\r\n{";
    let slow_body = parse(&connect(head.as_bytes()).await);
    assert_eq!(
        (slow_body.status, slow_body.problem().as_str()),
        (408, "slow-body")
    );
    let long = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
        "x".repeat(20_000)
    );
    assert_eq!(parse(&connect(long.as_bytes()).await).status, 431);
    for head in ["", "host: localhost\r\nhost: localhost\r\n"] {
        let head = format!("POST / HTTP/1.1\r\n{head}connection: close\r\n\r\n");
        let answer = parse(&connect(head.as_bytes()).await);
        assert_eq!(answer.problem(), "malformed-request", "{head}");
    }
}

// A user's finding: 45 KB of headers that arrived at once were accepted, because the parser's buffer had room for them.
#[tokio::test]
async fn headers_over_the_limit_are_refused_however_they_arrive() {
    let broker = broker().await;
    let gateway = gateway_of(&broker, GatewaySettings::default()).await;
    let running = serving(gateway, tcp(None).await, ServerSettings::default());
    for (lines, part, status) in [
        (58, usize::MAX, 202),
        (70, usize::MAX, 431),
        (90, usize::MAX, 431),
        (58, 9_000, 202),
        (70, 9_000, 431),
    ] {
        let body = event(&format!("{lines}-{part}"), "");
        let lines = format!("x: {}\r\n", "y".repeat(500)).repeat(lines);
        let request = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/cloudevents+json\r\ncontent-length: {}\r\n{lines}\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        for part in request.as_bytes().chunks(part) {
            // A server that refuses the request closes before all of it is written.
            let _ = stream.write_all(part).await;
            sleep(Duration::from_millis(20)).await;
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(parse(&answer).status, status, "{}", request.len());
    }
}
