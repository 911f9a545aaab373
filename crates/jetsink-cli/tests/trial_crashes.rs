//! Trial: the real command follows a growing file into a spool and is ended, over and over, as by
//! `kill -9`, while its broker is killed and frozen: each line of the file is stored once, in order.
//!
//! `JETSINK_TRIAL_COUNT=1000 cargo test --release -p jetsink-cli --features crash-points --test
//! trial_crashes -- --nocapture` for the full count. With the feature every second end is at a named
//! point in the code, else all are at random times. `JETSINK_SEED` repeats a run as far as the machine's
//! timing lets it.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

#[path = "command/support.rs"]
#[allow(dead_code)]
mod support;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nats_local::NatsServer;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::*;
use tokio::time::sleep;
use trial::{Dice, Trial};

/// A point that is not reached by then is not on this life's way.
const MAX_LIFETIME: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(60);

/// How a life of the command ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// SIGKILL after a time.
    AtRandom(Duration),
    /// SIGTERM after a time, and SIGKILL while it closes.
    Closing(Duration, Duration),
    /// By itself, after a number of passings of a named point; `closing` if the point is in the closing.
    AtPoint {
        point: &'static str,
        after: u64,
        closing: bool,
    },
}

impl End {
    fn of_round(round: u64, reached: &BTreeMap<&str, u64>, dice: &mut Dice) -> Self {
        let life = Duration::from_millis(30 + dice.below(300));
        if cfg!(feature = "crash-points") && round % 2 == 1 {
            let point = next_point(usize::try_from(round / 2).unwrap(), reached);
            let closing = point.starts_with("close.");
            // Points that a run passes at most once, or once a second.
            let rare = ["close.", "position.", "settle.", "replay.removed"];
            let rare = rare.iter().any(|start| point.starts_with(start));
            let after = if rare { 0 } else { dice.below(5) };
            return Self::AtPoint {
                point,
                after,
                closing,
            };
        }
        match dice.below(3) {
            0 => Self::Closing(life, Duration::from_millis(dice.below(40))),
            _ => Self::AtRandom(life),
        }
    }
}

/// All in turn; after the first turn those first that were not reached yet.
fn next_point(turn: usize, reached: &BTreeMap<&str, u64>) -> &'static str {
    let missing = points().iter().find(|point| !reached.contains_key(**point));
    match missing {
        Some(point) if turn >= points().len() => point,
        _ => points()[turn % points().len()],
    }
}

/// None without the feature.
fn points() -> &'static [&'static str] {
    #[cfg(feature = "crash-points")]
    return jetsink::crash::POINTS;
    #[cfg(not(feature = "crash-points"))]
    &[]
}

fn follow(server: &NatsServer, folder: &Path, end: End) -> Child {
    let path = |name: &str| as_text(&folder.join(name)).to_owned();
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .open(folder.join("log"));
    let mut command = jetsink(&[
        "-s",
        &server.url(),
        "--subject",
        "events.a",
        "--follow",
        "--max-outage=0",
        &format!("--position={}", path("events.position")),
        &format!("--spool={}", path("spool")),
        &path("events.jsonl"),
    ]);
    if let End::AtPoint { point, after, .. } = end {
        command.env("JETSINK_CRASH_AT", point);
        command.env("JETSINK_CRASH_AFTER", after.to_string());
    }
    command
        .stdout(Stdio::null())
        .stderr(log.unwrap())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, signal: Signal) {
    // It may have ended by itself.
    let _ = kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal);
}

/// Ends a run, and returns the named point that ended it.
async fn end(mut child: Child, end: End) -> Option<&'static str> {
    match end {
        End::AtRandom(life) => sleep(life).await,
        End::Closing(life, closing) => {
            sleep(life).await;
            signal(&child, Signal::SIGTERM);
            sleep(closing).await;
        }
        End::AtPoint { closing, .. } => {
            let started = Instant::now();
            let mut told = !closing;
            while started.elapsed() < MAX_LIFETIME && child.try_wait().unwrap().is_none() {
                // Once: a second one would end it without closing.
                if !told && started.elapsed() > Duration::from_millis(200) {
                    told = true;
                    signal(&child, Signal::SIGTERM);
                }
                sleep(Duration::from_millis(5)).await;
            }
        }
    }
    signal(&child, Signal::SIGKILL);
    let status = child.wait().unwrap();
    let aborted = std::os::unix::process::ExitStatusExt::signal(&status) == Some(6);
    match end {
        End::AtPoint { point, .. } if aborted => Some(point),
        _ => {
            assert!(!aborted, "it aborted by itself");
            None
        }
    }
}

/// Writes lines until `stop` is set, and returns their number.
fn write_lines(path: PathBuf, stop: Arc<AtomicBool>) -> usize {
    let mut file = File::create(path).unwrap();
    let mut written = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut text = String::new();
        for _ in 0..5 {
            text.push_str(&event(written));
            text.push('\n');
            written += 1;
        }
        file.write_all(text.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(10));
    }
    written
}

async fn trouble(server: &mut NatsServer, end: End, dice: &mut Dice) {
    sleep(Duration::from_millis(dice.below(200))).await;
    let outage = Duration::from_millis(dice.below(400));
    if let End::AtPoint { point, .. } = end
        && point.starts_with("settle.")
    {
        // Events in flight at the crash may be stored, and are looked up.
        server.freeze().unwrap();
        sleep(Duration::from_millis(100)).await;
        server.kill().unwrap();
        sleep(outage).await;
        return server.restart().await.unwrap();
    }
    let kind = match end {
        // By way of the spool, and back.
        End::AtPoint { closing: false, .. } => 0,
        _ => dice.below(4),
    };
    match kind {
        0 => {
            server.kill_for(outage).await.unwrap();
        }
        1 => {
            server.freeze_for(outage).await.unwrap();
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_killed_over_and_over_stores_each_line_once() {
    let trial = Trial::new("crashes", 20);
    let mut dice = Dice::new(trial.seed());

    let mut server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (path, stop) = (folder.path().join("events.jsonl"), Arc::clone(&stop));
        std::thread::spawn(move || write_lines(path, stop))
    };
    let mut reached: BTreeMap<&str, u64> = BTreeMap::new();
    for round in 0..trial.count() {
        let how = End::of_round(round, &reached, &mut dice);
        let child = follow(&server, folder.path(), how);
        let (ended, ()) = tokio::join!(end(child, how), trouble(&mut server, how, &mut dice));
        if let Some(point) = ended {
            *reached.entry(point).or_default() += 1;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let lines = lines(writer.join().unwrap());
    let last = follow(&server, folder.path(), End::AtRandom(PATIENCE));
    let started = Instant::now();
    while there(&server).await.len() < lines.len() && started.elapsed() < PATIENCE {
        sleep(Duration::from_millis(100)).await;
    }
    signal(&last, Signal::SIGTERM);
    assert!(last.wait_with_output().unwrap().status.success());
    let sent: Vec<Bytes> = lines;
    let findings = findings(&sent, &there(&server).await);
    assert!(findings.is_clean(), "{findings} (seed {})", trial.seed());
    println!(
        "{} lines, each stored once, in order; ended at {reached:?}",
        sent.len()
    );
    if trial.count() >= 4 * points().len() as u64 {
        let missing = points().iter().filter(|p| !reached.contains_key(**p));
        let missing: Vec<_> = missing.collect();
        assert!(missing.is_empty(), "never ended at {missing:?}");
    }
    trial.passed_over(trial.count(), sent.len());
}
