//! Bodies that are slow, too large, or refused.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::Request;
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jetsink_serve::{Access, GatewaySettings, MaxBytes, NewToken, ServerSettings, TlsSettings};
use nats_local::TlsFiles;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tower_service::Service as _;

use crate::common::*;
use crate::support::*;

#[tokio::test]
async fn sender_is_refused_before_its_body_is_read() {
    let broker = broker().await;
    let file = access_file("");
    let access = Access::from_file(file.path()).unwrap();
    let gateway = gateway_of(&broker, GatewaySettings::default().access(access)).await;
    let running = serving(gateway, tcp(None).await, ServerSettings::default());
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n\
                expect: 100-continue\r\ncontent-length: 100000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut start))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        &start, b"HTTP/1.1 401",
        "no 100 Continue, and no wait for the body"
    );
}

// A reviewer's finding: the gateway read the body that it had refused.
#[tokio::test]
async fn too_large_body_that_its_client_holds_back_is_not_asked_for() {
    let broker = broker().await;
    let gateway = gateway_of(&broker, GatewaySettings::default()).await;
    for (held_back, expected) in [(true, false), (false, true)] {
        let is_read = Arc::new(AtomicBool::new(false));
        let read = Arc::clone(&is_read);
        let body = futures_util::stream::poll_fn(move |_| {
            read.store(true, Ordering::Relaxed);
            Poll::Ready(None::<Result<Bytes, Infallible>>)
        });
        let mut request = Request::post("/")
            .header("content-type", "application/cloudevents+json")
            .header("content-length", "100000000");
        if held_back {
            request = request.header("expect", "100-continue");
        }
        let request = request.body(Body::from_stream(body)).unwrap();
        let answer = gateway.router().call(request).await.unwrap();
        assert_eq!(answer.status(), 413);
        let started = Instant::now();
        while Arc::strong_count(&is_read) > 1 {
            assert!(started.elapsed() < PATIENCE, "the body is not dropped");
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(is_read.load(Ordering::Relaxed), expected);
    }
}

// A user's finding: curl reported an error of the stream instead of the answer, and httpx waited for its timeout.
#[tokio::test]
async fn early_answer_over_http_2_lets_the_client_send_its_body() {
    const FRAMES: usize = 64;
    let broker = broker().await;
    let files = TlsFiles::generate(false).unwrap();
    let tls = TlsSettings::load(&files.server_certificate, &files.server_key, None).unwrap();
    let gateway = gateway_of(&broker, GatewaySettings::default()).await;
    let running = serving(gateway, tcp(Some(tls)).await, ServerSettings::default());
    let stream = tls_client(running.address, &files, None, b"h2").await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let frames = (0..FRAMES).map(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; 64 << 10])))
    });
    let request = Request::post("https://localhost/")
        .header("content-type", "application/cloudevents+json")
        .body(StreamBody::new(futures_util::stream::iter(frames)))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 413);
    let all_sent = async {
        while sent.load(Ordering::Relaxed) < FRAMES {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = timeout(PATIENCE, all_sent).await;
    in_time.expect("the stream was reset while its body was sent");
}

// A reviewer's finding: each announced length took its bytes from the budget of all before any byte arrived.
#[tokio::test]
async fn slow_clients_that_announce_large_bodies_leave_the_budget_to_others() {
    let broker = broker().await;
    let max_bytes = MaxBytes {
        body: 1 << 20,
        decompressed: 1 << 20,
        in_flight: 4 << 20,
    };
    let settings = GatewaySettings::default().max_bytes(max_bytes).unwrap();
    let gateway = gateway_of(&broker, settings).await;
    let running = serving(gateway, tcp(None).await, ServerSettings::default());
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n\
                    content-length: 1000000\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    sleep(Duration::from_millis(200)).await;
    let large = event("1", &format!(r#","data":"{}""#, "x".repeat(900_000)));
    let reply = running.post(&[STRUCTURED], large).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    drop(slow);
}

/// Sends a body in small parts, then reads the answer.
async fn answer_after_body(address: SocketAddr, head: &str, bytes: usize) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let part = [b' '; 64 << 10];
    for _ in 0..bytes / part.len() {
        stream
            .write_all(&part)
            .await
            .expect("the connection was reset");
    }
    // The answer waits in the client's buffer meanwhile.
    sleep(Duration::from_millis(100)).await;
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .await
        .expect("the connection was reset");
    parse(&answer)
}

// A reviewer's finding: refusals before the body was read were lost to a reset, and senders repeat without an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_sends_a_large_body_first_gets_the_refusal() {
    // The limit of a body, and less than is read of an accepted sender's.
    const SMALL: usize = 1 << 20;
    const SIZE: usize = 15 << 20;
    let broker = broker().await;
    let token = NewToken::random().unwrap();
    let file = access_file(&token.entry("one", &[">".to_owned()], &[]));
    let access = Access::from_file(file.path()).unwrap();
    let gateway = gateway_of(&broker, GatewaySettings::default().access(access)).await;
    let running = serving(gateway, tcp(None).await, ServerSettings::default());
    let known = format!("authorization: {}\r\n", bearer(&token));
    let structured = "content-type: application/cloudevents+json\r\n";
    let text = known.clone() + "content-type: text/plain\r\n";
    let encoded = known.clone() + structured + "content-encoding: br\r\n";
    let evil = "host: evil.example\r\n".to_owned();
    for (method, path, status, headers, size) in [
        ("POST", "/", 401, structured.to_owned(), SMALL),
        ("POST", "/", 413, known.clone() + structured, SIZE),
        ("POST", "/", 415, text, SIZE),
        ("POST", "/", 415, encoded, SIZE),
        ("POST", "/", 421, evil, SMALL),
        ("PUT", "/", 405, known.clone(), SMALL),
        ("POST", "/other", 404, known.clone(), SMALL),
        ("OPTIONS", "/", 200, known.clone(), SMALL),
    ] {
        let host = if status == 421 {
            ""
        } else {
            "host: localhost\r\n"
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{host}{headers}connection: close\r\ncontent-length: {size}\r\n\r\n"
        );
        let answer = answer_after_body(running.address, &head, size).await;
        assert_eq!(answer.status, status);
    }
    // The size of a chunked body shows only while it is read.
    let head = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\n{known}{structured}connection: close\r\n\
         transfer-encoding: chunked\r\n\r\n{SIZE:x}\r\n"
    );
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; SIZE]).await.unwrap();
    stream.write_all(b"\r\n0\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(parse(&answer).status, 413);
}

#[tokio::test]
async fn body_that_stops_after_its_refusal_does_not_hold_the_connection() {
    let broker = broker().await;
    let running = without_spool(&broker, "events.all").await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let head = "PUT / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n ";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    // The end may be a reset, since a byte of the body may be unread.
    let _ = read.expect("the connection stays open");
    assert_eq!(parse(&answer).status, 405);
}

// A reviewer's finding: a client's deadline began after the body, and a body that stalled was refused after 10 s.
#[tokio::test]
async fn deadline_of_a_client_includes_its_body() {
    let broker = broker().await;
    let running = without_spool(&broker, "events.all").await;
    for header in ["request-timeout: 0.3", "prefer: wait=1"] {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n\
             connection: close\r\n{header}\r\ncontent-length: 100\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .unwrap();
        let answer = parse(&answer);
        assert_eq!(answer.problem(), "slow-body");
        let detail = answer.json()["detail"].to_string();
        let time = if header.contains("0.3") {
            "300ms"
        } else {
            "1s"
        };
        assert!(detail.contains(time), "{detail}");
    }
    broker.freeze().unwrap();
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let body = event("1", "");
    let head = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n\
         connection: close\r\nrequest-timeout: 1\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    sleep(Duration::from_millis(200)).await;
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(parse(&answer).problem(), "outcome-unknown");
    broker.thaw().unwrap();
}
