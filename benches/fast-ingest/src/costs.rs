//! What one event costs the server, and what makes it cheaper: each change on its own beside the base.

use std::time::Duration;

use async_nats::jetstream::stream::{
    Compression, Config, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType,
};

use crate::broker::{Broker, PAYLOAD_BYTES, stream};
use crate::raw::{Connection, Reply, Shape};
use crate::report::{Row, Sample, print};
use crate::{Args, Result};

struct Case {
    name: &'static str,
    shape: Shape,
    stream: Config,
    /// Of the server's configuration.
    lines: &'static str,
    connections: usize,
    /// Of a slow one: measure a part of the events only.
    part: u64,
}

/// The base, with something changed.
fn case(name: &'static str, change: impl FnOnce(&mut Case)) -> Case {
    let mut case = Case {
        name,
        shape: Shape::default(),
        stream: stream(),
        lines: "",
        connections: 1,
        part: 1,
    };
    change(&mut case);
    case
}

const BASE: &str = "an id, an ack each, window 1,024, writes of 64 KiB";
const EXPECTED_STREAM: &str = "Nats-Expected-Stream: EVENTS\r\n";
const CONTENT_TYPE: &str = "content-type: application/cloudevents+json\r\n";

fn cases() -> Vec<Case> {
    let mut cases = vec![case("the base again", |_| {})];
    // What the client sends.
    cases.push(case("window 256", |c| c.shape.window = 256));
    cases.push(case("window 4,096", |c| c.shape.window = 4_096));
    cases.push(case("no id, no header", |c| c.shape.id = None));
    cases.push(case("a header, no id", |c| {
        c.shape.id = None;
        c.shape.headers = CONTENT_TYPE;
    }));
    cases.push(case("id of 3 to 8 bytes", |c| c.shape.id = Some("b.")));
    cases.push(case("id of 40 bytes", |c| {
        c.shape.id = Some("01JD3K9W6Z7QX5T2V8N4M1RBCE.0000000.");
    }));
    cases.push(case("+ content-type", |c| c.shape.headers = CONTENT_TYPE));
    cases.push(case("+ Nats-Expected-Stream", |c| {
        c.shape.headers = EXPECTED_STREAM
    }));
    cases.push(case("short reply subjects", |c| {
        c.shape.reply = Reply::Short
    }));
    for (name, slots) in [
        ("1 reply subject for all", 1),
        ("128 reply subjects in turn", 128),
        ("256 reply subjects in turn", 256),
        ("512 reply subjects in turn", 512),
        ("1,024 reply subjects in turn", 1_024),
    ] {
        cases.push(case(name, |c| c.shape.reply = Reply::Slots(slots)));
    }
    cases.push(case("1 reply subject, window 4,096", |c| {
        c.shape.reply = Reply::Slots(1);
        c.shape.window = 4_096;
    }));
    cases.push(case("an ack asked for each 10th", |c| {
        c.shape.reply = Reply::Each(10)
    }));
    cases.push(case("an ack asked for each 100th", |c| {
        c.shape.reply = Reply::Each(100)
    }));
    cases.push(case("one event a write", |c| c.shape.write = 1));
    cases.push(case("writes of 4 KiB", |c| c.shape.write = 4 << 10));
    cases.push(case("writes of 16 KiB", |c| c.shape.write = 16 << 10));
    cases.push(case("writes of 256 KiB", |c| c.shape.write = 256 << 10));
    cases.push(case("100 subjects", |c| c.shape.subjects = 100));
    cases.push(case("10,000 subjects", |c| c.shape.subjects = 10_000));
    cases.push(case("payload of 64 bytes", |c| c.shape.payload = 64));
    cases.push(case("payload of 4 KiB", |c| c.shape.payload = 4 << 10));
    cases.push(case("2 connections", |c| c.connections = 2));
    // Batches.
    for (name, flow, acks) in [
        ("fast ingest, 100 × 2", 100, 2),
        ("fast ingest, 500 × 2", 500, 2),
        ("fast ingest, 500 × 3", 500, 3),
    ] {
        cases.push(case(name, |c| c.shape.reply = Reply::Fast { flow, acks }));
    }
    cases.push(case("fast ingest, 500 × 3, no id", |c| {
        c.shape.reply = Reply::Fast { flow: 500, acks: 3 };
        c.shape.id = None;
    }));
    for (name, size, in_flight) in [
        ("atomic batches of 100, 10 in flight", 100, 10),
        ("atomic batches of 1,000, 2 in flight", 1_000, 2),
        ("atomic batches of 1,000, 4 in flight", 1_000, 4),
    ] {
        cases.push(case(name, |c| {
            c.shape.reply = Reply::Atomic { size, in_flight }
        }));
    }
    // What the stream is.
    cases.push(case("no batches allowed", |c| {
        c.stream.allow_atomic_publish = false;
        c.stream.allow_batch_publish = false;
    }));
    cases.push(case("in memory", |c| {
        c.stream.storage = StorageType::Memory
    }));
    cases.push(case("duplicate window 100 ms", |c| {
        c.stream.duplicate_window = Duration::from_millis(100);
    }));
    cases.push(case("duplicate window 1 s", |c| {
        c.stream.duplicate_window = Duration::from_secs(1);
    }));
    cases.push(case("no batches, persist mode async", |c| {
        // The server refuses both in one stream.
        c.stream.allow_atomic_publish = false;
        c.stream.allow_batch_publish = false;
        c.stream.persist_mode = Some(PersistenceMode::Async);
    }));
    cases.push(case("compressed (s2)", |c| {
        c.stream.compression = Some(Compression::S2)
    }));
    cases.push(case("max_msgs_per_subject 1 M", |c| {
        c.stream.max_messages_per_subject = 1_000_000;
    }));
    cases.push(case("max_msgs 50,000", |c| c.stream.max_messages = 50_000));
    cases.push(case("max_bytes 1 GiB, discard new", |c| {
        c.stream.max_bytes = 1 << 30;
        c.stream.discard = DiscardPolicy::New;
    }));
    cases.push(case("max_age 1 h", |c| {
        c.stream.max_age = Duration::from_secs(3_600)
    }));
    cases.push(case("interest retention, no consumer", |c| {
        c.stream.retention = RetentionPolicy::Interest;
    }));
    cases.push(case("allow_direct", |c| c.stream.allow_direct = true));
    // How the server runs.
    cases.push(case("sync_interval always", |c| {
        // A second block replaces the fixture's.
        c.lines = "jetstream { store_dir: FOLDER, sync_interval: always }";
        c.part = 20;
    }));
    cases.push(case("no sublist cache", |c| {
        c.lines = "disable_sublist_cache: true"
    }));
    cases
}

pub(crate) async fn measure(args: &Args) -> Result<()> {
    let base = case(BASE, |_| {});
    let mut rows = Vec::new();
    for case in cases() {
        if args.wants(case.name) {
            rows.push((Row::new(case.name), case));
        }
    }
    for _ in 0..args.rounds {
        for (row, case) in &mut rows {
            let events = args.events / case.part;
            row.samples
                .push((one(&base, events).await?, one(case, events).await?));
        }
    }
    let rows: Vec<Row> = rows.into_iter().map(|(row, _)| row).collect();
    print(
        &format!(
            "What an event of {PAYLOAD_BYTES} bytes costs, over a bare socket; {} events, {} rounds; base: {BASE}",
            args.events, args.rounds
        ),
        &rows,
    );
    Ok(())
}

async fn one(case: &Case, events: u64) -> Result<Sample> {
    let folder = std::env::temp_dir().join(format!("fast-ingest-{}", std::process::id()));
    let lines = case.lines.replace("FOLDER", &format!("{folder:?}"));
    let broker = Broker::start(&lines, case.stream.clone()).await?;
    let (port, shape, count) = (broker.server.port(), case.shape.clone(), case.connections);
    let mut connections = Vec::new();
    for number in 0..count {
        connections.push(Connection::open(port, shape.clone(), number)?);
    }
    let warm_up = events / 10;
    let mut connections = publish(connections, 0, warm_up).await?;
    let watch = broker.watch()?;
    connections = publish(connections, warm_up, events).await?;
    let sample = watch.stop(events)?;
    drop(connections);
    let limits = case.stream.max_messages > 0 || case.stream.retention == RetentionPolicy::Interest;
    if !limits {
        broker.expect_stored(warm_up + events, case.name).await?;
    }
    drop(broker);
    if folder.is_dir() {
        std::fs::remove_dir_all(folder)?;
    }
    Ok(sample)
}

/// Each connection has its share of the events.
async fn publish(connections: Vec<Connection>, from: u64, events: u64) -> Result<Vec<Connection>> {
    let share = events / connections.len() as u64;
    let publish = move |(number, mut connection): (usize, Connection)| {
        let from = from + number as u64 * share;
        connection.publish(from..from + share)?;
        Ok(connection)
    };
    let numbered = connections.into_iter().enumerate();
    let threads = numbered.map(|numbered| std::thread::spawn(move || publish(numbered)));
    let threads: Vec<_> = threads.collect();
    tokio::task::spawn_blocking(move || {
        let joined = threads.into_iter().map(|thread| {
            let result: Result<Connection> = thread.join().map_err(|_| "a thread panicked")?;
            result
        });
        joined.collect()
    })
    .await?
}
