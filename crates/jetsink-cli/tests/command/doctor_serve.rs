//! `jetsink doctor --serve`.

use crate::doctor::Diagnosis;
use crate::serve::support::{Gateway, gateway_flags, post};
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
