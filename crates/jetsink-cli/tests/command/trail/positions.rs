//! Trails that are changed after rows were published, and the saved position.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use nats_local::NatsServer;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::*;

#[tokio::test]
async fn a_followed_trail_that_was_altered_ends_the_command_at_each_start() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let rows = rows();
    let path = trail(&folder, &rows[..5]);
    let child = follow(&server, &folder, &["--on-bad-line=skip"]);
    until_stored(&server, 5).await;
    append(&path, &rows[6..8]); // row 6 is missing
    let output = ended(child);
    assert_code(&output, 1);
    assert!(stderr(&output).contains("audit-trail.jsonl:6:1: "));
    let rejected = folder.path().join("rejected");
    for broken in [&rows[6..8], &["no row".to_owned()]] {
        trail(&folder, &[&rows[..5], broken].concat());
        let flags = ["--on-bad-line=skip", "--rejected", as_text(&rejected)];
        let output = follow(&server, &folder, &flags);
        let output = ended(output);
        assert_code(&output, 1);
        assert!(!stderr(&output).contains("they are in"));
        assert_eq!(fs::read_to_string(&rejected).unwrap(), "");
    }
    trail(&folder, &[&rows[..5], &rows[6..8]].concat());
    assert_stored(&there(&server).await, &rows[..5]);
    // The operator has looked into it.
    let continued = ["--on-broken-chain=continue"];
    let child = follow(&server, &folder, &continued);
    until_stored(&server, 7).await;
    let output = end(child, Signal::SIGTERM);
    assert_code(&output, 1);
    let intact = [&rows[..5], &rows[6..8]].concat();
    assert_stored(&there(&server).await, &intact);
    // A row that is stored already is altered later: only the chain shows it.
    let text = fs::read_to_string(&path).unwrap();
    let altered = text.replacen("lifecycle.v1.started", "lifecycle.v1.STARTED", 1);
    assert_ne!(text, altered);
    fs::write(&path, altered).unwrap();
    let output = ended(follow(&server, &folder, &[]));
    assert_code(&output, 1);
    assert!(
        stderr(&output).contains("audit-trail.jsonl:3:1: "),
        "{}",
        stderr(&output)
    );
}

/// Changes a trail in place, or as `sed -i` does: a new file takes the name.
fn rewrite(path: &Path, rows: &[String], in_place: bool) {
    let text = rows.join("\n") + "\n";
    let new = path.with_extension("new");
    if in_place {
        fs::write(path, text).unwrap();
    } else {
        fs::write(&new, text).unwrap();
        fs::rename(&new, path).unwrap();
    }
}

#[tokio::test]
async fn rows_that_were_appended_to_a_changed_trail_are_stored_and_its_break_is_reported() {
    for (removed, in_place) in [(2..3, true), (2..3, false), (2..4, true), (2..4, false)] {
        let server = server().await;
        let folder = tempfile::tempdir().unwrap();
        let rows = rows();
        let path = trail(&folder, &rows[..10]);
        let continued = ["--on-broken-chain=continue"];
        let child = follow(&server, &folder, &continued);
        until_stored(&server, 10).await;
        assert_code(&end(child, Signal::SIGTERM), 0);
        let before = fs::metadata(&path).unwrap().len();

        // Row 11 ends before the saved position.
        let mut left = rows[..11].to_vec();
        left.drain(removed.clone());
        rewrite(&path, &left, in_place);
        if removed.len() == 2 {
            assert!(fs::metadata(&path).unwrap().len() < before);
        }
        let output = ended(follow(&server, &folder, &[]));
        assert_code(&output, 1);
        assert!(stderr(&output).contains("audit-trail.jsonl:3:1: "));
        assert_eq!(count(&server).await, 10, "{removed:?}, {in_place}");
        let child = follow(&server, &folder, &continued);
        until_stored(&server, 11).await;
        let output = end(child, Signal::SIGTERM);
        assert_code(&output, 1);
        let text = stderr(&output);
        assert!(text.contains("audit-trail.jsonl:3:1: "), "{text}");
        assert_stored(&there(&server).await, &rows[..11]);
        // It was reported, and the position is behind it.
        append(&path, &rows[11..12]);
        let child = follow(&server, &folder, &continued);
        until_stored(&server, 12).await;
        let output = end(child, Signal::SIGTERM);
        assert_code(&output, 0);
    }
}

#[tokio::test]
async fn a_row_that_is_lost_at_the_saved_position_is_a_break() {
    for in_place in [true, false] {
        let server = server().await;
        let folder = tempfile::tempdir().unwrap();
        let rows = rows();
        let path = trail(&folder, &rows[..10]);
        let child = follow(&server, &folder, &[]);
        until_stored(&server, 10).await;
        assert_code(&end(child, Signal::SIGTERM), 0);
        // Row 10 is replaced by others.
        let left = [&rows[..9], &rows[10..13]].concat();
        rewrite(&path, &left, in_place);
        let hash = hash_of(&rows[9]);
        for _ in 0..2 {
            let output = ended(follow(&server, &folder, &[]));
            assert_code(&output, 1);
            let text = stderr(&output);
            assert!(text.contains("audit-trail.jsonl:10:1: "), "{text}");
            let expected = format!("has the hash {hash}, which is the hash of no row");
            assert!(text.contains(&expected), "{text}");
            assert_eq!(count(&server).await, 10);
        }
        let child = follow(&server, &folder, &["--on-broken-chain=continue"]);
        until_stored(&server, 13).await;
        let output = end(child, Signal::SIGTERM);
        assert_code(&output, 1);
        let text = stderr(&output);
        assert!(text.contains(&hash), "{text}");
        assert_stored(&there(&server).await, &rows[..13]);
    }
}

#[tokio::test]
async fn an_incomplete_row_that_is_removed_while_the_trail_is_followed_repeats_no_row() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let rows = rows();
    let path = trail(&folder, &rows[..5]);
    let whole = fs::metadata(&path).unwrap().len();
    let flags = ["--json", "--rotate-wait=1s"];
    let child = follow(&server, &folder, &flags);
    until_stored(&server, 5).await;
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(&rows[5].as_bytes()[..200]).unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    file.set_len(whole).unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    append(&path, &rows[5..7]);
    until_stored(&server, 7).await;
    let output = end(child, Signal::SIGTERM);
    assert_eq!(json(&output)["duplicates"], 0, "{}", stderr(&output));
    append(&path, &rows[7..9]);
    let child = follow(&server, &folder, &flags);
    until_stored(&server, 9).await;
    let output = end(child, Signal::SIGTERM);
    assert_code(&output, 0);
    assert_eq!(json(&output)["duplicates"], 0, "{}", stderr(&output));
    assert_stored(&there(&server).await, &rows[..9]);
}

/// Follows the trail twice, with breaks that do not stop it, until `stored` events are stored. Returns both outputs.
async fn followed_twice(server: &NatsServer, folder: &TempDir, stored: usize) -> [Output; 2] {
    let rejected = folder.path().join("rejected");
    let flags = [
        "--on-broken-chain=continue",
        "--json",
        "--rejected",
        as_text(&rejected),
    ];
    let lines = fs::read_to_string(folder.path().join("audit-trail.jsonl"));
    let lines = lines.unwrap().lines().count();
    let mut outputs = Vec::new();
    for _ in 0..2 {
        let child = follow(server, folder, &flags);
        until_stored(server, stored).await;
        until_position(folder, &format!("\"line\":{lines},")).await;
        // The second run has nothing to save; it verifies the rows.
        tokio::time::sleep(Duration::from_millis(700)).await;
        outputs.push(end(child, Signal::SIGTERM));
    }
    outputs.try_into().unwrap()
}

#[tokio::test]
async fn a_position_behind_a_break_repeats_neither_rows_nor_reports() {
    let rows = rows();
    let repeated = [&rows[..7], &rows[4..5]].concat();
    let junk = [&rows[..7], &["no row".to_owned()]].concat();
    let altered = rows[7].replace("acme", "evil");
    let altered = [&rows[..7], &[altered]].concat();
    for (trailed, stored, rejected) in [(repeated, 7, 0), (junk, 7, 1), (altered, 7, 1)] {
        let server = server().await;
        let folder = tempfile::tempdir().unwrap();
        trail(&folder, &trailed);
        let [first, second] = followed_twice(&server, &folder, stored).await;
        assert_code(&first, 1);
        assert_code(&second, 0);
        assert_eq!(json(&second)["read"], 0, "{}", stderr(&second));
        let kept = fs::read_to_string(folder.path().join("rejected")).unwrap();
        assert_eq!(kept.lines().count(), rejected, "{kept}");
    }
}

#[tokio::test]
async fn a_row_that_is_altered_before_the_position_is_reported_by_the_next_start() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let rows = rows();
    let path = trail(&folder, &rows[..5]);
    let continued = ["--on-broken-chain=continue"];
    let child = follow(&server, &folder, &continued);
    until_stored(&server, 5).await;
    assert_code(&end(child, Signal::SIGTERM), 0);
    let mut altered = rows[..6].to_vec();
    altered[2] = altered[2].replace("acme", "evil"); // as long as before
    fs::write(&path, altered.join("\n") + "\n").unwrap();
    let child = follow(&server, &folder, &continued);
    until_stored(&server, 6).await;
    let output = end(child, Signal::SIGTERM);
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("audit-trail.jsonl:3:1: "), "{text}");
    // Another change, and no new row.
    altered[4] = altered[4].replace("acme", "evil");
    fs::write(&path, altered.join("\n") + "\n").unwrap();
    let position = || fs::read_to_string(folder.path().join("position")).unwrap();
    let before = position();
    for expected in [1, 0] {
        let child = follow(&server, &folder, &continued);
        let started = Instant::now();
        while position() == before {
            assert!(started.elapsed() < LONG, "{before}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The second run has nothing to save.
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_code(&end(child, Signal::SIGTERM), expected);
    }
    assert_stored(&there(&server).await, &rows[..6]);
}

#[tokio::test]
async fn a_break_before_the_first_published_row_is_reported() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let mut changed = rows()[..10].to_vec();
    changed[2] = changed[2].replace("acme", "evil");
    let path = trail(&folder, &changed);
    let flags = ["--on-broken-chain=continue", "--dry-run", "--from-line=8"];
    let output = run(&[&FORMAT[..], &flags, &[as_text(&path)]].concat());
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("audit-trail.jsonl:3:1: "), "{text}");

    let flags = ["--on-broken-chain=continue", "--start-at=end"];
    for expected in [1, 0] {
        let child = follow(&server, &folder, &flags);
        until_position(&folder, "\"breaks\":").await;
        // The second run has nothing to save.
        tokio::time::sleep(Duration::from_millis(700)).await;
        let output = end(child, Signal::SIGTERM);
        assert_code(&output, expected);
        let is_reported = stderr(&output).contains("audit-trail.jsonl:3:1: ");
        assert_eq!(is_reported, expected == 1, "{}", stderr(&output));
    }
    assert_eq!(count(&server).await, 0);
}

#[tokio::test]
async fn a_trail_that_is_cut_off_before_its_last_published_row_is_broken() {
    for (in_place, continues) in [(true, false), (true, true), (false, false)] {
        let server = server().await;
        let folder = tempfile::tempdir().unwrap();
        let rows = rows();
        let path = trail(&folder, &rows[..6]);
        let own = match continues {
            true => "--on-broken-chain=continue",
            false => "--on-broken-chain=stop",
        };
        let flags = [own, "--json", "--rotate-wait=500ms"];
        let child = follow(&server, &folder, &flags);
        until_stored(&server, 6).await;
        rewrite(&path, &rows[..3], in_place);
        if continues {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            append(&path, &rows[6..7]);
            until_stored(&server, 7).await;
        }
        let output = match continues {
            true => end(child, Signal::SIGTERM),
            false => ended(child),
        };
        assert_code(&output, 1);
        let text = stderr(&output);
        let hash = hash_of(&rows[5]);
        assert!(text.contains("audit-trail.jsonl:1:1: "), "{text}");
        assert!(
            text.contains(&format!("has the hash {hash}, which is the hash of no row")),
            "{text}"
        );
        let repeated = if continues { 3 } else { 0 };
        assert_eq!(json(&output)["duplicates"], repeated);
        assert_stored(&there(&server).await, &rows[..6 + usize::from(continues)]);
    }
}

#[tokio::test]
async fn a_trail_that_was_cut_off_between_two_runs_is_broken_at_each_start() {
    for in_place in [true, false] {
        let server = server().await;
        let folder = tempfile::tempdir().unwrap();
        let rows = rows();
        let path = trail(&folder, &rows[..6]);
        let flags = ["--json", "--rotate-wait=500ms"];
        let child = follow(&server, &folder, &flags);
        until_stored(&server, 6).await;
        assert_code(&end(child, Signal::SIGTERM), 0);
        // A single row is shorter than the beginning that identifies a file.
        rewrite(&path, &rows[..1], in_place);
        for _ in 0..2 {
            let output = ended(follow(&server, &folder, &flags));
            assert_code(&output, 1);
            let text = stderr(&output);
            assert!(text.contains("audit-trail.jsonl:1:1: "), "{text}");
            assert!(text.contains("which is the hash of no row"), "{text}");
            assert_eq!(json(&output)["duplicates"], 0);
        }
        assert_stored(&there(&server).await, &rows[..6]);
    }
}
