//! Inputs in other forms than plain lines: JSON streams, compressed files, and formats that are not read.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::support::*;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// An event over several lines.
fn pretty(number: usize) -> String {
    let value: serde_json::Value = serde_json::from_str(&event(number)).unwrap();
    serde_json::to_string_pretty(&value).unwrap()
}

#[tokio::test]
async fn a_stream_of_json_values_is_published_event_by_event() {
    let server = server().await;
    let url = server.url();
    let array = format!("[{},\n  {}]", pretty(2), event(3));
    let text = format!("{}{}{array}\n[]\u{1e}{}\n", pretty(0), event(1), event(4));
    let json = ["-s", &url, "--subject", "events.a", "--format", "json"];
    let output = with_input(&json, text.as_bytes());
    assert_code(&output, 0);
    let stored: Vec<Bytes> = there(&server)
        .await
        .into_iter()
        .map(|m| m.payload)
        .collect();
    let expected = [pretty(0), event(1), pretty(2), event(3), event(4)];
    assert_eq!(stored, expected.map(Bytes::from), "byte for byte");
}

#[tokio::test]
async fn a_bad_value_of_a_stream_has_a_position_and_resuming_counts_events() {
    let server = server().await;
    let url = server.url();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.json");
    let bad = "{\n  \"specversion\": \"1.0\",\n  \"id\": 7\n}";
    let text = format!("[{}, {}, {bad}, {}]", event(0), event(1), event(2));
    std::fs::write(&path, text).unwrap();
    let json = ["-s", &url, "--subject", "events.a", "--format", "json"];
    let output = run(&[&json[..], &[as_text(&path)]].concat());
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("in.json:3:"), "{text}");
    assert!(text.contains("--from-line 4"), "{text}");
    assert_eq!(resume_line(&output), "4");
    let output = run(&[&json[..], &["--from-line=4", as_text(&path)]].concat());
    assert_code(&output, 0);
    let findings = findings(&lines(3), &there(&server).await);
    assert!(findings.is_clean(), "{findings}");
}

#[tokio::test]
async fn a_broken_stream_ends_at_its_position() {
    for (text, expected) in [
        (format!("{} }}", event(0)), ":1:"),
        (format!("[{}\n{}]", event(0), event(1)), ":2:1: "),
        (format!("{}\n{}", event(0), &event(1)[..20]), ":2:1: "),
    ] {
        let output = with_input(
            &["--subject", "e", "--dry-run", "--format", "json"],
            text.as_bytes(),
        );
        assert_code(&output, 1);
        let text = stderr(&output);
        assert!(text.contains(&format!("-{expected}")), "{text}");
        assert!(text.contains("not a stream of JSON values"), "{text}");
        assert!(text.contains("1 event checked"), "{text}");
    }
}

#[tokio::test]
async fn events_behind_the_end_of_a_broken_stream_are_never_skipped_silently() {
    let server = server().await;
    let url = server.url();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.json");
    std::fs::write(&path, format!("{}\n}}\n{}", event(0), event(1))).unwrap();
    let json = ["-s", &url, "--subject", "events.a", "--format", "json"];
    let output = run(&[&json[..], &[as_text(&path)]].concat());
    assert_code(&output, 1);
    assert_eq!(resume_line(&output), "2");
    for from in ["--from-line=2", "--from-line=3", "--from-line=9"] {
        let output = run(&[&json[..], &[from, as_text(&path)]].concat());
        assert_code(&output, 1);
        assert!(stderr(&output).contains("in.json:2:1: "), "{from}");
    }
    std::fs::write(&path, format!("{}\n{}", event(0), event(1))).unwrap();
    let output = run(&[&json[..], &["--from-line=2", as_text(&path)]].concat());
    assert_code(&output, 0);
    let findings = findings(&lines(2), &there(&server).await);
    assert!(findings.is_clean(), "{findings}");
}

#[tokio::test]
async fn compressed_files_and_pipes_are_decompressed() {
    let server = server().await;
    let url = server.url();
    let folder = tempfile::tempdir().unwrap();
    let lines = lines(3_000);
    let text = |lines: &[Bytes]| [&lines.join(&b'\n')[..], b"\n"].concat();
    let file = |name: &str, bytes: Vec<u8>| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        as_text(&path).to_owned()
    };
    let one = file("a.gz", gzip(&text(&lines[..1_000])));
    // The form decides, not the name.
    let two = file(
        "b",
        compress_to_vec(&text(&lines[1_000..2_000])[..], CompressionLevel::Fastest),
    );
    let flags = ["-s", &url, "--subject", "events.a"];
    assert_code(&run(&[&flags[..], &[&one, &two]].concat()), 0);
    assert_code(&with_input(&flags, &gzip(&text(&lines[2_000..]))), 0);
    let findings = findings(&lines, &there(&server).await);
    assert!(findings.is_clean(), "{findings}");

    let whole = gzip(&text(&lines));
    let cut = file("cut.gz", whole[..whole.len() / 2].to_vec());
    let output = run(&["--subject", "e", "--dry-run", &cut]);
    assert_code(&output, 1);
    assert!(
        stderr(&output).contains("can't be read further"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_foreign_format_is_named_with_a_remedy() {
    for (input, expected) in [
        (format!("[{}]", event(0)), "--format json reads it"),
        (pretty(0), "--format json reads it"),
        (
            format!("{}{}", event(0), event(1)),
            "--format json reads it",
        ),
        (format!("data: {}", event(0)), "server-sent events"),
        (format!("INFO {}", event(0)), "text before an event"),
        ("<event/>".to_owned(), "XML"),
        ("id: 1".to_owned(), "not a CloudEvent"),
    ] {
        let output = with_input(&["--subject", "e", "--dry-run"], input.as_bytes());
        assert_code(&output, 1);
        let text = stderr(&output);
        assert!(text.starts_with("-:1:"), "{text}");
        assert!(text.contains(expected), "{input}: {text}");
    }
    let output = with_input(&["--subject", "e", "--dry-run"], b"BZh91AY&SY");
    assert!(stderr(&output).contains("`bzcat`"), "{}", stderr(&output));
}

#[test]
fn a_stream_of_values_is_not_followed() {
    let output = run(&["--subject", "e", "--follow", "--format=json", "x.json"]);
    assert_code(&output, 2);
    assert!(stderr(&output).contains("--follow takes one event per line"));
}

#[tokio::test]
async fn each_line_that_is_taken_is_exported_as_a_line_that_is_taken() {
    const MAX_LINE: usize = 8 << 20;
    let start = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","num":7,"data":""#;
    let line = format!("{start}{}\"}}", "x".repeat(MAX_LINE - start.len() - 2));
    assert_eq!(line.len(), MAX_LINE);
    let check = |mode: &str, line: &str| {
        with_input(
            &["--subject=e", "--dry-run", "--mode", mode],
            line.as_bytes(),
        )
    };
    assert_code(&check("structured", &line), 0);
    let output = check("binary", &line);
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(
        text.contains("-:1:1: in binary mode the event takes 83"),
        "{text}"
    );
    // Base64 adds a third.
    let start = start.replacen("\"num\":7", "\"datacontenttype\":\"application/x\"", 1);
    let other = format!("{start}{}\"}}", "x".repeat(7 << 20));
    let output = check("binary", &other);
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("the event takes 97"), "{text}");
    let text = other.replacen("application/x", "text/plain", 1);
    assert_code(&check("binary", &text), 0);
    let shorter = line.replacen(
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "",
        1,
    );
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let flags = [
        "-s",
        "nats://127.0.0.1:1",
        "--subject=e",
        "--max-outage=0",
        "--spool",
        as_text(&spool),
    ];
    let output = with_input(
        &[&flags[..], &["--mode=binary"]].concat(),
        shorter.as_bytes(),
    );
    assert_code(&output, 4);
    let export = command("spool", &["export", as_text(&spool)])
        .output()
        .unwrap();
    assert_code(&export, 0);
    assert!(export.stdout.len() > shorter.len(), "a longer line");
    assert_code(
        &with_input(&["--subject=e", "--dry-run"], &export.stdout),
        0,
    );
}
