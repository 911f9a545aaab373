//! `--format cellos-audit-trail`: the file of CellOS' own spool, recorded from the published supervisor.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Output};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::write::GzEncoder;
use nats_local::{NatsServer, StoredMessage};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::support::*;

const FORMAT: [&str; 4] = ["--subject", "events.a", "--format", "cellos-audit-trail"];
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/audit-trail");
/// A row of the recorded trail.
#[derive(serde::Deserialize)]
struct Row {
    body: Box<RawValue>,
    row_hash: String,
}

fn rows() -> Vec<String> {
    let text = fs::read_to_string(Path::new(RECORDED).join("audit-trail.jsonl")).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The first row of a new trail.
fn first_row(event: &str) -> String {
    next_row(&"0".repeat(64), event)
}

/// A row behind the one with a hash.
fn next_row(previous: &str, event: &str) -> String {
    let at = "2026-11-30T15:00:00+00:00";
    let members = format!(r#""at":"{at}","body":{event},"event":"t","prev_hash":"{previous}""#);
    let content = format!(r#"{{{members},"schema":"axiom.audit.v1","seq":0"#);
    let hash = blake3::hash(format!("{content}}}").as_bytes());
    format!(r#"{content},"row_hash":"{hash}"}}"#)
}

fn hash_of(row: &str) -> String {
    serde_json::from_str::<Row>(row).unwrap().row_hash
}

/// Writes rows as CellOS does, without the saved hash of the last one.
fn trail(folder: &TempDir, rows: &[String]) -> PathBuf {
    let path = folder.path().join("audit-trail.jsonl");
    fs::write(&path, rows.join("\n") + "\n").unwrap();
    path
}

fn append(path: &Path, rows: &[String]) {
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    file.write_all((rows.join("\n") + "\n").as_bytes()).unwrap();
}

/// The documented message id.
fn message_id(row: &Row) -> String {
    let mut parts = Vec::new();
    for part in ["events.a", &row.row_hash] {
        parts.extend((part.len() as u64).to_be_bytes());
        parts.extend(part.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(Sha256::digest(parts))
}

/// Checks that the stream has the events of these rows, each once, with a message id of subject and hash.
#[track_caller]
fn assert_stored(there: &[StoredMessage], rows: &[String]) {
    let stored: Vec<_> = there
        .iter()
        .map(|m| {
            (
                m.payload.as_ref(),
                m.message_id.as_deref().unwrap_or_default(),
            )
        })
        .collect();
    let rows: Vec<Row> = rows
        .iter()
        .map(|row| serde_json::from_str(row).unwrap())
        .collect();
    let ids: Vec<_> = rows.iter().map(message_id).collect();
    let expected: Vec<_> = rows
        .iter()
        .zip(&ids)
        .map(|(row, id)| (row.body.get().as_bytes(), id.as_str()))
        .collect();
    assert!(stored == expected, "{} of {}", stored.len(), expected.len());
}

fn publish(server: &NatsServer, arguments: &[&str]) -> Output {
    let url = server.url();
    run(&[&["-s", &url], &FORMAT[..], arguments].concat())
}

#[tokio::test]
async fn each_row_is_stored_once_with_an_id_of_its_subject_and_hash() {
    let server = server().await;
    let path = format!("{RECORDED}/audit-trail.jsonl");
    assert_code(&publish(&server, &[&path]), 0);
    let output = publish(&server, &["--json", &path]);
    assert_code(&output, 0);
    let again = &json(&output)["duplicates"];
    assert_eq!(again, rows().len(), "the second run is detected by the ids");
    assert_stored(&there(&server).await, &rows());
}

#[tokio::test]
async fn rows_behind_an_altered_one_are_stored_only_with_continue() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let mut changed = rows();
    changed[6] = changed[6].replace("acme", "evil");
    let path = trail(&folder, &changed);
    // Skipping bad lines is no permission to go on behind a break.
    for on_bad_line in ["fail", "skip"] {
        let output = publish(&server, &["--on-bad-line", on_bad_line, as_text(&path)]);
        assert_code(&output, 1);
        let text = stderr(&output);
        assert!(
            text.contains("audit-trail.jsonl:7:1: the audit trail's chain is broken"),
            "{text}"
        );
        let found = hash_of(&changed[6]);
        assert!(text.contains(&format!("its row_hash is {found}")), "{text}");
        assert!(text.contains("--on-broken-chain continue"), "{text}");
        assert_eq!(resume_line(&output), "7");
        assert_stored(&there(&server).await, &rows()[..6]);
    }
    // Resuming behind the break is no way around it.
    let output = publish(&server, &["--from-line", "8", as_text(&path)]);
    assert_code(&output, 1);
    assert_stored(&there(&server).await, &rows()[..6]);

    let rejected = folder.path().join("rejected");
    let flags = ["--on-broken-chain=continue", "--rejected"];
    let output = publish(
        &server,
        &[&flags[..], &[as_text(&rejected), as_text(&path)]].concat(),
    );
    assert_code(&output, 1);
    let intact = [&rows()[..6], &rows()[7..]].concat();
    assert_stored(&there(&server).await, &intact);
    assert_eq!(
        fs::read_to_string(&rejected).unwrap(),
        format!("{}\n", changed[6])
    );
}

#[tokio::test]
async fn a_removed_row_is_reported_with_the_hashes_on_both_sides() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let mut left = rows();
    left.remove(4);
    let path = trail(&folder, &left);
    let output = publish(&server, &[as_text(&path)]);
    assert_code(&output, 1);
    let hash = |row: usize| hash_of(&rows()[row]);
    let expected = format!(
        "audit-trail.jsonl:5:1: the audit trail's chain is broken: rows before this one were removed, added or moved: \
         its prev_hash is {}, expected is {}",
        hash(4),
        hash(3)
    );
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
    assert_stored(&there(&server).await, &rows()[..4]);
    let output = publish(&server, &["--on-broken-chain=continue", as_text(&path)]);
    assert_code(&output, 1);
    assert_stored(&there(&server).await, &left);
}

#[tokio::test]
async fn missing_last_rows_and_an_incomplete_row_are_reported() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let path = trail(&folder, &rows()[..18]);
    let head = Path::new(RECORDED).join("audit-trail.head");
    fs::copy(head, folder.path().join("audit-trail.head")).unwrap();
    let output = publish(&server, &[as_text(&path)]);
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("audit-trail.jsonl:18:1: "), "{text}");
    assert!(text.contains("rows were removed from the end"), "{text}");
    assert_stored(&there(&server).await, &rows()[..18]);
    // CellOS was stopped while it wrote the row.
    append(&path, &[rows()[18][..200].to_owned()]);
    let output = publish(&server, &[as_text(&path)]);
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("audit-trail.jsonl:19:1: "), "{text}");
    assert!(text.contains("it is no JSON object"), "{text}");
    assert_stored(&there(&server).await, &rows()[..18]);
}

#[test]
fn a_trail_is_verified_without_a_broker() {
    let folder = tempfile::tempdir().unwrap();
    let whole = format!("{RECORDED}/audit-trail.jsonl");
    let dry_run = |path: &str| run(&[&FORMAT[..], &["--dry-run", path]].concat());
    assert_code(&dry_run(&whole), 0);
    let mut moved = rows();
    moved.swap(2, 3);
    let output = dry_run(as_text(&trail(&folder, &moved)));
    assert_code(&output, 1);
    assert!(stderr(&output).contains("audit-trail.jsonl:3:1: "));
    // As another format it is recognised.
    let output = run(&["--subject", "e", "--dry-run", &whole]);
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("--format cellos-audit-trail"), "{text}");
}

#[test]
fn flags_that_have_no_effect_are_refused() {
    for (flags, expected) in [
        (
            &["--on-broken-chain=continue"][..],
            "--format cellos-audit-trail",
        ),
        (
            &["--format=cellos-audit-trail", "--id=content"],
            "message ids from the subject and the hash of each row",
        ),
    ] {
        let output = run(&[&["--subject", "e", "--dry-run"], flags].concat());
        assert_code(&output, 2);
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

fn follow(server: &NatsServer, folder: &TempDir, more: &[&str]) -> Child {
    let url = server.url();
    let path = |name: &str| as_text(&folder.path().join(name)).to_owned();
    let position = format!("--position={}", path("position"));
    let spool = format!("--spool={}", path("spool"));
    let file = path("audit-trail.jsonl");
    let own = ["-s", &url, "--follow", &position, &spool, &file];
    spawn(&[&own, &FORMAT[..], more].concat())
}

#[tokio::test]
async fn a_growing_trail_is_followed_over_restarts_and_half_rows() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let rows = rows();
    let path = trail(&folder, &rows[..5]);
    let child = follow(&server, &folder, &[]);
    until_stored(&server, 5).await;
    let (half, rest) = rows[5].split_at(100);
    let write = |text: &str| {
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    write(half);
    tokio::time::sleep(Duration::from_millis(300)).await;
    write(rest);
    write("\n");
    until_stored(&server, 6).await;
    assert_code(&end(child, Signal::SIGTERM), 0);
    append(&path, &rows[6..12]);
    let child = follow(&server, &folder, &[]);
    until_stored(&server, 12).await;
    end(child, Signal::SIGKILL);
    append(&path, &rows[12..15]);
    let child = follow(&server, &folder, &[]);
    until_stored(&server, 15).await;
    // A new trail begins, as when the file is archived while CellOS is stopped.
    fs::rename(&path, folder.path().join("audit-trail.jsonl.1")).unwrap();
    let new = first_row(&event(0));
    trail(&folder, std::slice::from_ref(&new));
    until_stored(&server, 16).await;
    let output = end(child, Signal::SIGTERM);
    assert_code(&output, 0);
    assert_stored(&there(&server).await, &[&rows[..15], &[new]].concat());
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chain_in_a_fifo_continues_with_the_next_writer() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trail.fifo");
    mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let rows = rows();
    let url = server.url();
    let own = ["-s", &url, "--follow", as_text(&path)];
    let child = spawn(&[&own, &FORMAT[..]].concat());
    for (written, some) in rows[..9].chunks(3).enumerate() {
        let (path, some) = (path.clone(), some.to_vec());
        let writing = tokio::task::spawn_blocking(move || append(&path, &some));
        writing.await.unwrap();
        until_stored(&server, 3 * (written + 1)).await;
        // The reader observes the end of the writer.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_code(&end(child, Signal::SIGTERM), 0);
    assert_stored(&there(&server).await, &rows[..9]);
}

#[tokio::test]
async fn a_break_before_an_unterminated_row_at_the_end_of_a_copy_is_reported() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let rows = rows();
    let path = trail(&folder, &rows[..3]);
    let continued = ["--on-broken-chain=continue"];
    let child = follow(&server, &folder, &continued);
    until_stored(&server, 3).await;
    assert_code(&end(child, Signal::SIGTERM), 0);
    // Row 4 is missing; then the file is copied and truncated.
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(rows[4].as_bytes()).unwrap();
    fs::copy(&path, folder.path().join("audit-trail.jsonl.1")).unwrap();
    let new = first_row(&event(0));
    trail(&folder, std::slice::from_ref(&new));
    let child = follow(&server, &folder, &continued);
    until_stored(&server, 5).await;
    let output = end(child, Signal::SIGTERM);
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("audit-trail.jsonl.1:4:1: "), "{text}");
    let expected = [&rows[..3], &rows[4..5], &[new]].concat();
    assert_stored(&there(&server).await, &expected);
}

/// Waits until the saved position contains a text.
async fn until_position(folder: &TempDir, text: &str) {
    let position = folder.path().join("position");
    let started = Instant::now();
    while !fs::read_to_string(&position).is_ok_and(|saved| saved.contains(text)) {
        assert!(started.elapsed() < LONG, "the position has no {text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
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

fn save_head(folder: &TempDir, row: &str) {
    fs::write(folder.path().join("audit-trail.head"), hash_of(row)).unwrap();
}

/// Writes to a FIFO once the command opens it.
#[track_caller]
fn supply(fifo: &Path, text: String) {
    let (sender, supplied) = mpsc::channel();
    let fifo = fifo.to_owned();
    std::thread::spawn(move || sender.send(fs::write(fifo, text)));
    supplied.recv_timeout(LONG).unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_saved_hash_of_an_archived_trail_is_no_break_of_the_new_one() {
    for is_saved_later in [true, false] {
        let server = server().await;
        let folder = tempfile::tempdir().unwrap();
        let rows = rows();
        let path = trail(&folder, &rows[..5]);
        // The test knows when it is read.
        let head = folder.path().join("audit-trail.head");
        mkfifo(&head, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        let child = follow(&server, &folder, &["--rotate-wait=100ms"]);
        supply(&head, hash_of(&rows[4]));
        until_stored(&server, 5).await;
        fs::rename(&path, folder.path().join("audit-trail.jsonl.1")).unwrap();
        let new = first_row(&event(0));
        trail(&folder, std::slice::from_ref(&new));
        supply(&head, hash_of(&rows[4]));
        until_stored(&server, 6).await;
        // CellOS writes the hash after the row.
        let saved = if is_saved_later { &new } else { &rows[4] };
        supply(&head, hash_of(saved));
        let mut expected = [&rows[..5], std::slice::from_ref(&new)].concat();
        if is_saved_later {
            let next = next_row(&hash_of(&new), &event(1));
            append(&path, std::slice::from_ref(&next));
            expected.push(next);
            until_stored(&server, 7).await;
            assert_code(&end(child, Signal::SIGTERM), 0);
        } else {
            let output = ended(child);
            assert_code(&output, 1);
            let text = stderr(&output);
            assert!(text.contains("rows were removed from the end"), "{text}");
        }
        assert_stored(&there(&server).await, &expected);
    }
}

#[tokio::test]
async fn a_followed_trail_whose_last_line_end_is_missing_is_not_short() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let rows = rows();
    let path = trail(&folder, &rows[..5]);
    let length = fs::metadata(&path).unwrap().len();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(length - 1).unwrap();
    save_head(&folder, &rows[4]);
    let child = follow(&server, &folder, &["--rotate-wait=100ms"]);
    until_stored(&server, 4).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(count(&server).await, 4);
    // Its row is read when the file is rotated.
    fs::rename(&path, folder.path().join("audit-trail.jsonl.1")).unwrap();
    let new = first_row(&event(0));
    save_head(&folder, &new);
    trail(&folder, std::slice::from_ref(&new));
    until_stored(&server, 6).await;
    assert_code(&end(child, Signal::SIGTERM), 0);
    assert_stored(&there(&server).await, &[&rows[..5], &[new]].concat());
}

#[tokio::test]
async fn an_incomplete_row_at_the_end_of_a_compressed_trail_is_a_break() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let rows = rows();
    let path = trail(&folder, &rows[..3]);
    let child = follow(&server, &folder, &[]);
    until_stored(&server, 3).await;
    assert_code(&end(child, Signal::SIGTERM), 0);
    // CellOS was stopped while it wrote row 5; then the trail was archived.
    let text = format!("{}\n{}", rows[..4].join("\n"), &rows[4][..200]);
    let archive = File::create(folder.path().join("audit-trail.jsonl.1.gz")).unwrap();
    let mut encoder = GzEncoder::new(archive, Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap();
    fs::remove_file(&path).unwrap();
    let new = first_row(&event(0));
    trail(&folder, std::slice::from_ref(&new));
    let child = follow(&server, &folder, &["--on-broken-chain=continue"]);
    until_stored(&server, 5).await;
    let output = end(child, Signal::SIGTERM);
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("audit-trail.jsonl.1.gz:5:1: "), "{text}");
    assert!(text.contains("it is no JSON object"), "{text}");
    assert!(!text.contains("not read"), "{text}");
    assert_stored(&there(&server).await, &[&rows[..4], &[new]].concat());
}

#[test]
fn the_folder_of_the_trail_is_refused_as_spool_whatever_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = trail(&folder, &rows()[..1]);
    let elsewhere = tempfile::tempdir().unwrap();
    let linked = |name: &str, target: &Path| {
        let link = elsewhere.path().join(name);
        std::os::unix::fs::symlink(target, &link).unwrap();
        link
    };
    let file_link = linked("trail.jsonl", &path);
    let folder_link = linked("folder", folder.path());
    let dotted = folder.path().join(".");
    let patterns = [
        elsewhere.path().join("*/audit-trail.jsonl"),
        folder.path().with_file_name("*").join("*.jsonl"),
    ];
    // By a link that the pattern finds, and by the name of a folder.
    let [linked_pattern, pattern] = &patterns;
    let later_folder = elsewhere.path().join("later");
    let later = folder.path().join("later.jsonl");
    for (file, spool) in [
        (&path, folder.path()),
        (&path, &dotted),
        (&path, &folder_link),
        (&file_link, folder.path()),
        (&later, folder.path()),
        (linked_pattern, folder.path()),
        (linked_pattern, &later_folder),
        (pattern, folder.path()),
    ] {
        for follow in [&["--follow"][..], &[]] {
            let own = ["--spool", as_text(spool), as_text(file)];
            let output = run(&[&own, &FORMAT[..], follow].concat());
            assert_code(&output, 2);
            let text = stderr(&output);
            assert!(text.contains("is the folder of the audit trail"), "{text}");
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_folder_of_cellos_is_refused_for_every_spool_and_keeps_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let spool = as_text(folder.path());
    let publish = ["--subject", "events.a", "--spool", spool];
    let config = tempfile::NamedTempFile::new().unwrap();
    fs::write(config.path(), format!("spool = {spool:?}\n")).unwrap();
    let serve = ["--check", "--subject", "events.a", "--config"];
    let serve = [&serve[..], &[as_text(config.path())]].concat();
    for (command_line, place) in [
        (("publish", &publish[..]), "--spool: "),
        (("serve", &publish[..]), "--spool: "),
        (("serve", &serve[..]), as_text(config.path())),
    ] {
        let (subcommand, arguments) = command_line;
        let mut command = command(subcommand, arguments);
        let output = command.env("CELLOS_SPOOL_DIR", spool).output().unwrap();
        assert_code(&output, 2);
        let text = stderr(&output);
        assert!(text.contains(place), "{text}");
        let expected = "is the folder of CellOS's audit trail: CELLOS_SPOOL_DIR names it";
        assert!(text.contains(expected), "{text}");
    }
    // Without the variable, by the trail.
    trail(&folder, &rows()[..1]);
    let output = run(&publish);
    assert_code(&output, 2);
    assert!(stderr(&output).contains("it contains audit-trail.jsonl"));
    // `spool` creates none, so it writes nothing there.
    for subcommand in ["status", "list", "verify", "export", "dead", "replay"] {
        let output = command("spool", &[subcommand, spool]).output().unwrap();
        assert_code(&output, 2);
        assert!(stderr(&output).contains("there is no spool"));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_spool_in_the_folder_of_cellos_can_be_emptied() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let spool = as_text(folder.path());
    let arguments = ["--subject", "events.a", "--spool", spool];
    let away = ["--server", "nats://127.0.0.1:1", "--max-outage", "100ms"];
    let output = with_input(&[&arguments[..], &away].concat(), event(0).as_bytes());
    assert_code(&output, 4);
    trail(&folder, &rows()[..1]);
    let mut replay = command("spool", &["replay", spool, "--server", &server.url()]);
    let output = replay.env("CELLOS_SPOOL_DIR", spool).output().unwrap();
    assert_code(&output, 0);
    assert_eq!(count(&server).await, 1);
}

#[tokio::test]
async fn saved_hash_that_can_not_be_used_is_reported_and_a_missing_one_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows();
    let path = trail(&folder, &rows[..15]);
    let head = folder.path().join("audit-trail.head");
    let check = |more: &[&str]| run(&[&FORMAT[..], &["--dry-run", as_text(&path)], more].concat());
    let unverified = |reason: &str| {
        for more in [&[][..], &["--on-broken-chain=continue"]] {
            let output = check(more);
            assert_code(&output, 1);
            let text = stderr(&output);
            let report = "audit-trail.jsonl:15:1: the end of the audit trail was not verified: the .head file";
            assert!(text.contains(&format!("{report} {reason}")), "{text}");
            assert!(!text.contains("resume"), "nothing was published: {text}");
        }
    };
    for text in ["", "zzz", &hash_of(&rows[14]).to_uppercase()] {
        fs::write(&head, text).unwrap();
        unverified("has no hash");
    }
    fs::remove_file(&head).unwrap();
    let output = check(&[]);
    assert_code(&output, 0);
    let text = stderr(&output);
    assert!(
        text.contains("the end of the trail was not verified"),
        "{text}"
    );
    fs::create_dir(&head).unwrap();
    unverified("can't be read: ");
    fs::remove_dir(&head).unwrap();
    fs::write(&head, hash_of(&rows[14])).unwrap();
    let output = check(&[]);
    assert_code(&output, 0);
    assert!(!stderr(&output).contains("not verified"));

    // A trail without a line.
    fs::write(&path, "").unwrap();
    let output = publish(&server().await, &[as_text(&path)]);
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("audit-trail.jsonl:1:1: "), "{text}");
    assert_eq!(resume_line(&output), "1", "a line that --from-line takes");
}
