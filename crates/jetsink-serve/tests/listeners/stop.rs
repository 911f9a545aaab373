//! The orderly stop.

use std::time::Duration;

use jetsink_serve::{Access, GatewaySettings, NewToken, Readiness, Server, ServerSettings};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::common::*;
use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_waits_for_requests_in_flight_and_one_credential_has_half_of_the_places() {
    let broker = broker().await;
    let one = NewToken::random().unwrap();
    let other = NewToken::random().unwrap();
    let all = [">".to_owned()];
    let file = access_file(&(one.entry("one", &all, &[]) + &other.entry("other", &all, &[])));
    let access = Access::from_file(file.path()).unwrap();
    let settings = GatewaySettings::default()
        .access(access)
        .max_requests(4)
        .unwrap();
    let gateway = gateway_of(&broker, settings).await;
    let running = serving(gateway.clone(), tcp(None).await, ServerSettings::default());
    let address = running.address;
    let post = |token: &NewToken, id: &str| {
        let (authorization, body) = (bearer(token), event(id, ""));
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let headers = [STRUCTURED, ("authorization", authorization.as_str())];
            exchange(&mut stream, "POST", "/", &headers, body.as_bytes()).await
        })
    };
    assert_eq!(post(&one, "0").await.unwrap().status, 202);
    broker.freeze().unwrap();
    let waiting = [post(&one, "1"), post(&one, "2")];
    let started = Instant::now();
    while gateway.sink().status().in_flight < 2 {
        assert!(
            started.elapsed() < PATIENCE,
            "two requests are not in flight"
        );
        sleep(Duration::from_millis(5)).await;
    }
    let refused = post(&one, "3").await.unwrap();
    assert_eq!(
        (refused.status, refused.problem().as_str()),
        (429, "too-many-requests")
    );
    assert_eq!(refused.header("retry-after"), "1");
    let others = post(&other, "4");
    while gateway.sink().status().in_flight < 3 {
        assert!(
            started.elapsed() < PATIENCE,
            "the other credential has no place"
        );
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(gateway.readiness(), Readiness::Ready);
    gateway.begin_stop();
    assert_eq!(gateway.readiness(), Readiness::Stopping);
    let stopping = tokio::spawn(running.stop());
    sleep(Duration::from_millis(100)).await;
    assert!(
        TcpStream::connect(address).await.is_err(),
        "the listener is closed"
    );
    broker.thaw().unwrap();
    for reply in waiting.into_iter().chain([others]) {
        assert_eq!(reply.await.unwrap().status, 202);
    }
    assert!(stopping.await.unwrap(), "all requests have ended");
}

// A reviewer's finding: `nc HOST PORT` and silence held the stop until --stop-time, and the exit code was 1.
#[tokio::test]
async fn connections_without_a_request_do_not_hold_the_stop() {
    let broker = broker().await;
    let gateway = gateway_of(&broker, GatewaySettings::default()).await;
    let plain = serving(gateway, tcp(None).await, ServerSettings::default());
    let mut half = TcpStream::connect(plain.address).await.unwrap();
    half.write_all(b"POST / HT").await.unwrap();

    let (_broker, files, secure) = tls_server(ServerSettings::default()).await;
    let _silent = TcpStream::connect(secure.address).await.unwrap();
    let (mut sender, _ended) = taking(&secure, &files, 0).await;
    let refused = sender.send_request(of_method("POST")).await.unwrap();
    assert_eq!(refused.status(), 401);
    sleep(Duration::from_millis(200)).await;

    let started = Instant::now();
    let (plain, secure) = tokio::join!(plain.stop(), secure.stop());
    assert!(plain && secure, "no request was in flight");
    assert!(started.elapsed() < Duration::from_secs(6));
}

#[tokio::test]
async fn stop_reports_a_request_that_it_cut_off() {
    let broker = broker().await;
    let gateway = gateway_of(&broker, GatewaySettings::default()).await;
    let listener = tcp(None).await;
    let address = listener.address().unwrap();
    let server = Server::new(&gateway, vec![listener], ServerSettings::default()).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let stop = async {
            let _ = stopped.await;
        };
        server
            .serve(&gateway, stop, Duration::from_millis(300))
            .await
    });
    let idle = TcpStream::connect(address).await.unwrap();
    let slow = in_flight(address).await;
    stop.send(()).unwrap();
    let all_ended = timeout(PATIENCE, serving).await.unwrap().unwrap();
    assert!(!all_ended, "the request had no answer");
    drop((idle, slow));
}

// A reviewer's finding: answers that a client never took stayed for ever, without a credential.
#[tokio::test]
async fn http_2_client_that_takes_no_answer_is_disconnected() {
    // With a window of a byte, the answer is in the buffers of h2.
    for window in [0, 1] {
        let settings = ServerSettings::default()
            .header_time(Duration::from_millis(500))
            .unwrap();
        let (_broker, files, running) = tls_server(settings).await;
        let (mut sender, ended) = taking(&running, &files, window).await;
        let mut answers = Vec::new();
        for _ in 0..20 {
            let answer = sender.send_request(of_method("POST")).await.unwrap();
            assert_eq!(answer.status(), 401);
            answers.push(answer);
        }
        let started = Instant::now();
        while !ended.is_finished() {
            assert!(started.elapsed() < PATIENCE, "window {window}: it stays");
            if sender.send_request(of_method("OPTIONS")).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        timeout(PATIENCE, ended).await.unwrap().unwrap();
        assert!(running.stop().await);
    }
}
