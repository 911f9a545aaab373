//! `jetsink publish` of a file, from the disk to stored, beside raw async-nats that sends the same bytes
//! from memory, unchecked: `cargo bench -p jetsink-cli --bench publish`.
//!
//! `-- rate` and `-- memory` run a part; `JETSINK_ROUNDS` (5) and `JETSINK_EVENTS` (1,000,000) make the
//! first longer or shorter, `JETSINK_MEGABYTES` (1,000) the larger file of the second.

#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a benchmark fails
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]

#[path = "../../jetsink/benches/common/mod.rs"]
mod common;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::context::{ContextBuilder, PublishAckFuture};
use bytes::Bytes;
use common::{Rounds, cpu_time, figure, from_environment, shown};
use nats_local::NatsServer;

/// The size of a usual lifecycle event.
const EVENT_BYTES: usize = 574;
const RAW_WINDOWS: [usize; 2] = [512, 4_096];

fn main() {
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let runs = |name: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == name);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if runs("memory") {
        runtime.block_on(memory());
    }
    if runs("rate") {
        runtime.block_on(rate());
    }
}

/// One line: an event of a tenant, with its number for an id.
fn event(number: u64) -> String {
    let start = format!(
        r#"{{"specversion":"1.0","id":"{number}","source":"/bench","type":"dev.bench.filled","time":"2026-11-24T00:00:00Z","datacontenttype":"application/json","data":{{"tenantId":"acme","detail":""#
    );
    format!(
        "{start}{}\"}}}}\n",
        "x".repeat(EVENT_BYTES - start.len() - 3)
    )
}

fn write_events(path: &Path, events: u64) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    for number in 0..events {
        file.write_all(event(number).as_bytes()).unwrap();
    }
    file.flush().unwrap();
}

async fn server() -> NatsServer {
    let server = NatsServer::start().await.unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    server
}

async fn assert_stored(server: &NatsServer, events: u64) {
    let jetstream = server.jetstream().await.unwrap();
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    assert_eq!(stream.cached_info().state.messages, events);
}

/// How long a side took, and the processor time of the client's and the server's process.
struct Run {
    wall: Duration,
    client: Duration,
    server: Duration,
}

fn server_cpu(server: &NatsServer) -> Duration {
    cpu_time(&server.pid().unwrap().to_string())
}

/// The command, from its start to its end, and the most memory that it held, in kB.
async fn command(path: &Path, events: u64) -> (Run, u64) {
    let server = server().await;
    let (before, started) = (server_cpu(&server), Instant::now());
    let mut child = Command::new(env!("CARGO_BIN_EXE_jetsink"))
        .args(["publish", "--server", &server.url()])
        .args(["--subject", "events.{tenantId}"])
        .arg(path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let process = child.id().to_string();
    let (mut client, mut memory) = (Duration::ZERO, 0);
    let status = loop {
        // As it stood last before its end.
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        client = cpu_time(&process);
        memory = most_memory(&process).unwrap_or(memory);
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let run = Run {
        wall: started.elapsed(),
        client,
        server: server_cpu(&server) - before,
    };
    assert!(status.success());
    assert_stored(&server, events).await;
    (run, memory)
}

/// A process's `VmHWM` (proc(5)), in kB; none once it has ended.
fn most_memory(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Plain async-nats, as its users write it, with the lines in memory, a message id and a content type
/// each.
async fn raw(lines: &[Bytes], window: usize) -> Run {
    let server = server().await;
    let client = async_nats::connect(server.url()).await.unwrap();
    let jetstream = ContextBuilder::new().max_ack_inflight(window).build(client);
    let (server_before, before, started) = (server_cpu(&server), cpu_time("self"), Instant::now());
    let mut in_flight: VecDeque<PublishAckFuture> = VecDeque::with_capacity(window);
    for (number, line) in lines.iter().enumerate() {
        if in_flight.len() >= window
            && let Some(oldest) = in_flight.pop_front()
        {
            oldest.await.unwrap();
        }
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/cloudevents+json");
        headers.insert("Nats-Msg-Id", format!("bench.{number}"));
        let ack = jetstream
            .publish_with_headers("events.acme", headers, line.clone())
            .await
            .unwrap();
        in_flight.push_back(ack);
    }
    for ack in in_flight {
        ack.await.unwrap();
    }
    let run = Run {
        wall: started.elapsed(),
        client: cpu_time("self") - before,
        server: server_cpu(&server) - server_before,
    };
    assert_stored(&server, lines.len() as u64).await;
    run
}

async fn rate() {
    let rounds = from_environment("JETSINK_ROUNDS", 5).max(1);
    let events = from_environment("JETSINK_EVENTS", 1_000_000);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    write_events(&path, events);
    let text = Bytes::from(std::fs::read(&path).unwrap());
    let lines: Vec<Bytes> = text
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| text.slice_ref(&line[..line.len() - 1]))
        .collect();
    println!(
        "{} events of {EVENT_BYTES} bytes, events/s, medians of {rounds} rounds (spread)",
        figure(events as f64)
    );
    let mut rates = vec![Rounds::default(); 1 + RAW_WINDOWS.len()];
    let mut work = Vec::new();
    for _ in 0..rounds {
        work = vec![command(&path, events).await.0];
        for window in RAW_WINDOWS {
            work.push(raw(&lines, window).await);
        }
        for (rates, run) in rates.iter_mut().zip(&work) {
            rates.push(events as f64 / run.wall.as_secs_f64());
        }
    }
    let raw_names = RAW_WINDOWS.map(|window| format!("raw from memory, window {window}"));
    let names = std::iter::once("jetsink publish FILE".to_owned()).chain(raw_names);
    for ((name, rates), run) in names.zip(&rates).zip(&work) {
        let each = |cpu: Duration| figure(cpu.as_secs_f64() * 1e6 / events as f64);
        let (client, server) = (each(run.client), each(run.server));
        println!(
            "  {name:<29} {}, CPU µs/event: {client} here, {server} in the server",
            shown(rates)
        );
    }
    for (window, raw) in RAW_WINDOWS.iter().zip(&rates[1..]) {
        println!(
            "  publish / raw at {window:<12} {}",
            shown(&rates[0].ratios(raw))
        );
    }
}

/// The most memory that the command held, by the size of its file.
async fn memory() {
    let larger = from_environment("JETSINK_MEGABYTES", 1_000);
    let folder = tempfile::tempdir().unwrap();
    println!("the most memory that `jetsink publish` held");
    for megabytes in [10, larger] {
        let events = megabytes * 1_000_000 / EVENT_BYTES as u64;
        let path = folder.path().join("events.jsonl");
        write_events(&path, events);
        let (run, most) = command(&path, events).await;
        println!(
            "  {megabytes} MB, {} events: {} MB, in {:.1?}",
            figure(events as f64),
            figure(most as f64 / 1e3),
            run.wall
        );
    }
    println!();
}
