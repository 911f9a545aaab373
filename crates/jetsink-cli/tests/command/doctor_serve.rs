//! `jetsink doctor --serve`.

use std::io::Read as _;
use std::time::{Duration, Instant};

use nats_local::NatsServer;
use nix::sys::signal::Signal;

use crate::doctor::Diagnosis;
use crate::serve::support::{Gateway, PATIENCE, gateway_flags, post, request};
use crate::support::*;

fn doctor(url: &str) -> Diagnosis {
    Diagnosis::of(
        &command("doctor", &["--serve", url, "--json"])
            .output()
            .unwrap(),
    )
}

#[tokio::test]
async fn gateway_is_examined_by_its_admin_address() {
    let mut server = server().await;
    let url = server.url();
    let folder = tempfile::tempdir().unwrap();
    let spool = as_text(&folder.path().join("spool")).to_owned();
    let mut gateway = Gateway::start(&gateway_flags(
        &url,
        &["--admin-listen", "127.0.0.1:0", "--spool", &spool],
    ));
    let events = format!("http://{}", gateway.line("listening on http://"));
    let admin = gateway.line("status at ");
    let healthy = doctor(&admin);
    assert_eq!(
        (healthy.code, healthy.found.len()),
        (0, 0),
        "{}",
        healthy.text
    );
    for text in [
        "is jetsink serve",
        "nats-server 2.",
        "0 events in its spool",
    ] {
        assert!(healthy.text.contains(text), "{text}: {}", healthy.text);
    }
    doctor(&events).has("problem", "gateway.foreign");
    doctor(&url.replace("nats://", "http://")).has("problem", "gateway.foreign");
    server.kill().unwrap();
    let address = events.strip_prefix("http://").unwrap();
    assert_eq!(post(address, "/", &event(1)).0, 202);
    assert_eq!(post(address, "/", "{}").0, 400);
    let away = doctor(&admin);
    away.has("warning", "gateway.circuit");
    away.has("warning", "gateway.refusals");
    drop(gateway);
    doctor(&admin).has("problem", "gateway.unreachable");
    let wrong = command("doctor", &["--serve", "https://localhost"]).output();
    assert_code(&wrong.unwrap(), 2);
}

// A user's finding: each page for operators said that the broker is away, and the client logged an error per attempt.
#[tokio::test]
async fn refused_login_of_a_gateway_is_named_to_operators_only() {
    const REASON: &str = "the broker refuses this login";
    let server = NatsServer::builder()
        .user_and_password("app", "hunter2")
        .start()
        .await
        .unwrap();
    let login = ["--user", "app", "--password", "sw0rdfish"];
    let url = server.url();
    let flags = [&["--admin-listen", "127.0.0.1:0"][..], &login].concat();
    let mut gateway = Gateway::start(&gateway_flags(&url, &flags));
    let events = gateway.line("listening on http://");
    let admin = gateway.line("metrics at ");
    let admin = admin.strip_suffix("/metrics").unwrap();
    let page = |path: &str| {
        let address = admin.strip_prefix("http://").unwrap();
        request(address, &format!("GET {path} HTTP/1.1"), "").1
    };
    let started = Instant::now();
    while !page("/readyz").contains(REASON) {
        assert!(started.elapsed() < PATIENCE, "{}", page("/readyz"));
        std::thread::sleep(Duration::from_millis(10));
    }
    let before_an_event = doctor(admin);
    before_an_event.has("problem", "gateway.circuit");
    let (code, answer) = post(&events, "/", &event(1));
    assert_eq!(code, 503, "{answer}");
    assert!(!answer.contains(&url), "{answer}");
    let after_it = doctor(admin);
    after_it.has("problem", "gateway.circuit");
    let pages = ["/readyz", "/status", "/status.json"].map(page);
    for text in [before_an_event.text, after_it.text].iter().chain(&pages) {
        assert!(text.contains(REASON), "{text}");
        assert!(!text.contains("sw0rdfish"), "{text}");
    }
    gateway.signal(Signal::SIGTERM);
    let mut log = String::new();
    gateway.stderr.read_to_string(&mut log).unwrap();
    assert!(!log.contains("async_nats"), "{log}");
}
