//! Trial: the real command follows a log that a writer fills and rotates in every way, while it is stalled, ended as by
//! `kill -9`, and its broker is away: each line is stored once, in order, or its loss is reported.
//!
//! `JETSINK_TRIAL_COUNT=100 cargo test --release -p jetsink-cli --test trial_rotations -- --nocapture` for the full
//! count. A history has a kind of rotation, an interval of 0.05 to 2 s, a rate of up to 20,000 lines a second, and faults.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

#[path = "command/support.rs"]
#[allow(dead_code)]
mod support;

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use nats_local::NatsServer;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::*;
use tokio::time::sleep;
use trial::{Dice, Trial};

/// A wait that only a real stall exceeds.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rotation {
    /// `ev.jsonl.1`, `.2` and so on.
    Numbers,
    /// Names with a time; with `late`, the writer keeps the old file for a while.
    Dates {
        late: bool,
    },
    Compressed,
    Removed,
    CopyTruncate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Stall,
    Kill,
    Outage,
}

#[derive(Debug)]
struct History {
    rotation: Rotation,
    interval: Duration,
    /// Lines per millisecond.
    rate: u64,
    rotations: u64,
    faults: Vec<Fault>,
}

impl History {
    fn roll(dice: &mut Dice) -> Self {
        let rotation = *dice.one_of(&[
            Rotation::Numbers,
            Rotation::Dates { late: false },
            Rotation::Dates { late: true },
            Rotation::Compressed,
            Rotation::Removed,
            Rotation::CopyTruncate,
        ]);
        let interval = *dice.one_of(&[50, 100, 250, 500, 1_000, 2_000]);
        let rotations = (2_000 / interval).clamp(2, 20);
        let rate = *dice.one_of(&[1, 1, 5, 20]);
        let faults = [Fault::None, Fault::Stall, Fault::Kill, Fault::Outage];
        Self {
            rotation,
            interval: Duration::from_millis(interval),
            rate,
            rotations,
            faults: (0..3).map(|_| *dice.one_of(&faults)).collect(),
        }
    }

    /// Whether a file can be gone before the command can open it, or lines between a copy and a truncation.
    fn may_lose(&self) -> bool {
        let is_away = self
            .faults
            .iter()
            .any(|f| matches!(f, Fault::Stall | Fault::Kill));
        matches!(self.rotation, Rotation::Removed) && is_away
    }
}

/// Writes and rotates the log; returns the number of lines.
fn write_log(history: &History, folder: &Path) -> usize {
    let path = folder.join("ev.jsonl");
    let open = || {
        let file = OpenOptions::new().append(true).create(true).open(&path);
        file.unwrap()
    };
    let mut file = open();
    let mut written = 0;
    for rotation in 0..=history.rotations {
        let until = Instant::now() + history.interval;
        while Instant::now() < until {
            write_lines(&mut file, &mut written, history.rate * 2);
            std::thread::sleep(Duration::from_millis(2));
        }
        if rotation == history.rotations {
            return written;
        }
        let dated = folder.join(format!("ev-2026-11-30T00-{rotation:03}.jsonl"));
        match history.rotation {
            Rotation::Numbers => {
                for number in (1..=rotation).rev() {
                    let name = |number: u64| folder.join(format!("ev.jsonl.{number}"));
                    fs::rename(name(number), name(number + 1)).unwrap();
                }
                fs::rename(&path, folder.join("ev.jsonl.1")).unwrap();
            }
            Rotation::Dates { late } => {
                fs::rename(&path, dated).unwrap();
                if late {
                    drop(open());
                    for _ in 0..3 {
                        std::thread::sleep(Duration::from_millis(10));
                        write_lines(&mut file, &mut written, 5);
                    }
                }
            }
            Rotation::Compressed => {
                fs::rename(&path, &dated).unwrap();
                file = open();
                compress(&dated);
                continue;
            }
            Rotation::Removed => fs::remove_file(&path).unwrap(),
            Rotation::CopyTruncate => {
                // Without a line between the copy and the truncation.
                fs::copy(&path, dated).unwrap();
                file.set_len(0).unwrap();
            }
        }
        file = open();
    }
    written
}

fn write_lines(file: &mut File, written: &mut usize, count: u64) {
    let mut text = String::new();
    for _ in 0..count {
        text.push_str(&event(*written));
        text.push('\n');
        *written += 1;
    }
    file.write_all(text.as_bytes()).unwrap();
}

fn compress(path: &Path) {
    let mut name = path.to_owned().into_os_string();
    name.push(".gz");
    let mut encoder = GzEncoder::new(
        File::create(PathBuf::from(name)).unwrap(),
        Compression::fast(),
    );
    encoder.write_all(&fs::read(path).unwrap()).unwrap();
    encoder.finish().unwrap();
    fs::remove_file(path).unwrap();
}

fn follow(server: &NatsServer, folder: &Path) -> Child {
    let path = |name: &str| as_text(&folder.join(name)).to_owned();
    jetsink(&[
        "-s",
        &server.url(),
        "--subject",
        "events.a",
        "--follow",
        "--json",
        "--max-outage=0",
        &format!("--position={}", path("position")),
        &format!("--spool={}", path("spool")),
        &path("ev.jsonl"),
    ])
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap()
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

/// Ends a run; returns the number of files that it reported as unread.
fn end(child: Child, how: Signal, log: &mut String) -> u64 {
    signal(&child, how);
    let output = child.wait_with_output().unwrap();
    let text = stderr(&output);
    log.push_str(&text);
    if how == Signal::SIGTERM {
        let unread = json(&output)["unread_files"].as_u64().unwrap();
        // 4: the last acknowledgements are not written to the spool yet.
        let expected: &[i32] = if unread > 0 { &[1] } else { &[0, 4] };
        let code = output.status.code().unwrap();
        assert!(expected.contains(&code), "{code}: {text}");
        return unread;
    }
    // A killed run has no summary.
    let is_report = |line: &&str| {
        let says_so = line.contains("are lost") || line.contains("were not read");
        line.starts_with("jetsink: /") && says_so
    };
    text.lines().filter(is_report).count() as u64
}

/// The first places at which the stored lines do not follow each other, by their numbers.
fn jumps(stored: &[nats_local::StoredMessage]) -> String {
    let number = |message: &nats_local::StoredMessage| -> i64 {
        let event: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        event["id"].as_str().unwrap().parse().unwrap()
    };
    let numbers: Vec<i64> = stored.iter().map(number).collect();
    let pairs = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1);
    let pairs: Vec<String> = pairs
        .map(|pair| format!("{} to {}", pair[0], pair[1]))
        .collect();
    format!("jumps from {}", pairs[..pairs.len().min(8)].join(", "))
}

async fn run(history: &History, dice: &mut Dice) -> usize {
    let mut server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let is_done = AtomicBool::new(false);
    let mut child = Some(follow(&server, folder.path()));
    // Without a file before the first scan, every file is counted.
    sleep(Duration::from_millis(300)).await;
    let (mut reported, mut log) = (0, String::new());
    let (is_done, folder_path) = (Arc::new(is_done), folder.path().to_owned());
    let lines = std::thread::scope(|scope| {
        let flag = Arc::clone(&is_done);
        let writer = scope.spawn(move || {
            let written = write_log(history, &folder_path);
            flag.store(true, Ordering::Release);
            written
        });
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                for fault in &history.faults {
                    sleep(Duration::from_millis(dice.below(600))).await;
                    let pause = Duration::from_millis(dice.below(600));
                    match fault {
                        Fault::None => {}
                        Fault::Stall => {
                            let child = child.as_ref().unwrap();
                            signal(child, Signal::SIGSTOP);
                            sleep(pause).await;
                            signal(child, Signal::SIGCONT);
                        }
                        Fault::Kill => {
                            if let Some(child) = child.take() {
                                reported += end(child, Signal::SIGKILL, &mut log);
                            }
                            sleep(pause).await;
                            child = Some(follow(&server, folder.path()));
                        }
                        Fault::Outage => {
                            server.kill_for(pause).await.unwrap();
                        }
                    }
                }
            });
        });
        writer.join().unwrap()
    });
    let started = Instant::now();
    let mut stored = 0;
    let mut last_change = Instant::now();
    while stored < lines && started.elapsed() < PATIENCE {
        sleep(Duration::from_millis(200)).await;
        let now = count(&server).await;
        if now != stored {
            (stored, last_change) = (now, Instant::now());
        }
        // Lost lines never arrive: end when nothing changes any more.
        if history.may_lose() && last_change.elapsed() > Duration::from_secs(5) {
            break;
        }
    }
    reported += end(child.unwrap(), Signal::SIGTERM, &mut log);
    let expected: Vec<Bytes> = support::lines(lines);
    let stored = there(&server).await;
    let findings = findings(&expected, &stored);
    // A file that came and went while no command ran can't be known.
    let is_known = reported > 0 || history.faults.contains(&Fault::Kill);
    if history.may_lose() && is_known {
        let mut rest = expected.iter();
        let mut payloads = stored.iter().map(|message| &message.payload[..]);
        let in_order = payloads.all(|payload| rest.any(|line| line[..] == *payload));
        assert!(in_order, "{findings}: {history:?}: {log}");
    } else {
        let jumps = jumps(&stored);
        assert!(
            findings.is_clean(),
            "{findings}: {history:?}: {jumps}: {log}"
        );
        assert_eq!(reported, 0, "{history:?}: {log}");
    }
    lines
}

#[test]
fn a_log_that_is_rotated_in_any_way_is_stored_once_in_order_or_its_loss_is_reported() {
    let trial = Trial::new("rotations", 4);
    trial.run(|dice| {
        let history = History::roll(dice);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let started = Instant::now();
        let lines =
            runtime.block_on(async { tokio::spawn(own(history, dice.clone())).await.unwrap() });
        println!("{lines} lines in {:.1} s", started.elapsed().as_secs_f64());
    });
}

async fn own(history: History, mut dice: Dice) -> usize {
    println!("{history:?}");
    run(&history, &mut dice).await
}
