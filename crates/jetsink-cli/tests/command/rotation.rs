//! `--follow` over rotations of every kind: each line once, in order, or a report of the unread lines.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Output};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use nats_local::NatsServer;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use tempfile::TempDir;

use crate::support::*;

fn follow(url: &str, arguments: &[&str]) -> Child {
    spawn(&[&["-s", url, "--subject", "events.a", "--follow"], arguments].concat())
}

fn append(path: &Path, lines: &[Bytes]) {
    let mut text = Vec::new();
    for line in lines {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.unwrap().write_all(&text).unwrap();
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

fn end(child: Child) -> Output {
    signal(&child, Signal::SIGTERM);
    child.wait_with_output().unwrap()
}

async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

/// Waits for the first saved position: the end of each file is known then.
async fn until_position(folder: &TempDir) {
    let positions = folder.path().join("positions");
    let started = Instant::now();
    let is_saved = || {
        let files = fs::read_dir(&positions).into_iter().flatten().flatten();
        let mut paths = files.map(|file| file.path());
        paths.any(|path| path.extension().is_some_and(|end| end == "position"))
    };
    while !is_saved() {
        assert!(started.elapsed() < LONG, "no position is saved");
        pause(20).await;
    }
}

async fn assert_stored(server: &NatsServer, lines: &[Bytes]) {
    let findings = findings(lines, &there(server).await);
    assert!(findings.is_clean(), "{findings}");
}

fn compress(path: &Path, zstd: bool) {
    let text = fs::read(path).unwrap();
    let mut name = path.to_owned().into_os_string();
    let compressed = if zstd {
        name.push(".zst");
        compress_to_vec(&text[..], CompressionLevel::Fastest)
    } else {
        name.push(".gz");
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&text).unwrap();
        encoder.finish().unwrap()
    };
    fs::write(PathBuf::from(name), compressed).unwrap();
    fs::remove_file(path).unwrap();
}

/// Moves `ev.jsonl.1` to `.2` and so on, in any form, and the file itself to `.1`.
fn shift(path: &Path, count: usize) {
    let name =
        |number: usize, suffix: &str| PathBuf::from(format!("{}.{number}{suffix}", path.display()));
    for number in (1..=count).rev() {
        for suffix in ["", ".gz", ".zst"] {
            if name(number, suffix).exists() {
                fs::rename(name(number, suffix), name(number + 1, suffix)).unwrap();
            }
        }
    }
    fs::rename(path, name(1, "")).unwrap();
}

struct Log {
    folder: TempDir,
    path: PathBuf,
}

impl Log {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ev.jsonl");
        Self { folder, path }
    }

    /// Arguments that keep positions and a spool.
    fn kept(&self) -> Vec<String> {
        let path = |name: &str| as_text(&self.folder.path().join(name)).to_owned();
        vec![
            format!("--position={}", path("positions/")),
            format!("--spool={}", path("spool")),
            as_text(&self.path).to_owned(),
        ]
    }
}

fn as_strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn forty_renames_in_quick_succession_lose_nothing() {
    let server = server().await;
    let log = Log::new();
    let lines = lines(42);
    let child = follow(&server.url(), &[as_text(&log.path)]);
    for (rotation, line) in lines.iter().enumerate() {
        append(&log.path, std::slice::from_ref(line));
        if rotation == 0 {
            // A first start begins with the file that has the name then.
            until_stored(&server, 1).await;
        }
        if rotation < 40 {
            pause(50).await;
            shift(&log.path, rotation);
        }
    }
    until_stored(&server, lines.len()).await;
    let output = end(child);
    assert_code(&output, 0);
    assert_eq!(stderr(&output).matches("not read").count(), 0);
    assert_stored(&server, &lines).await;
}

#[tokio::test]
async fn a_reader_that_an_outage_stalls_loses_nothing_under_any_kind_of_rotation() {
    for kind in [
        "numbers",
        "lumberjack",
        "compressed",
        "removed",
        "copytruncate",
    ] {
        let mut server = server().await;
        let log = Log::new();
        let lines = lines(9_000);
        append(&log.path, &lines[..1_000]);
        // The window and the batches that are read ahead have much less room than the lines need.
        let arguments = ["--max-outage=60s", "--window=64", as_text(&log.path)];
        let child = follow(&server.url(), &arguments);
        until_stored(&server, 1_000).await;
        server.kill().unwrap();
        for (rotation, some) in lines[1_000..].chunks(1_000).enumerate() {
            append(&log.path, some);
            pause(100).await;
            match kind {
                "numbers" => shift(&log.path, rotation),
                "lumberjack" => {
                    let name = format!("ev-2026-11-30T00-16-0{rotation}.000.jsonl");
                    fs::rename(&log.path, log.folder.path().join(name)).unwrap();
                }
                "compressed" => {
                    let name = log
                        .folder
                        .path()
                        .join(format!("ev.jsonl-2026113{rotation}"));
                    fs::rename(&log.path, &name).unwrap();
                    File::create(&log.path).unwrap();
                    pause(50).await;
                    compress(&name, rotation % 2 == 0);
                }
                "removed" => fs::remove_file(&log.path).unwrap(),
                _ => {
                    let name = format!("ev.jsonl.{rotation}");
                    fs::copy(&log.path, log.folder.path().join(name)).unwrap();
                    File::create(&log.path).unwrap();
                    pause(100).await;
                }
            }
        }
        server.restart().await.unwrap();
        until_stored(&server, lines.len()).await;
        // The copy of a truncated file is looked for at the end of its lines.
        let output = end(child);
        assert_code(&output, 0);
        let findings = findings(&lines, &there(&server).await);
        assert!(findings.is_clean(), "{kind}: {findings}");
    }
}

#[tokio::test]
async fn files_that_were_rotated_and_compressed_between_two_runs_are_read() {
    let server = server().await;
    let log = Log::new();
    let lines = lines(600);
    let kept = log.kept();
    append(&log.path, &lines[..50]);
    let child = follow(&server.url(), &as_strs(&kept));
    until_stored(&server, 50).await;
    assert_code(&end(child), 0);
    append(&log.path, &lines[50..100]);
    for (rotation, some) in lines[100..].chunks(100).enumerate() {
        shift(&log.path, rotation);
        if rotation > 0 {
            let older = log.folder.path().join("ev.jsonl.2");
            compress(&older, rotation % 2 == 0);
        }
        append(&log.path, some);
        pause(20).await;
    }
    let child = follow(&server.url(), &as_strs(&kept));
    until_stored(&server, lines.len()).await;
    assert_code(&end(child), 0);
    assert_stored(&server, &lines).await;
    // And each is known by now, whatever its name and form.
    shift(&log.path, 10);
    compress(&log.folder.path().join("ev.jsonl.2"), false);
    append(&log.path, &[Bytes::from(event(600))]);
    let child = follow(&server.url(), &as_strs(&kept));
    until_stored(&server, 601).await;
    pause(500).await;
    let output = end(child);
    assert_code(&output, 0);
    assert_eq!(there(&server).await.len(), 601, "{}", stderr(&output));
}

#[tokio::test]
async fn a_file_that_is_removed_or_truncated_unread_is_reported() {
    for (truncated, until_end) in [(false, 0), (false, 1_500), (true, 0), (true, 1_500)] {
        let server = server().await;
        let log = Log::new();
        let lines = lines(30);
        let child = follow(
            &server.url(),
            &["--json", "--metrics-listen=127.0.0.1:0", as_text(&log.path)],
        );
        pause(300).await;
        append(&log.path, &lines[..10]);
        until_stored(&server, 10).await;
        stop(&child);
        for some in [&lines[10..20], &lines[20..]] {
            if truncated {
                File::create(&log.path).unwrap();
            } else {
                fs::remove_file(&log.path).unwrap();
            }
            append(&log.path, some);
        }
        signal(&child, Signal::SIGCONT);
        until_stored(&server, 20).await;
        pause(until_end).await;
        let output = end(child);
        assert_code(&output, 1);
        let text = stderr(&output);
        let reason = if truncated {
            "it was truncated, and no copy of it was found; it was read up to line 10"
        } else {
            "a file with this name was removed before it could be opened"
        };
        assert!(text.contains(reason), "{text}");
        assert_eq!(json(&output)["unread_files"], 1, "{text}");
        let stored: Vec<Bytes> = there(&server)
            .await
            .into_iter()
            .map(|m| m.payload)
            .collect();
        assert_eq!(stored, [&lines[..10], &lines[20..]].concat());
    }
}

#[tokio::test]
async fn late_writers_have_the_time_of_rotate_wait() {
    let server = server().await;
    let log = Log::new();
    let lines = lines(4);
    append(&log.path, &lines[..1]);
    let child = follow(&server.url(), &["--rotate-wait=3s", as_text(&log.path)]);
    until_stored(&server, 1).await;
    let old = log.folder.path().join("ev.jsonl.1");
    fs::rename(&log.path, &old).unwrap();
    append(&log.path, &lines[3..]);
    for line in &lines[1..3] {
        pause(1_500).await;
        append(&old, std::slice::from_ref(line));
    }
    until_stored(&server, 4).await;
    assert_code(&end(child), 0);
    assert_stored(&server, &lines).await;
}

#[tokio::test]
async fn files_folders_and_patterns_are_followed_in_one_run_each_with_its_position() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    let lines = lines(20);
    append(&path("one.jsonl"), &lines[..1]);
    append(&path("all/two.jsonl"), &lines[1..2]);
    append(&path("all/three.jsonl.1"), &lines[2..3]);
    append(&path("all/.hidden"), &[Bytes::from("no")]);
    append(&path("apps/x/ev.jsonl"), &lines[3..4]);
    append(&path("apps/x/other.txt"), &[Bytes::from("no")]);
    let spool = path("spool");
    let arguments = [
        format!("--position={}", as_text(&path("positions"))),
        format!("--spool={}", as_text(&spool)),
        as_text(&path("one.jsonl")).to_owned(),
        as_text(&path("all")).to_owned(),
        format!("{}/apps/*/*.jsonl", as_text(folder.path())),
    ];
    let child = follow(&server.url(), &as_strs(&arguments));
    until_stored(&server, 4).await;
    append(&path("all/four.jsonl"), &lines[4..5]);
    append(&path("apps/y/ev.jsonl"), &lines[5..6]);
    fs::rename(path("all/two.jsonl"), path("all/two.jsonl.1")).unwrap();
    append(&path("all/two.jsonl"), &lines[6..7]);
    until_stored(&server, 7).await;
    assert_code(&end(child), 0);
    append(&path("all/four.jsonl"), &lines[7..8]);
    append(&path("apps/z/ev.jsonl"), &lines[8..9]);
    append(&path("one.jsonl"), &lines[9..10]);
    let child = follow(&server.url(), &as_strs(&arguments));
    until_stored(&server, 10).await;
    pause(300).await;
    let output = end(child);
    assert_code(&output, 0);
    let mut stored: Vec<Bytes> = there(&server)
        .await
        .into_iter()
        .map(|m| m.payload)
        .collect();
    stored.sort();
    assert_eq!(stored, lines[..10].to_vec(), "{}", stderr(&output));
    let saved = fs::read_dir(path("positions")).unwrap().count();
    assert_eq!(saved, 7, "one, two, three, four and three of apps");
}

#[tokio::test]
async fn a_run_can_start_at_the_end() {
    let server = server().await;
    let log = Log::new();
    let lines = lines(5);
    append(&log.path, &lines[..2]);
    let mut half = lines[2].to_vec();
    half.truncate(20);
    let file = OpenOptions::new().append(true).open(&log.path);
    file.unwrap().write_all(&half).unwrap();
    let mut arguments = log.kept();
    arguments.push("--start-at=end".to_owned());
    let child = follow(&server.url(), &as_strs(&arguments));
    until_position(&log.folder).await;
    // The rest of the half line, and another one.
    let rest = Bytes::from(lines[2][20..].to_vec());
    append(&log.path, &[rest, lines[3].clone()]);
    until_stored(&server, 2).await;
    assert_code(&end(child), 0);
    append(&log.path, &lines[4..]);
    let child = follow(&server.url(), &as_strs(&arguments));
    until_stored(&server, 3).await;
    assert_code(&end(child), 0);
    assert_stored(&server, &lines[2..]).await;
}

#[tokio::test]
async fn start_at_the_end_of_a_folder_leaves_out_compressed_files() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let lines = lines(4);
    append(&path("ev.jsonl.2"), &lines[..1]);
    compress(&path("ev.jsonl.2"), false);
    append(&path("ev-20261129.jsonl"), &lines[1..2]);
    compress(&path("ev-20261129.jsonl"), true);
    append(&path("ev.jsonl"), &lines[2..3]);
    let kept = tempfile::tempdir().unwrap();
    let positions = format!("--position={}/", as_text(&kept.path().join("positions")));
    let spool = format!("--spool={}", as_text(&kept.path().join("spool")));
    let arguments = ["--start-at=end", &positions, &spool, as_text(folder.path())];
    let child = follow(&server.url(), &arguments);
    until_position(&kept).await;
    pause(2_500).await; // a compression is complete after a second without a write
    append(&path("ev.jsonl"), &lines[3..]);
    until_stored(&server, 1).await;
    assert_code(&end(child), 0);
    assert_stored(&server, &lines[3..]).await;
}

#[tokio::test]
async fn one_file_under_a_relative_and_an_absolute_name_is_followed_once() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let lines = lines(2);
    let path = folder.path().join("ev.jsonl");
    append(&path, &lines);
    let pattern = format!("{}/ev.json*", as_text(folder.path()));
    let child = command("publish", &["-s", &server.url(), "--subject", "events.a"])
        .args(["--follow", "ev.jsonl", as_text(&path), &pattern])
        .current_dir(folder.path())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    until_stored(&server, 2).await;
    pause(1_500).await; // patterns are looked at once a second
    assert_code(&end(child), 0);
    assert_stored(&server, &lines).await;
}

#[test]
fn rejected_file_among_the_followed_ones_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| as_text(&folder.path().join(name)).to_owned();
    std::fs::write(path("ev.jsonl"), "").unwrap();
    let pattern = path("*.jsonl");
    for (followed, rejected) in [
        (as_text(folder.path()).to_owned(), path("bad.jsonl")),
        (pattern, path("bad.jsonl")),
        (path("ev.jsonl"), path("ev.jsonl.1")),
    ] {
        let rejected = format!("--rejected={rejected}");
        let output = run(&["--subject", "a", "--follow", &followed, &rejected]);
        assert_code(&output, 2);
        assert!(
            stderr(&output).contains("would be followed itself"),
            "{followed}"
        );
    }
}

#[test]
fn a_spool_whose_files_would_be_followed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| as_text(&folder.path().join(name)).to_owned();
    std::fs::create_dir(path("a")).unwrap();
    for (followed, spool) in [
        (path("a"), path("a")),
        (path("a/*.log"), path("a")),
        (path("*/*"), path("a/.")),
        (path("new/*.log"), path("./new")),
    ] {
        let spool = format!("--spool={spool}");
        let output = run(&["--subject", "a", "--follow", &followed, &spool]);
        assert_code(&output, 2);
        let text = stderr(&output);
        assert!(text.contains("would be followed themselves"), "{text}");
    }
    assert_eq!(std::fs::read_dir(path("a")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_position_file_of_version_1_is_resumed() {
    use std::os::unix::fs::MetadataExt as _;
    let server = server().await;
    let log = Log::new();
    let lines = lines(6);
    append(&log.path, &lines[..4]);
    let metadata = fs::metadata(&log.path).unwrap();
    let born = metadata.created().unwrap();
    let born = born
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let text = fs::read(&log.path).unwrap();
    let offset: usize = lines[..2].iter().map(|line| line.len() + 1).sum();
    let head = {
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(&text[..offset]);
        digest
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let position = log.folder.path().join("position");
    let saved = serde_json::json!({
        "version": 1, "device": metadata.dev(), "inode": metadata.ino(), "born": u64::try_from(born).unwrap(),
        "name": "abc", "offset": offset, "line": 2, "head_bytes": offset, "head": head,
    });
    fs::write(&position, saved.to_string()).unwrap();
    shift(&log.path, 0);
    append(&log.path, &lines[4..]);
    let spool = log.folder.path().join("spool");
    let arguments = [
        "--position",
        as_text(&position),
        "--spool",
        as_text(&spool),
        as_text(&log.path),
    ];
    let child = follow(&server.url(), &arguments);
    until_stored(&server, 4).await;
    assert_code(&end(child), 0);
    assert_stored(&server, &lines[2..]).await;
}
