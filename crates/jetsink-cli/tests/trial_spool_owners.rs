//! Trial: two to four processes read, salvage, deliver and fill the same spool, healthy or damaged, from random moments
//! on, and some are killed: one owns it at a time, the others are refused with its path, and no event is lost or
//! doubled.
//!
//! `JETSINK_TRIAL_COUNT=1000 cargo test --release -p jetsink-cli --test trial_spool_owners -- --nocapture` for the full
//! count. `JETSINK_SEED` repeats a run as far as the machine's timing lets it.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

#[path = "command/support.rs"]
#[allow(dead_code)]
mod support;

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use async_nats::jetstream::stream::Config;
use bytes::Bytes;
use delivery_audit::{Event, Findings};
use jetsink::{
    Acknowledgement, Delivery, Envelope, OfflineSpool, PublishError, Publisher, Sink, SinkSettings,
    SpoolSettings, Subject,
};
use nats_local::{NatsServer, StoredMessage};
use support::*;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use trial::{Dice, Trial};

const EVENTS: usize = 200;

/// A command on the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Status,
    List,
    Verify,
    Export,
    Replay,
    Publish,
}

const ACTS: [Act; 6] = [
    Act::Status,
    Act::List,
    Act::Verify,
    Act::Export,
    Act::Replay,
    Act::Publish,
];

/// A running command, and whether it is killed.
#[derive(Debug)]
struct Actor {
    act: Act,
    child: Child,
    is_killed: bool,
}

struct Away;

impl Publisher for Away {
    async fn publish(
        &self,
        _: &Envelope,
        _: tokio::time::Instant,
    ) -> Result<Acknowledgement, PublishError> {
        Err(PublishError::NotConnected)
    }
}

/// The files of a process that was killed at rest.
async fn killed_spool() -> TempDir {
    let (living, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let settings = SpoolSettings::new(living.path()).limit_bytes(1 << 20);
    let sink = Sink::with_spool(Away, SinkSettings::default(), settings.unwrap());
    let sink = sink.await.unwrap();
    for number in 0..EVENTS {
        let subject = Subject::new(format!("events.{}", number % 2)).unwrap();
        let payload = format!("{number:>2000}");
        let emitted = sink.emit(Envelope::new(subject, payload.into())).await;
        assert_eq!(emitted.unwrap(), Delivery::Spooled);
    }
    sleep(Duration::from_secs(1)).await;
    copy(living.path(), folder.path());
    folder
}

/// Copies a spool's files.
fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        std::fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
    // Marks the folder as a spool: a killed process leaves its lock file.
    std::fs::write(to.join("lock"), "").unwrap();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| !path.ends_with("lock")).collect();
    paths.sort();
    paths
}

/// Flips bits, zeroes a page, or cuts a file.
fn damage(folder: &Path, dice: &mut Dice) {
    let files = files(folder);
    let path = dice.one_of(&files);
    let file = std::fs::File::options().read(true).write(true).open(path);
    let file = file.unwrap();
    let length = file.metadata().unwrap().len();
    match dice.below(3) {
        0 => {
            for _ in 0..=dice.below(8) {
                let (at, mut byte) = (dice.below(length), [0]);
                file.read_exact_at(&mut byte, at).unwrap();
                byte[0] ^= 1 << dice.below(8);
                file.write_all_at(&byte, at).unwrap();
            }
        }
        1 => {
            let at = dice.below(length / 4_096) * 4_096;
            file.write_all_at(&[0; 4_096], at).unwrap();
        }
        _ => file.set_len(dice.below(length)).unwrap(),
    }
}

/// The events that a process alone finds in a copy.
fn readable(folder: &Path) -> Vec<(String, Bytes)> {
    let alone = tempfile::tempdir().unwrap();
    copy(folder, alone.path());
    let spool = OfflineSpool::open(alone.path()).unwrap();
    let mut events = Vec::new();
    let visit = |event: jetsink::SpooledEvent| {
        let subject = event.envelope.subject().to_string();
        events.push((subject, event.envelope.payload().clone()));
    };
    spool.events(visit).unwrap();
    events
}

impl Act {
    fn start(self, folder: &Path, url: &str, line: &Path) -> Child {
        let folder = as_text(folder);
        let on_spool = |arguments: &[&str]| command("spool", arguments);
        let mut command = match self {
            Self::Status => on_spool(&["status", folder]),
            Self::List => on_spool(&["list", folder, "--json"]),
            Self::Verify => on_spool(&["verify", folder]),
            Self::Export => on_spool(&["export", folder]),
            Self::Replay => on_spool(&["replay", folder, "-s", url]),
            Self::Publish => jetsink(&[
                "-s",
                url,
                "--subject",
                "events.published",
                "--spool",
                folder,
                as_text(line),
            ]),
        };
        // A pipe that is read only after the end must not fill up.
        let output = match self {
            Self::List | Self::Export => Stdio::null(),
            _ => Stdio::piped(),
        };
        let command = command.stdout(output).stderr(Stdio::piped());
        command.spawn().unwrap()
    }
}

impl Actor {
    /// Whether it had the spool; none of a killed one.
    fn had_the_spool(self, folder: &Path) -> Option<bool> {
        let Self {
            act,
            child,
            is_killed,
        } = self;
        let output: Output = child.wait_with_output().unwrap();
        match output.status.code() {
            None if is_killed => None,
            Some(0 | 1) => Some(true),
            Some(2) => {
                let text = stderr(&output);
                assert!(text.contains(as_text(folder)), "{act:?}: {text}");
                Some(false)
            }
            code => panic!("{act:?} ended with {code:?}: {}", stderr(&output)),
        }
    }
}

async fn create_stream(server: &NatsServer) {
    let config = Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        ..Config::default()
    };
    server.create_stream_with(config).await.unwrap();
}

/// Compares a subject's stored payloads with those that must be there, in their order.
fn assert_stored(expected: &[(String, Bytes)], stored: &[StoredMessage]) {
    let events = expected
        .iter()
        .map(|(_, payload)| Event::acknowledged(payload.clone()));
    let messages = stored
        .iter()
        .map(|m| (m.subject.as_str(), m.payload.clone()));
    let findings = Findings::of(events, messages);
    assert!(findings.is_clean(), "{findings}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_on_one_spool_lose_nothing() {
    let trial = Trial::new("spool-owners", 12);
    let mut dice = Dice::new(trial.seed());
    let server = NatsServer::start().await.unwrap();
    let template = killed_spool().await;
    let (mut refused, mut events) = (0, 0);
    for round in 0..trial.count() {
        create_stream(&server).await;
        let folder = tempfile::tempdir().unwrap();
        copy(template.path(), folder.path());
        if dice.coin() {
            damage(folder.path(), &mut dice);
        }
        let mut expected = readable(folder.path());
        let lines = tempfile::tempdir().unwrap();
        let url = server.url();
        let mut starts: Vec<(u64, Act)> = (0..2 + dice.below(3))
            .map(|_| (dice.below(20), *dice.one_of(&ACTS)))
            .collect();
        starts.sort_by_key(|(at, _)| *at);
        let begun = Instant::now();
        let mut actors = Vec::new();
        for (number, (at, act)) in starts.into_iter().enumerate() {
            tokio::time::sleep_until(begun + Duration::from_millis(at)).await;
            let line = Bytes::from(event(usize::try_from(round).unwrap() * 10 + number));
            let path = file_of(&lines, &number.to_string(), std::slice::from_ref(&line));
            let child = act.start(folder.path(), &url, &path);
            // The outcome of a killed publish would be unknown.
            let is_killed = act != Act::Publish && dice.once_in(4);
            let actor = Actor {
                act,
                child,
                is_killed,
            };
            actors.push((actor, line));
        }
        sleep(Duration::from_millis(dice.below(30))).await;
        for (actor, _) in &mut actors {
            if actor.is_killed {
                actor.child.kill().unwrap();
            }
        }
        for (actor, line) in actors {
            let act = actor.act;
            let had = actor.had_the_spool(folder.path());
            refused += u64::from(had == Some(false));
            if act == Act::Publish && had == Some(true) {
                expected.push(("events.published".to_owned(), line));
            }
        }
        let last = command("spool", &["replay", as_text(folder.path()), "-s", &url]).output();
        let last = last.unwrap();
        assert!(matches!(last.status.code(), Some(0 | 1)), "{last:?}");
        let stored = there(&server).await;
        for subject in ["events.0", "events.1", "events.published"] {
            let of_subject = |found: &str| found == subject;
            let expected: Vec<_> = expected
                .iter()
                .filter(|e| of_subject(&e.0))
                .cloned()
                .collect();
            let stored: Vec<_> = stored
                .iter()
                .filter(|m| of_subject(&m.subject))
                .cloned()
                .collect();
            if subject == "events.published" {
                // Two processes may publish in any order.
                assert_eq!(expected.len(), stored.len(), "round {round}");
                continue;
            }
            assert_stored(&expected, &stored);
        }
        events += expected.len();
        let jetstream = server.jetstream().await.unwrap();
        jetstream.delete_stream("EVENTS").await.unwrap();
    }
    println!("{refused} processes were refused");
    assert!(refused > 0 || trial.count() < 10, "they never met");
    trial.passed_over(trial.count(), events);
}
