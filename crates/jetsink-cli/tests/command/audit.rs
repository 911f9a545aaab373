//! `jetsink audit`, against streams with planted faults.

use std::process::Output;

use async_nats::HeaderMap;
use bytes::Bytes;
use nats_local::NatsServer;

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
async fn published_file_has_no_findings_with_its_file_and_without() {
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
async fn each_planted_fault_is_reported_with_its_place() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let sent = lines(6);
    let file = file_of(&folder, "events.jsonl", &sent);
    let may = file_of(&folder, "may.jsonl", &[Bytes::from(event(77))]);
    let altered = Bytes::from(event(4).replace("acme", "evil"));
    let stranger = Bytes::from(event(99));
    // 0 and 2, then 1 late, 3 twice, 4 altered, 5 lost, 99 unexpected, and one that may be stored.
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
async fn message_ids_show_missing_duplicated_and_late_events() {
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
        "EVENTS: 2 sinks; 1 message without a sink's message id: 4 missing, 0 duplicated, 1 out of order\n\
         one: 5 messages, 1 to 9: 4 (3, 6 to 8) missing, 0 duplicated, 1 (4) out of order\n\
         two: 1 message, 1 to 1: 0 missing, 0 duplicated, 0 out of order\n"
    );
}

#[tokio::test]
async fn line_that_can_not_be_audited_is_reported_with_its_place() {
    let mut server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let bad = file_of(&folder, "bad.jsonl", &[Bytes::from(event(1)), "{}".into()]);
    let output = audit(&server, &[as_text(&bad)]);
    assert_code(&output, 2);
    assert!(
        stderr(&output).contains("bad.jsonl:2: not an event"),
        "{}",
        stderr(&output)
    );
    assert_code(&audit(&server, &["/no/such/file"]), 2);
    assert_code(&audit(&server, &[as_text(folder.path())]), 2);
    assert_code(&audit(&server, &["-", "--may", "-"]), 2);
    assert_code(&audit(&server, &["--may", as_text(&bad)]), 2);

    let url = server.url();
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

#[tokio::test]
async fn events_in_binary_mode_are_compared_with_lines_by_meaning() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let pretty = r#"{"type":"t","source":"/test","specversion":"1.0","id":"p","time":null,"n":7,"data":{ "b":[1, 2],"a":12345678901234567890123 }}"#;
    let events = [
        Bytes::from(event(0)),
        event(1).into(),
        pretty.into(),
        event(2).into(),
    ];
    let file = file_of(&folder, "events.jsonl", &events);
    let file = as_text(&file);
    let url = server.url();
    let publish = ["-s", &url, "--subject", "events.all"];
    let binary = ["--mode", "binary", file];
    assert_code(&run(&[&publish[..], &binary].concat()), 0);
    let output = audit(&server, &[file]);
    assert_code(&output, 0);
    assert!(stdout(&output).starts_with("EVENTS: 4 messages for 4 lines: 0 lost"));

    // Another writer's order of keys is the same event, and other data is another.
    let changed = pretty.replace(
        r#"{ "b":[1, 2],"a":12345678901234567890123 }"#,
        r#"{"a":1,"b":[1,2]}"#,
    );
    let other = file_of(
        &folder,
        "other.jsonl",
        &[
            Bytes::from(event(0)),
            event(1).into(),
            changed.into(),
            event(3).into(),
        ],
    );
    let output = audit(&server, &[as_text(&other), "--json"]);
    assert_code(&output, 1);
    let found = json(&output);
    assert_eq!(found["altered"]["listed"][0]["id"], "p");
    assert_eq!(found["altered"]["listed"][0]["sequence"], 3);
    assert_eq!(found["lost"]["listed"][0]["id"], "3");
    assert_eq!(found["unexpected"]["listed"][0]["sequence"], 4);
    assert_eq!(found["duplicated"]["count"], 0);

    // An event that is stored in both modes is a duplicate.
    let structured = [&publish[..], &["--from-line", "4", file]].concat();
    assert_code(&run(&structured), 0);
    let output = audit(&server, &[file, "--json"]);
    assert_code(&output, 1);
    assert_eq!(json(&output)["duplicated"]["listed"][0]["sequence"], 5);
}

#[tokio::test]
async fn exported_spool_excuses_its_pending_events() {
    for mode in ["structured", "binary"] {
        let mut server = server().await;
        let folder = tempfile::tempdir().unwrap();
        let all = lines(20);
        let file = file_of(&folder, "events.jsonl", &all);
        let first = file_of(&folder, "first.jsonl", &all[..12]);
        let rest = file_of(&folder, "rest.jsonl", &all[12..]);
        let spool = folder.path().join("spool");
        let spool = as_text(&spool);
        let url = server.url();
        let publish = |file, more: &[&str]| {
            let arguments = ["-s", &url, "--subject", "events.all", "--mode", mode];
            run(&[&arguments, more, &[as_text(file)]].concat())
        };
        assert_code(&publish(&first, &[]), 0);
        server.kill().unwrap();
        let spooling = ["--spool", spool, "--max-outage", "0"];
        assert_code(&publish(&rest, &spooling), 4);
        server.restart().await.unwrap();
        let export = command("spool", &["export", spool]).output().unwrap();
        assert_code(&export, 0);
        let left = folder.path().join("left.jsonl");
        std::fs::write(&left, &export.stdout).unwrap();
        let (file, left) = (as_text(&file), as_text(&left));

        let output = audit(&server, &[file, "--json"]);
        assert_code(&output, 1);
        assert_eq!(json(&output)["lost"]["count"], 8, "{mode}");
        assert_code(&audit(&server, &[file, "--spooled", left]), 0);

        let replay = command("spool", &["replay", spool, "-s", &url])
            .output()
            .unwrap();
        assert_code(&replay, 0);
        assert_code(&audit(&server, &[file, "--spooled", left]), 0);
        assert_code(&audit(&server, &[file]), 0);
        let output = audit(&server, &[left, "--json"]);
        let found = json(&output);
        assert_eq!(
            (
                &found["lost"]["count"],
                &found["altered"]["count"],
                &found["unexpected"]["count"]
            ),
            (&0.into(), &0.into(), &12.into()),
            "{mode}: the export as the ledger"
        );
        assert_eq!(found["out_of_order"]["count"], 0);
    }
}

#[tokio::test]
async fn lines_are_read_as_publish_reads_them_also_from_standard_input() {
    let server = server().await;
    // A mark, blank lines, CRLF, and a last line whose CR is no part of its end.
    let text = format!(
        "\u{feff}{}\r\n  \n\r\n{}\n{}\r",
        event(0),
        event(1),
        event(2)
    );
    let url = server.url();
    let published = with_input(&["-s", &url, "--subject", "events.all"], text.as_bytes());
    assert_code(&published, 0);
    let piped = |text: &str, files: &[&str]| {
        use std::io::Write as _;
        let mut child = command("audit", &["--stream", "EVENTS", "-s", &url])
            .args(files)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    };
    let output = piped(&text, &["-"]);
    assert_code(&output, 0);
    assert!(output.stderr.is_empty());
    let output = piped("", &[]);
    assert_code(&output, 0);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("standard input is a pipe and is not read"),
        "{told}"
    );
    let output = piped(&format!("{text}\n{}", event(7)), &["-"]);
    assert_code(&output, 1);
    assert!(
        stdout(&output).contains("lost: -:6, source /test, id 7"),
        "{}",
        stdout(&output)
    );
}

#[tokio::test]
async fn messages_that_the_stream_removed_are_reported_beside_missing_ones() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let file = file_of(&folder, "events.jsonl", &lines(10));
    let file = as_text(&file);
    let url = server.url();
    assert_code(&run(&["-s", &url, "--subject", "events.all", file]), 0);
    let jetstream = server.jetstream().await.unwrap();
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    stream.purge().sequence(4).await.unwrap();
    stream.delete_message(6).await.unwrap();
    let output = audit(&server, &[file]);
    assert_code(&output, 1);
    let text = stdout(&output);
    assert!(
        text.contains("4 lost,") && text.contains("\nremoved: 4 of 10 messages"),
        "{text}"
    );
    let output = audit(&server, &["--json"]);
    let found = json(&output);
    assert_eq!(
        (&found["removed"], &found["first_sequence"]),
        (&4.into(), &4.into())
    );
    assert_eq!(
        found["sinks"][0]["missing"]["listed"],
        serde_json::json!([[6, 6]])
    );
    assert_eq!(found["missing"], 1);
    // It leaves no consumer behind.
    let mut stream = jetstream.get_stream("EVENTS").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.consumer_count, 0);
}

#[tokio::test]
async fn of_many_sinks_those_with_findings_are_listed() {
    let server = server().await;
    let payload = Bytes::from_static(b"x");
    for sink in 0..30 {
        store(
            &server,
            "events.a",
            Some(&format!("sink{sink:02}.1")),
            &payload,
        )
        .await;
    }
    store(&server, "events.a", Some("sink17.3"), &payload).await;
    let output = audit(&server, &[]);
    assert_code(&output, 1);
    assert_eq!(
        stdout(&output),
        "EVENTS: 30 sinks; 0 messages without a sink's message id: 1 missing, 0 duplicated, 0 out of order\n\
         sink17: 2 messages, 1 to 3: 1 (2) missing, 0 duplicated, 0 out of order\n"
    );
    let found = json(&audit(&server, &["--json"]));
    assert_eq!(
        (&found["sink_count"], &found["sinks_with_findings"]),
        (&30.into(), &1.into())
    );
    let output = audit(&server, &["--show", "0"]);
    assert!(
        stdout(&output).ends_with("\nmore sinks with findings: 1; --show 1\n"),
        "{}",
        stdout(&output)
    );
}

/// Regression: the server's flow control counts bytes and the client's queue messages, so that small ones
/// were dropped by the client: "messages were lost on their way".
#[tokio::test]
async fn a_stream_of_very_small_messages_is_read_to_its_end() {
    const MESSAGES: usize = 400_000;
    let server = server().await;
    let client = server.client().await.unwrap();
    let jetstream = server.jetstream().await.unwrap();
    let mut stream = jetstream.get_stream("EVENTS").await.unwrap();
    // A server silently drops messages while 10,000 wait for a stream.
    const AT_ONCE: usize = 5_000;
    for sent in (AT_ONCE..=MESSAGES).step_by(AT_ONCE) {
        for _ in 0..AT_ONCE {
            client.publish("events.a", Bytes::new()).await.unwrap();
        }
        client.flush().await.unwrap();
        while stream.info().await.unwrap().state.messages < sent as u64 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
    let output = audit(&server, &[]);
    assert_code(&output, 1);
    assert!(
        stdout(&output)
            .starts_with("EVENTS: 0 sinks; 400,000 messages without a sink's message id"),
        "{}",
        stdout(&output)
    );
}
