//! Routes, and the end.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::serve::support::*;
use crate::support::*;

#[tokio::test]
async fn routes_have_their_subjects_and_a_signal_ends_it_in_order() {
    let server = server().await;
    let url = server.url();
    let mut gateway = Gateway::start(&gateway_flags(
        &url,
        &[
            "--route",
            "/orders=events.orders.{type}",
            "--admin-listen",
            "127.0.0.1:0",
            "--drain-delay",
            "1s",
        ],
    ));
    let address = gateway.line("listening on http://");
    let admin = gateway.line("metrics at http://");
    let admin = admin.strip_suffix("/metrics").unwrap().to_owned();
    assert_eq!(post(&address, "/", &event(1)).0, 202);
    assert_eq!(post(&address, "/orders", &event(2)).0, 202);
    assert_eq!(post(&address, "/other", &event(3)).0, 404);
    assert_eq!(
        (get(&admin, "/readyz"), get(&admin, "/healthz")),
        (200, 200)
    );
    let metrics = request(&admin, "GET /metrics HTTP/1.1", "").1;
    assert!(
        metrics.contains(r#"jetsink_serve_requests_total{answer="accepted"} 2"#),
        "{metrics}"
    );
    assert!(
        metrics.contains("jetsink_serve_request_duration_seconds_count 3"),
        "the unknown path has its time, too: {metrics}"
    );
    let started = Instant::now();
    loop {
        let metrics = request(&admin, "GET /metrics HTTP/1.1", "").1;
        // Not the one of this request.
        if metrics.contains("jetsink_serve_connections 0") {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{metrics}");
        std::thread::sleep(Duration::from_millis(10));
    }
    for secret in ["orders", "events.", "acme"] {
        assert!(!metrics.contains(secret), "a label says {secret}");
    }
    gateway.signal(Signal::SIGTERM);
    let started = Instant::now();
    while get(&admin, "/readyz") != 503 {
        assert!(
            started.elapsed() < Duration::from_millis(900),
            "not ready is reported first"
        );
    }
    assert_eq!(
        post(&address, "/", &event(4)).0,
        202,
        "within the drain delay"
    );
    assert_eq!(
        gateway.line("delivered "),
        "3, left in the spool 0, of unknown outcome 0, dead letters 0"
    );
    assert_eq!(gateway.code(), Some(0));
    let subjects: Vec<String> = there(&server)
        .await
        .into_iter()
        .map(|message| message.subject.to_string())
        .collect();
    assert_eq!(subjects.len(), 3);
    assert!(subjects[1].starts_with("events.orders."), "{subjects:?}");
}
