//! `jetsink audit`, against streams with planted faults.

use std::process::Output;

use async_nats::HeaderMap;
use bytes::Bytes;
use nats_fixture::NatsServer;

use crate::support::*;

fn audit(server: &NatsServer, arguments: &[&str]) -> Output {
    let url = server.url();
    command("audit", &["--stream", "EVENTS", "-s", &url])
        .args(arguments)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn store(server: &NatsServer, subject: &str, id: Option<&str>, payload: &Bytes) {
    let mut headers = HeaderMap::new();
    if let Some(id) = id {
        headers.insert("Nats-Msg-Id", id);
    }
    let jetstream = server.jetstream().await.unwrap();
    let (subject, payload) = (subject.to_owned(), payload.clone());
    let sent = jetstream.publish_with_headers(subject, headers, payload);
    sent.await.unwrap().await.unwrap();
}

#[tokio::test]
async fn what_publish_stored_is_clean_with_its_file_and_without() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let file = file_of(&folder, "events.jsonl", &lines(2_000));
    let file = as_text(&file);
    let url = server.url();
    assert_code(&run(&["-s", &url, "--subject", "events.all", file]), 0);

    let output = audit(&server, &[file]);
    assert_code(&output, 0);
    assert_eq!(
        stdout(&output),
        "EVENTS: 2,000 messages for 2,000 lines: 0 lost, 0 altered, 0 duplicated, 0 out of order, \
         0 unexpected\n"
    );
    let output = audit(&server, &["--json"]);
    assert_code(&output, 0);
    let found = json(&output);
    let sink = &found["sinks"][0];
    assert_eq!(
        (&sink["messages"], &sink["last"]),
        (&2_000.into(), &2_000.into())
    );
    assert_eq!(found["other_messages"], 0);
}

#[tokio::test]
async fn each_planted_fault_is_told_by_its_place() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let sent = lines(6);
    let file = file_of(&folder, "events.jsonl", &sent);
    let may = file_of(&folder, "may.jsonl", &[Bytes::from(event(77))]);
    let altered = Bytes::from(event(4).replace("acme", "evil"));
    let stranger = Bytes::from(event(99));
    // 0 and 2, then 1 late, 3 twice, 4 altered, 5 lost, 99 nobody's, and one that may be there.
    let stored = [
        &sent[0], &sent[2], &sent[1], &sent[3], &sent[3], &altered, &stranger,
    ];
    for payload in stored {
        store(&server, "events.a", None, payload).await;
    }
    store(&server, "events.a", Some("m"), &Bytes::from(event(77))).await;
    let output = audit(&server, &[as_text(&file), "--may", as_text(&may), "--json"]);
    assert_code(&output, 1);
    let found = json(&output);
    let only = |kind: &str| {
        assert_eq!(found[kind]["count"], 1, "{kind}: {found}");
        found[kind]["listed"][0].clone()
    };
    let lost = only("lost");
    assert_eq!((&lost["line"], &lost["id"]), (&6.into(), &"5".into()));
    let altered = only("altered");
    assert_eq!(
        (&altered["line"], &altered["sequence"]),
        (&5.into(), &6.into())
    );
    assert_eq!(only("out_of_order")["sequence"], 3);
    assert_eq!(only("duplicated")["sequence"], 5);
    assert_eq!(only("unexpected")["sequence"], 7);

    let output = audit(
        &server,
        &[as_text(&file), "--may", as_text(&may), "--show", "0"],
    );
    let text = stdout(&output);
    assert!(text.contains("\nlost: 1 more; --show 1\n"), "{text}");
}

#[tokio::test]
async fn message_ids_alone_tell_what_is_missing_twice_and_late() {
    let server = server().await;
    let payload = Bytes::from_static(b"x");
    for number in [1, 2, 5, 4, 9] {
        store(
            &server,
            "events.a",
            Some(&format!("one.{number}")),
            &payload,
        )
        .await;
    }
    store(&server, "events.a", Some("two.1"), &payload).await;
    store(&server, "events.a", None, &payload).await;
    let output = audit(&server, &[]);
    assert_code(&output, 1);
    assert_eq!(
        stdout(&output),
        "EVENTS: 2 sinks; 1 message without an id of one\n\
         one: 5 messages, 1 to 9: 4 (3, 6 to 8) missing, 0 duplicated, 1 (4) out of order\n\
         two: 1 message, 1 to 1: 0 missing, 0 duplicated, 0 out of order\n"
    );
}

#[tokio::test]
async fn what_can_not_be_audited_is_told_with_its_place() {
    let mut server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let bad = file_of(&folder, "bad.jsonl", &[Bytes::from(event(1)), "{}".into()]);
    let output = audit(&server, &[as_text(&bad)]);
    assert_code(&output, 2);
    assert!(
        stderr(&output).contains("bad.jsonl:2: no event"),
        "{}",
        stderr(&output)
    );
    assert_code(&audit(&server, &["/no/such/file"]), 2);
    assert_code(&audit(&server, &["/dev/null"]), 2);
    assert_code(&audit(&server, &["--may", as_text(&bad)]), 2);

    let good = file_of(&folder, "good.jsonl", &lines(1));
    let url = server.url();
    let good = as_text(&good);
    let binary = [
        "-s",
        &url,
        "--subject",
        "events.all",
        "--mode",
        "binary",
        good,
    ];
    assert_code(&run(&binary), 0);
    let output = audit(&server, &[good]);
    assert_code(&output, 2);
    assert!(
        stderr(&output).contains("message 1 is in binary mode"),
        "{}",
        stderr(&output)
    );
    assert_code(&audit(&server, &[]), 0);

    let missing = command("audit", &["--stream", "NONE", "-s", &url])
        .output()
        .unwrap();
    assert_code(&missing, 2);
    assert!(
        stderr(&missing).contains("stream NONE: "),
        "{}",
        stderr(&missing)
    );
    server.kill().unwrap();
    assert_code(&audit(&server, &[]), 3);
}
