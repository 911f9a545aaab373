//! Lines, flags and streams that are not as they should be.

use async_nats::jetstream::stream::{Config, DiscardPolicy};
use bytes::Bytes;
use nats_local::NatsServer;

use std::path::Path;

use crate::support::*;

#[tokio::test]
async fn a_bad_line_is_named_by_its_place_and_ends_the_reading_or_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "{}\n\n{}\n{{\"specversion\":\"1.0\"}}\n{{\"id\": nope}}\n\u{1}\n{}\n",
        event(1),
        event(2),
        event(3)
    );
    let input = folder.path().join("in.jsonl");
    std::fs::write(&input, text).unwrap();
    let rejected = folder.path().join("rejected.jsonl");
    let input = as_text(&input);

    let server = server().await;
    let url = server.url();
    let flags = ["-s", &url, "--subject", "events.a"];
    let output = run(&[&flags[..], &[input]].concat());
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(
        text.contains(&format!(
            "{input}:4:21: not a CloudEvent: required attribute `id` is missing (CloudEvents 1.0.2, "
        )),
        "{text}"
    );
    assert!(
        text.contains(&format!("resume with --from-line 5 {input}")),
        "{text}"
    );
    assert_eq!(there(&server).await.len(), 2);

    let skip = [
        "--on-bad-line",
        "skip",
        "--rejected",
        as_text(&rejected),
        "--json",
        input,
    ];
    let output = run(&[&flags[..], &skip].concat());
    assert_code(&output, 1);
    let text = stderr(&output);
    for line in [4, 5, 6] {
        assert_eq!(
            text.matches(&format!("{input}:{line}:")).count(),
            1,
            "{text}"
        );
    }
    let summary = json(&output);
    assert_eq!(
        (&summary["read"], &summary["stored"], &summary["bad_lines"]),
        (&3.into(), &3.into(), &3.into())
    );
    assert_eq!(summary["exit_code"], 1);
    let kept = std::fs::read(&rejected).unwrap();
    assert_eq!(kept, b"{\"specversion\":\"1.0\"}\n{\"id\": nope}\n\x01\n");
}

/// Events that break a rule, by its name.
const DEVIATIONS: [(&str, &str); 9] = [
    ("time", r#","time":"yesterday""#),
    ("time", r#","time":"""#),
    ("subject-empty", r#","subject":"""#),
    ("attribute-name", r#","correlationId":"x""#),
    ("integer-form", r#","ratio":0.5"#),
    ("attribute-type", r#","labels":{"a":1}"#),
    ("datacontenttype", r#","datacontenttype":"json""#),
    ("dataschema", r##","dataschema":"#""##),
    ("surrogate", r#","ext":"\ud800""#),
];

/// Members that no leniency lets through.
const ALWAYS_REFUSED: [&str; 4] = [
    r#","id":"2""#,
    r#","a":null,"a":"2""#,
    r#","data":{"tenantId":"\ud800"}"#,
    r#","data":{"correlation":{"tenantId":"acme\udc00"}}"#,
];

fn with(members: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"/test","type":"t"{members}}}"#)
}

#[tokio::test]
async fn an_invalid_event_is_refused_unless_leniency_accepts_and_counts_it() {
    let server = server().await;
    let url = server.url();
    let deviations = DEVIATIONS.iter().map(|(_, members)| with(members));
    let always = ALWAYS_REFUSED.iter().map(|members| with(members));
    let lines: Vec<String> = deviations.chain([event(1)]).chain(always).collect();
    let input = lines.join("\n");
    let skip = [
        "-s",
        &url,
        "--subject",
        "events.{tenantId}",
        "--on-bad-line",
        "skip",
    ];

    let output = with_input(&[&skip[..], &["--json"]].concat(), input.as_bytes());
    assert_code(&output, 1);
    let summary = json(&output);
    assert_eq!(
        (&summary["stored"], &summary["bad_lines"]),
        (&1.into(), &13.into())
    );
    assert_eq!(
        (&summary["lenient"], &summary["lenient_rules"]),
        (&0.into(), &serde_json::json!({}))
    );
    let text = stderr(&output);
    assert_eq!(
        text.matches("; --lenient accepts it").count(),
        DEVIATIONS.len(),
        "{text}"
    );
    assert!(
        text.contains(
            "-:1:66: not a CloudEvent: attribute `time` must be a timestamp of RFC 3339, not \"yesterday\" \
             (CloudEvents 1.0.2, OPTIONAL Attributes); --lenient accepts it"
        ),
        "{text}"
    );

    let lenient = [&skip[..], &["--lenient"]].concat();
    let rules = serde_json::json!({
        "attribute-name": 1, "attribute-type": 1, "datacontenttype": 1, "dataschema": 1,
        "integer-form": 1, "subject-empty": 1, "surrogate": 1, "time": 2,
    });
    for dry_run in [true, false] {
        let mut arguments = lenient.clone();
        arguments.push("--json");
        if dry_run {
            arguments.push("--dry-run");
        }
        let output = with_input(&arguments, input.as_bytes());
        assert_code(&output, 1);
        let summary = json(&output);
        assert_eq!(
            (&summary["read"], &summary["bad_lines"]),
            (&10.into(), &4.into())
        );
        assert_eq!(
            (&summary["lenient"], &summary["lenient_rules"]),
            (&9.into(), &rules)
        );
    }
    let stored: Vec<_> = there(&server).await.into_iter().skip(1).collect();
    let payloads: Vec<&[u8]> = stored.iter().map(|message| &message.payload[..]).collect();
    let expected: Vec<&[u8]> = lines.iter().take(10).map(String::as_bytes).collect();
    assert_eq!(payloads, expected, "byte for byte");

    let output = with_input(&lenient, lines[0].as_bytes());
    assert_code(&output, 0);
    assert!(
        stderr(&output).contains(", 1 accepted by --lenient (time 1);"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn file_as_spool_is_no_folder() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = as_text(file.path());
    let to = ["-s", "nats://127.0.0.1:1", "--subject=e", "--spool", path];
    let output = run(&[&to[..], &[SAMPLES]].concat());
    assert_code(&output, 2);
    let text = stderr(&output);
    assert!(text.contains("opening it: not a directory"), "{text}");
    assert!(!text.contains("other users may enter"), "{text}");
}

/// `--lenient` was named for a line that it refuses, too.
#[test]
fn line_that_leniency_refuses_too_is_reported_with_the_rule_that_is_always_enforced() {
    for (line, attribute) in [
        (r#"{"id":"1","time":"x","topic":"a"}"#, "specversion"),
        (r#"{"events":[{"specversion":"1.0"}]}"#, "specversion"),
    ] {
        for more in [&[][..], &["--lenient"]] {
            let flags = ["--subject=e", "--dry-run"];
            let output = with_input(&[&flags[..], more].concat(), line.as_bytes());
            assert_code(&output, 1);
            let text = stderr(&output);
            assert!(!text.contains("--lenient"), "{text}");
            let missing = format!("required attribute `{attribute}` is missing");
            assert!(text.contains(&missing), "{text}");
        }
    }
}

#[tokio::test]
async fn a_bad_lines_message_is_one_short_printable_line() {
    let long = "\u{202e}\u{2066}x".repeat(500_000);
    let lines = [
        format!("\"{long}\""),
        long.clone(),
        with(&format!(",\"{long}\":1")),
        with(&format!(",\"time\":\"{long}\"")),
        with(&format!(",\"ext\":{{\"{long}\":1}}")),
        with(&format!(",\"ext\":{}", "9".repeat(1_000_000))),
        with(&format!(",\"data\":{{\"tenantId\":\"{long}\"}}")),
        with(",\"ext\":\"\u{1b}]0;title\u{7}\""),
        format!("\u{1b}[2J{}", event(1)),
    ];
    for binary in [false, true] {
        let mut arguments = vec![
            "--subject",
            "e.{tenantId}",
            "--dry-run",
            "--on-bad-line",
            "skip",
        ];
        if binary {
            arguments.extend(["--mode", "binary", "--lenient"]);
        }
        let output = with_input(&arguments, lines.join("\n").as_bytes());
        assert_code(&output, 1);
        for line in stderr(&output).lines() {
            assert!(line.len() < 1_000, "{} bytes", line.len());
            let safe = |c: char| !c.is_control() && !"\u{202e}\u{2066}".contains(c);
            assert!(line.chars().all(safe), "{line:?}");
        }
    }
}

#[tokio::test]
async fn rejected_lines_overwrite_no_input_and_no_earlier_lines() {
    let server = server().await;
    let url = server.url();
    let folder = tempfile::tempdir().unwrap();
    let input = file_of(
        &folder,
        "in.jsonl",
        &["no".into(), event(1).into(), "nor this".into()],
    );
    let before = std::fs::read(&input).unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&input, &link).unwrap();
    let publish = |rejected: &Path| {
        run(&[
            "-s",
            &url,
            "--subject",
            "events.a",
            "--on-bad-line",
            "skip",
            "--rejected",
            as_text(rejected),
            as_text(&input),
        ])
    };
    for same in [&input, &link] {
        let output = publish(same);
        assert_code(&output, 2);
        assert!(stderr(&output).contains("is one of the files to publish"));
        assert_eq!(std::fs::read(&input).unwrap(), before);
    }
    let rejected = folder.path().join("rejected");
    std::fs::write(&rejected, "earlier\n").unwrap();
    let output = publish(&rejected);
    assert_code(&output, 1);
    assert!(
        stderr(&output).contains(&format!(
            "2 lines read and not stored, the first at {}:1",
            input.display()
        )),
        "{}",
        stderr(&output)
    );
    assert_eq!(
        std::fs::read(&rejected).unwrap(),
        b"earlier\nno\nnor this\n"
    );
}

#[tokio::test]
async fn wrong_usage_is_one_clear_message_and_publishes_nothing() {
    let server = server().await;
    let url = server.url();
    let ok = ["-s", &url, "--subject", "events.a"];
    let cases: [(&[&str], &str); 7] = [
        (
            &[
                "-s",
                &url,
                "--subject",
                "events.a",
                SAMPLES,
                "/no/such/file",
            ],
            "/no/such/file",
        ),
        (
            &["-s", &url, "--subject", "events.a", "/tmp"],
            "/tmp: is a directory",
        ),
        (
            &["-s", "http://u:hunter2@x", "--subject", "events.a", SAMPLES],
            "server 1 of the list",
        ),
        (
            &["-s", &url, "--subject", "events.*", SAMPLES],
            "wildcards are for subscribers",
        ),
        (
            &["-s", &url, "--subject", "events.{Tenant}", SAMPLES],
            "unknown placeholder {Tenant}",
        ),
        (
            &[
                "-s",
                &url,
                "--subject",
                "events.a",
                "--window",
                "0",
                SAMPLES,
            ],
            "--window",
        ),
        (
            &[
                "-s",
                &url,
                "--subject",
                "events.a",
                "--deadline",
                "5",
                SAMPLES,
            ],
            "write it like 500ms",
        ),
    ];
    for (arguments, expected) in cases {
        let output = run(arguments);
        assert_code(&output, 2);
        let text = stderr(&output);
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let output = run(&[&ok[..], &["--creds", "/no/such.creds", SAMPLES]].concat());
    assert_code(&output, 2);
    let output = run(&[&ok[..], &["--from-line", "104", SAMPLES]].concat());
    assert_code(&output, 1);
    assert!(
        stderr(&output)
            .contains(":103: can't be read further: it ends here, before --from-line 104"),
        "{}",
        stderr(&output)
    );
    // The command that an interrupt at the very end prints.
    let output = run(&[&ok[..], &["--from-line", "103", SAMPLES]].concat());
    assert_code(&output, 0);
    assert!(there(&server).await.is_empty());
}

#[tokio::test]
async fn an_event_that_is_too_large_fails_alone() {
    let server = NatsServer::builder()
        .max_payload(2_000)
        .start()
        .await
        .unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    let large = format!(
        r#"{{"specversion":"1.0","id":"x","source":"s","type":"t","data":"{}"}}"#,
        "x".repeat(3_000)
    );
    let input = format!("{}\n{large}\n{}\n", event(1), event(2));
    let output = with_input(
        &["-s", &server.url(), "--subject", "events.a"],
        input.as_bytes(),
    );
    assert_code(&output, 1);
    assert!(
        stderr(&output).contains("-:2: not sent:"),
        "{}",
        stderr(&output)
    );
    assert_eq!(there(&server).await.len(), 2);
}

#[tokio::test]
async fn full_stream_ends_the_command_after_max_failures() {
    let server = NatsServer::start().await.unwrap();
    let full = Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        max_messages: 7,
        discard: DiscardPolicy::New,
        ..Config::default()
    };
    server.create_stream_with(full).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let input = file_of(&folder, "in.jsonl", &lines(5_000));
    let output = run(&[
        "-s",
        &server.url(),
        "--subject",
        "events.a",
        "--window",
        "8",
        "--json",
        as_text(&input),
    ]);
    assert_code(&output, 1);
    assert!(
        stderr(&output).contains("code 10077"),
        "{}",
        stderr(&output)
    );
    let summary = json(&output);
    assert_eq!(summary["stored"], 7);
    assert!(summary["read"].as_u64().unwrap() < 200, "{summary}");
}

#[tokio::test]
async fn rejected_file_that_can_not_be_written_ends_the_run_with_a_place_to_resume() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let good = lines(2_000);
    let bad = Bytes::from("bad line ".repeat(5));
    let mixed: Vec<Bytes> = good
        .iter()
        .flat_map(|good| [bad.clone(), good.clone()])
        .collect();
    let input = file_of(&folder, "mixed.jsonl", &mixed);
    let url = server.url();
    let publish = |rejected: &str, from_line: &str, input: &Path| {
        let flags = [
            "-s",
            &url,
            "--subject",
            "events.a",
            "--json",
            "--on-bad-line=skip",
        ];
        let input = [
            "--rejected",
            rejected,
            "--from-line",
            from_line,
            as_text(input),
        ];
        run(&[&flags[..], &input].concat())
    };
    let output = publish("/dev/full", "1", &input);
    assert_code(&output, 2);
    let line = resume_line(&output);
    let before = line.parse::<u64>().unwrap() - 1;
    assert!(before > 0 && before < 4_000, "{before}");
    let summary = json(&output);
    assert_eq!(summary["exit_code"], 2);
    assert_eq!(summary["resume"]["line"], before + 1);
    assert_eq!(
        summary["stored"],
        before / 2,
        "all lines before it have results"
    );
    assert_eq!(summary["bad_lines"], before / 2 + 1);
    assert_eq!(
        summary["not_kept"], summary["bad_lines"],
        "the file takes none"
    );
    let told = stderr(&output).matches("No space left on device").count();
    assert_eq!(told, 1);

    let rejected = folder.path().join("rejected.jsonl");
    assert_code(&publish(as_text(&rejected), &line, &input), 1);
    let findings = findings(&good, &there(&server).await);
    assert!(findings.is_clean(), "each once: {findings}");

    // Lines that are still buffered at the end of the input.
    let input = file_of(&folder, "bad.jsonl", &[bad]);
    let output = publish("/dev/full", "1", &input);
    assert_code(&output, 2);
    let summary = json(&output);
    assert_eq!(
        (&summary["not_kept"], &summary["exit_code"]),
        (&1.into(), &2.into())
    );
    assert!(summary["resume"].is_null(), "{summary}");
}

#[tokio::test]
async fn refused_event_that_can_not_be_kept_ends_the_run_behind_the_events_in_flight() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let refused = Bytes::from(event(0).replace("/test", &format!("/{}", "x".repeat(900))));
    let input = file_of(&folder, "in.jsonl", &vec![refused; 200]);
    let url = server.url();
    let to = ["-s", &url, "--subject", "nowhere.a", "--json", "--window=1"];
    let rejected = ["--rejected=/dev/full", "--max-failures=0", as_text(&input)];
    let output = run(&[&to[..], &rejected].concat());
    assert_code(&output, 2);
    let summary = json(&output);
    let failed = summary["failed"].as_u64().unwrap();
    assert!(failed < 200, "{summary}");
    assert_eq!(summary["not_kept"], failed);
    assert_eq!(resume_line(&output), (failed + 1).to_string());
}
