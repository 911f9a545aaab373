//! The pages for operators.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::*;
use jetsink::SpoolSettings;
use jetsink_serve::{AdminPages, GatewaySettings, Listener, Readiness};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Serves the pages of a gateway.
async fn admin(running: &Running) -> (SocketAddr, JoinHandle<()>) {
    let sink = running.gateway.sink().clone();
    let pages = AdminPages::new(Vec::new(), String::new);
    pages.show(running.gateway.clone(), move || sink.publisher().into());
    let listener = Listener::tcp("127.0.0.1:0".parse().unwrap(), None)
        .await
        .unwrap();
    let address = listener.address().unwrap();
    let serving = tokio::spawn(pages.serve(listener));
    (address, serving)
}

async fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    exchange(&mut stream, "GET", path, headers, b"").await
}

#[tokio::test]
async fn status_page_and_its_json_show_the_gateway_and_check_the_host() {
    let broker = broker().await;
    let running = without_spool(&broker, "events.all").await;
    assert_eq!(
        running.post(&[STRUCTURED], event("1", "")).await.status,
        202
    );
    assert_eq!(running.post(&[STRUCTURED], "{}").await.status, 400);
    let (address, serving) = admin(&running).await;
    let json = get(address, "/status.json", &[]).await.json();
    assert_eq!(json["gateway"]["readiness"], "ready");
    let version = broker
        .jetstream()
        .await
        .unwrap()
        .client()
        .server_info()
        .version;
    assert_eq!(json["broker"]["version"], version);
    assert_eq!(json["broker"]["circuit"], "connected");
    assert_eq!(json["broker"]["delivered"], 1);
    assert!(json["spool"].is_null());
    assert_eq!(json["last_hour"]["events"], 1);
    assert_eq!(json["last_hour"]["refused"], 1);
    assert_eq!(json["last_hour"]["minutes"].as_array().unwrap().len(), 1);
    assert_eq!(json["refusals"][0]["problem"], "invalid-event");
    let page = get(address, "/status", &[]).await;
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(
        String::from_utf8(page.body)
            .unwrap()
            .contains("1 event accepted")
    );
    for path in ["/status", "/status.json"] {
        let rebound = get(address, path, &[("host", "evil.example")]).await;
        assert_eq!(rebound.problem(), "wrong-host", "{path}");
    }
    serving.abort();
}

#[tokio::test]
async fn status_shows_an_outage_with_the_age_of_the_oldest_spooled_event() {
    let mut broker = broker().await;
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(&broker, Some(folder.path())).await;
    let running = running(sink, "events.all", GatewaySettings::default()).await;
    let (address, serving) = admin(&running).await;
    broker.kill().unwrap();
    let answer = running.post(&[STRUCTURED], event("1", "")).await;
    assert_eq!(answer.header("jetsink-outcome"), "spooled");
    let wait = async {
        loop {
            let json = get(address, "/status.json", &[]).await.json();
            if json["spool"]["oldest_seconds"].as_u64() >= Some(1) {
                return json;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let json = timeout(Duration::from_secs(20), wait).await.unwrap();
    assert_eq!(json["broker"]["circuit"], "reconnecting");
    assert!(json["broker"]["version"].is_null());
    assert_eq!(json["spool"]["events"], 1);
    broker.restart().await.unwrap();
    let wait = async {
        loop {
            let json = get(address, "/status.json", &[]).await.json();
            if json["spool"]["events"] == 0 {
                return json;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let json = timeout(Duration::from_secs(20), wait).await.unwrap();
    assert!(json["spool"]["oldest_seconds"].is_null());
    assert_eq!(json["broker"]["circuit"], "connected");
    serving.abort();
}

// A reviewer's finding: it stayed unready although the broker was back and direct events were stored.
#[tokio::test]
async fn full_spool_makes_the_gateway_unready_only_while_the_broker_is_away() {
    let mut broker = broker().await;
    let folder = tempfile::tempdir().unwrap();
    let spool = SpoolSettings::new(folder.path())
        .limit_bytes(300_000)
        .unwrap();
    let sink = sink_with(&broker.url(), Some(spool)).await;
    // No stream captures the events of the first type: they stay in the spool.
    let running = running(sink, "events.{type}.all", GatewaySettings::default()).await;
    broker
        .jetstream()
        .await
        .unwrap()
        .delete_stream("EVENTS")
        .await
        .unwrap();
    broker
        .create_stream("EVENTS", &["events.stored.>"])
        .await
        .unwrap();
    let (address, serving) = admin(&running).await;
    let large = format!(r#","data":"{}""#, "x".repeat(100_000));
    let mut number = 0;
    loop {
        number += 1;
        let reply = running
            .post(&[STRUCTURED], event(&number.to_string(), &large))
            .await;
        if reply.status == 503 && reply.problem() == "spool-full" {
            break;
        }
        assert!(number < 10, "{reply:?}");
    }
    let stored = event("stored", "").replace(r#""type":"t""#, r#""type":"stored""#);
    assert_eq!(
        running
            .post(&[STRUCTURED], stored)
            .await
            .header("jetsink-outcome"),
        "stored"
    );
    assert_eq!(get(address, "/readyz", &[]).await.status, 200);
    broker.kill().unwrap();
    let wait = async {
        while running.gateway.readiness() != Readiness::SpoolFull {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), wait).await.unwrap();
    assert_eq!(get(address, "/readyz", &[]).await.status, 503);
    broker.restart().await.unwrap();
    let wait = async {
        while get(address, "/readyz", &[]).await.status != 200 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), wait).await.unwrap();
    serving.abort();
}

// A reviewer's finding: a client that went away counted as one that had sent a malformed request.
#[tokio::test]
async fn client_that_goes_away_within_its_body_is_abandoned_and_wrong_chunks_are_malformed() {
    let broker = broker().await;
    let running = without_spool(&broker, "events.all").await;
    let (address, serving) = admin(&running).await;
    let head =
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n";
    let send = async |rest: &str, read: bool| {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let request = format!("{head}{rest}");
        stream.write_all(request.as_bytes()).await.unwrap();
        sleep(Duration::from_millis(100)).await;
        let mut answer = Vec::new();
        if read {
            let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        }
        answer
    };
    send("content-length: 100\r\n\r\n{", false).await;
    send("transfer-encoding: chunked\r\n\r\n64\r\n{", false).await;
    send("transfer-encoding: chunked\r\n\r\n1\r\n{\r\n6", false).await;
    let wrong = send("transfer-encoding: chunked\r\n\r\nno\r\n", true).await;
    assert_eq!(parse(&wrong).problem(), "malformed-request");
    let hour = || async { get(address, "/status.json", &[]).await.json()["last_hour"].clone() };
    let counted = async {
        while hour().await["abandoned"] != 3 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let counted = timeout(Duration::from_secs(20), counted).await;
    assert!(counted.is_ok(), "{}", hour().await);
    assert_eq!(hour().await["refused"], 1, "the wrong chunks");
    serving.abort();
}
