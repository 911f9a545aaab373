//! Inputs with more bad lines or failed events than standard error reports.

use bytes::Bytes;

use crate::support::*;

/// The lines of standard error that begin with a place in a file.
fn reported(text: &str, file: &str) -> usize {
    let is_report = |line: &&str| line.starts_with(&format!("{file}:"));
    text.lines().filter(is_report).count()
}

#[test]
fn bad_lines_over_the_limit_are_reported_as_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let input = file_of(&folder, "bad.jsonl", &vec![Bytes::from("no event"); 10_000]);
    let input = as_text(&input);
    let check = ["--subject", "e", "--dry-run", "--on-bad-line=skip", input];
    for json_flag in [&[][..], &["--json"]] {
        let output = run(&[&check[..], json_flag].concat());
        assert_code(&output, 1);
        let text = stderr(&output);
        assert_eq!(reported(&text, input), 20, "{text}");
        let rest = format!("9,980 more bad lines, from {input}:21 to {input}:10000; --show N");
        assert!(text.contains(&rest), "{text}");
    }
    for (show, expected) in [("0", 0), ("1", 1), ("100000", 10_000)] {
        let output = run(&[&check[..], &["--show", show]].concat());
        assert_code(&output, 1);
        let text = stderr(&output);
        assert_eq!(reported(&text, input), expected, "--show {show}");
        assert_eq!(text.contains(" to "), expected < 10_000, "--show {show}");
    }
}

#[test]
fn bad_line_that_ends_its_file_is_reported_after_many_others() {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = vec![Bytes::from("[1]"); 100];
    lines.push("{\"cut\":".into());
    let input = file_of(&folder, "bad.json", &lines);
    let input = as_text(&input);
    let flags = ["--subject=e", "--dry-run", "--format=json", "--show=5"];
    let output = run(&[&flags[..], &["--on-bad-line=skip", input]].concat());
    assert_code(&output, 1);
    let text = stderr(&output);
    assert_eq!(reported(&text, input), 6, "{text}");
    assert!(text.contains(&format!("{input}:101:")), "{text}");
}

#[tokio::test]
async fn failed_events_over_the_limit_are_reported_as_one_line() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let input = file_of(&folder, "in.jsonl", &lines(200));
    let input = as_text(&input);
    let url = server.url();
    let flags = ["-s", &url, "--subject", "nowhere.a", "--show=5"];
    for max_failures in ["0", "50"] {
        let output = run(&[&flags[..], &["--max-failures", max_failures, input]].concat());
        assert_code(&output, 1);
        let text = stderr(&output);
        assert_eq!(reported(&text, input), 5, "{text}");
        let rest = format!(" more failed events, from {input}:6 to {input}:");
        assert!(text.contains(&rest), "{text}");
    }
}

/// Root can open each file. So the files are links that lead to themselves.
#[tokio::test]
async fn unread_files_over_the_limit_are_reported_as_one_line() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    for number in 0..200 {
        let link = logs.join(format!("{number}.jsonl"));
        std::os::unix::fs::symlink(&link, &link).unwrap();
    }
    let url = server.url();
    let mut child = spawn(&["-s", &url, "--subject=e", "--follow", as_text(&logs)]);
    let mut errors = Errors::of(&mut child);
    errors.read_until("trying again", 21);
    let output = end(child, nix::sys::signal::Signal::SIGTERM);
    let text = errors.all();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.matches("trying again").count(), 21, "{text}");
    assert_eq!(text.matches("were not read").count(), 20, "{text}");
    assert!(text.contains("180 more unread files, from "), "{text}");
}

#[test]
fn bad_line_that_ends_the_run_is_reported_whatever_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let input = file_of(&folder, "bad.jsonl", &["no event".into()]);
    let input = as_text(&input);
    let output = run(&["--subject=e", "--dry-run", "--show=0", input]);
    assert_code(&output, 1);
    assert_eq!(reported(&stderr(&output), input), 1);
}
