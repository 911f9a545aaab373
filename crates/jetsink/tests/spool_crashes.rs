//! A process that emits into a spool is killed at random moments, while its broker is killed and
//! frozen at random: every event for which it got `Ok` is stored once, in order.
//!
//! `cargo xtask trials --only kills --count 1000` for more than the usual 100; `--seed` with the same count
//! repeats a run as far as the machine's timing lets it.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use async_nats::jetstream::stream::Config;
use bytes::Bytes;
use common::*;
use delivery_audit::{Event, Findings};
use jetsink::{ConnectSettings, NatsPublisher, Sink, SinkSettings, SpoolSettings};
use nats_local::{NatsServer, stored};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::{sleep, timeout};
use trial::{Dice, Trial};

const CHILD: &str = "JETSINK_CRASHING_CHILD";

async fn sink(url: &str, folder: &str) -> NatsSink {
    let connect = ConnectSettings::new(url).unwrap().start_disconnected(true);
    let publisher = NatsPublisher::connect(connect).await.unwrap();
    let spool = SpoolSettings::new(folder);
    Sink::with_spool(publisher, SinkSettings::default(), spool)
        .await
        .unwrap()
}

/// Emits until it is killed, and prints each result.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_emits_until_it_is_killed() {
    let Ok(orders) = std::env::var(CHILD) else {
        return;
    };
    let mut orders = orders.split(' ');
    let mut order = || orders.next().unwrap().to_owned();
    let (url, folder, generation) = (order(), order(), order());
    let sink = sink(&url, &folder).await;
    let mut output = std::io::stdout();
    for number in 0.. {
        let payload = format!("{generation}.{number}");
        let result = sink.emit(event("events.a", payload.clone())).await;
        let word = if result.is_ok() { "ok" } else { "failed" };
        // A test's own output goes before it on the line.
        writeln!(output, "\n{word} {payload}").unwrap();
        output.flush().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_killed_at_random_loses_no_acknowledged_event() {
    let trial = Trial::new("kills", 100);
    let crashes = trial.count();
    let mut dice = Dice::new(trial.seed());

    let mut server = NatsServer::start().await.unwrap();
    let config = Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        duplicate_window: Duration::from_millis(100),
        ..Config::default()
    };
    server.create_stream_with(config).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut emitted = Vec::new();
    let mut acknowledged = 0;
    for generation in 0..crashes {
        let orders = format!("{} {} {generation}", server.url(), folder.path().display());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "the_child_emits_until_it_is_killed",
                "--nocapture",
            ])
            .env(CHILD, orders)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let life = Duration::from_millis(dice.below(250));
        let fault = async {
            sleep(Duration::from_millis(dice.below(200))).await;
            let outage = Duration::from_millis(dice.below(400));
            match dice.below(4) {
                0 => {
                    server.kill_for(outage).await.unwrap();
                }
                1 => {
                    server.freeze_for(outage).await.unwrap();
                }
                _ => {}
            }
        };
        let killed = async {
            sleep(life).await;
            child.kill().await.unwrap();
        };
        tokio::join!(fault, killed);
        let mut last = 0;
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some(payload) = line.strip_prefix("ok ") {
                emitted.push(Event::acknowledged(Bytes::from(payload.to_owned())));
                acknowledged += 1;
                last += 1;
            } else if let Some(payload) = line.strip_prefix("failed ") {
                emitted.push(Event::unknown(Bytes::from(payload.to_owned())));
                last += 1;
            }
        }
        // The emit that was interrupted by the kill.
        emitted.push(Event::unknown(Bytes::from(format!("{generation}.{last}"))));
    }
    let sink = sink(&server.url(), &folder.path().display().to_string()).await;
    let left = sink.spool().unwrap().status().events;
    let receipt = timeout(Duration::from_secs(90), sink.close(Duration::from_secs(60)))
        .await
        .unwrap();
    println!("{acknowledged} told Ok, {left} of them left to the last process; {receipt:?}",);
    assert_eq!(receipt.spooled, 0);
    let stored = stored(&server.jetstream().await.unwrap(), "EVENTS")
        .await
        .unwrap();
    let findings = Findings::of(emitted, messages(&stored));
    assert!(findings.is_clean(), "{findings}");
    // One alone may be killed before it has begun.
    assert!(
        acknowledged as u64 > crashes || crashes < 10,
        "the children did nothing"
    );
    trial.passed_over(crashes, acknowledged);
}
