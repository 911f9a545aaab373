//! How cost grows: per event, as tenants, events, payload, window and spooled subjects grow.
//!
//! `cargo bench -p jetsink --bench growth`, with names of series behind `--` for some of them. Each point is
//! measured in a process of its own, against a nats-server of its own, so that no point inherits the
//! memory of another. `JETSINK_ROUNDS` (3), `JETSINK_MAX_EVENTS` (10,000,000) and
//! `JETSINK_GROWTH_CSV` (a file for rows of `series,x,metric,value`); `cargo xtask growth` draws them.

#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a benchmark fails
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use async_nats::jetstream::stream;
use bytes::Bytes;
use common::away::{Away, emit_now, open_sink};
use common::late::Late;
use common::{Rounds, cpu_time, from_environment, shown};
use jetsink::{
    ConnectSettings, Delivery, EmitError, Envelope, NatsPublisher, Publisher, Sink, SinkSettings,
    SpoolSettings, Subject, WindowSize,
};
use nats_local::NatsServer;

/// The size of a usual lifecycle event.
const PAYLOAD_BYTES: u64 = 574;
const EVENTS: u64 = 200_000;
const SPOOLED_EVENTS: u64 = 50_000;
const WINDOW: u64 = 1_024;

/// The stream keeps no more, so that the largest count of events does not fill the disk.
const MAX_MESSAGES: i64 = 1_000_000;

/// From this number of events on, one round is enough, since it takes long.
const MANY_EVENTS: u64 = 1_000_000;

/// One measured quantity, and the sizes at which it is measured.
struct Series {
    name: &'static str,
    grows: &'static str,
    points: &'static [u64],
}

const SERIES: [Series; 6] = [
    Series {
        name: "tenants",
        grows: "tenants, 200,000 events at window 1,024",
        points: &[1, 10, 100, 1_000, 10_000, 100_000],
    },
    Series {
        name: "events",
        grows: "events of 100 bytes at window 1,024; the stream keeps the last 1,000,000",
        points: &[10_000, 100_000, 1_000_000, 10_000_000],
    },
    Series {
        name: "payload",
        grows: "payload bytes at window 64; 200 MB, but 400,000 events at the most, 200 at least",
        points: &[100, 1_000, 10_000, 100_000, 900_000],
    },
    Series {
        name: "window",
        grows: "window; 200,000 events, fewer below a window of 10",
        points: &[1, 4, 16, 64, 256, 1_024, 4_096, 16_384],
    },
    Series {
        name: "rejected",
        grows: "tenants whose emits an open circuit rejects; no broker",
        points: &[1, 10, 100, 1_000, 10_000, 100_000],
    },
    Series {
        name: "spool",
        grows: "subjects in the spool, 50,000 events, replay with window 1,024, by the same sink or the next",
        points: &[1, 10, 100, 1_000, 10_000],
    },
];

fn main() {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    if let [point, series, x] = arguments.as_slice()
        && point == "point"
    {
        return measure(series, x.parse().unwrap());
    }
    let mut rows = String::from("series,x,metric,value\n");
    for series in SERIES {
        if arguments.is_empty() || arguments.iter().any(|name| name == series.name) {
            run(&series, &mut rows);
        }
    }
    if let Some(path) = std::env::var_os("JETSINK_GROWTH_CSV") {
        std::fs::write(path, rows).unwrap();
    }
}

/// All points of a series, side by side, and the table of their medians.
fn run(series: &Series, rows: &mut String) {
    let max_events = from_environment("JETSINK_MAX_EVENTS", 10_000_000);
    let (name, grows) = (series.name, series.grows);
    let points: Vec<u64> = series
        .points
        .iter()
        .copied()
        .filter(|point| name != "events" || *point <= max_events)
        .collect();
    let mut figures: BTreeMap<u64, BTreeMap<String, Rounds>> = BTreeMap::new();
    for round in 0..from_environment("JETSINK_ROUNDS", 3).max(1) {
        for point in &points {
            if round > 0 && name == "events" && *point >= MANY_EVENTS {
                continue;
            }
            for (metric, value) in measure_apart(name, *point) {
                let of_point = figures.entry(*point).or_default();
                of_point.entry(metric).or_default().push(value);
            }
        }
    }
    println!("{name}: {grows}");
    for (point, metrics) in &figures {
        let metrics = metrics.iter().map(|(metric, rounds)| {
            let _ = writeln!(rows, "{name},{point},{metric},{:.4}", rounds.median());
            format!("{metric} {}", shown(rounds))
        });
        let metrics: Vec<String> = metrics.collect();
        println!("  {point:>10}  {}", metrics.join(", "));
    }
    println!();
}

/// One point, once, in a process of its own.
fn measure_apart(series: &str, x: u64) -> Vec<(String, f64)> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["point", series, &x.to_string()])
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{series} {x}: {complaint}");
    let text = String::from_utf8(output.stdout).unwrap();
    let metrics = text.lines().map(|line| {
        let (metric, value) = line.split_once('=').unwrap();
        (metric.to_owned(), value.parse().unwrap())
    });
    metrics.collect()
}

fn measure(series: &str, x: u64) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut load = Load {
        events: EVENTS,
        subjects: 1,
        payload_bytes: PAYLOAD_BYTES,
        window: WINDOW,
    };
    match series {
        "tenants" => load.subjects = x,
        "events" => (load.events, load.payload_bytes) = (x, 100),
        "payload" => {
            load.payload_bytes = x;
            load.events = (200_000_000 / x).clamp(200, 400_000);
            load.window = 64;
        }
        "window" => {
            load.window = x;
            load.events = EVENTS.min(20_000 * x);
        }
        "rejected" => return rejected(x),
        "spool" => {
            load.events = SPOOLED_EVENTS;
            load.subjects = x;
            return runtime.block_on(spool(&load));
        }
        other => panic!("there is no series {other}"),
    }
    runtime.block_on(pipeline(&load));
}

/// The events of a measurement, and the way they are sent.
struct Load {
    events: u64,
    subjects: u64,
    payload_bytes: u64,
    window: u64,
}

impl Load {
    fn window(&self) -> WindowSize {
        WindowSize::new(self.window as usize).unwrap()
    }

    /// Makes an envelope on demand, as a caller does, so that the load's memory does not grow.
    fn envelope(&self, number: u64) -> Envelope {
        Envelope::new(
            subject(number % self.subjects),
            Bytes::from(vec![b'x'; self.payload_bytes as usize]),
        )
    }
}

fn subject(tenant: u64) -> Subject {
    Subject::new(format!("events.t{tenant}")).unwrap()
}

/// Measures the cost per event between its start and its end.
struct Watch {
    started: Instant,
    here: Duration,
    server: Option<(String, Duration)>,
}

impl Watch {
    fn start(server: Option<&NatsServer>) -> Self {
        let server = server.map(|server| server.pid().unwrap().to_string());
        Self {
            started: Instant::now(),
            here: cpu_time("self"),
            server: server.map(|process| {
                let before = cpu_time(&process);
                (process, before)
            }),
        }
    }

    fn report(self, what: &str, events: u64) {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / events as f64;
        println!("{what}wall_us={}", each(self.started.elapsed()));
        println!("{what}cpu_us={}", each(cpu_time("self") - self.here));
        if let Some((process, before)) = self.server {
            println!("{what}server_cpu_us={}", each(cpu_time(&process) - before));
        }
    }
}

/// Resident memory of this process, now and at its highest (proc(5), `status`).
fn report_memory() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    for (metric, field) in [("resident_mb", "VmRSS:"), ("peak_mb", "VmHWM:")] {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        println!(
            "{metric}={}",
            kib.parse::<f64>().unwrap() * 1_024.0 / 1_000_000.0
        );
    }
}

async fn server() -> NatsServer {
    let server = NatsServer::start().await.unwrap();
    let config = stream::Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        max_messages: MAX_MESSAGES,
        discard: stream::DiscardPolicy::Old,
        // By default the server remembers the ids of two minutes, which is a gigabyte of its memory for
        // the largest count.
        duplicate_window: Duration::from_secs(10),
        ..stream::Config::default()
    };
    let jetstream = server.jetstream().await.unwrap();
    jetstream.create_stream(config).await.unwrap();
    server
}

async fn publisher(server: &NatsServer) -> NatsPublisher {
    let settings = ConnectSettings::new(&server.url()).unwrap();
    NatsPublisher::connect(settings).await.unwrap()
}

async fn assert_stored(server: &NatsServer, events: u64) {
    let jetstream = server.jetstream().await.unwrap();
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    assert_eq!(stream.cached_info().state.last_sequence, events);
}

async fn pipeline(load: &Load) {
    let server = server().await;
    let sink = Sink::new(publisher(&server).await, SinkSettings::default());
    let watch = Watch::start(Some(&server));
    let mut pipeline = sink.pipeline(load.window());
    let mut next = 0;
    loop {
        while next < load.events && pipeline.has_room() {
            pipeline.push(load.envelope(next)).unwrap();
            next += 1;
        }
        match pipeline.next().await {
            Some(result) => assert!(matches!(result.unwrap(), Delivery::Stored(_))),
            None => break,
        }
    }
    watch.report("", load.events);
    report_memory();
    assert_stored(&server, load.events).await;
}

/// Events wait in a spool, and are replayed: once by the same sink, once by the next one on the file, which
/// must look up what of them may be stored.
async fn spool(load: &Load) {
    let there = server().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = SpoolSettings::new(folder.path())
        .limit_bytes(8 << 30)
        .unwrap()
        .window(load.window());
    let late = Late::new(publisher(&there).await);
    let sink = Sink::with_spool(late, SinkSettings::default(), settings.clone());
    let sink = sink.await.unwrap();
    let watch = Watch::start(None);
    fill(&sink, load).await;
    watch.report("append_", load.events);
    let watch = Watch::start(Some(&there));
    sink.publisher().come();
    replayed(&sink, load).await;
    watch.report("replay_", load.events);
    sink.close(Duration::ZERO).await;
    drop(sink);
    assert_stored(&there, load.events).await;

    let filling = Sink::with_spool(Away, SinkSettings::default(), settings.clone());
    let filling = filling.await.unwrap();
    fill(&filling, load).await;
    filling.close(Duration::ZERO).await;
    drop(filling);
    let publisher = publisher(&there).await;
    let watch = Watch::start(Some(&there));
    let sink = Sink::with_spool(publisher, SinkSettings::default(), settings);
    let sink = sink.await.unwrap();
    replayed(&sink, load).await;
    watch.report("reopened_", load.events);
    report_memory();
    let receipt = sink.close(Duration::from_secs(120)).await;
    assert_eq!((receipt.delivered, receipt.spooled), (load.events, 0));
    assert_stored(&there, 2 * load.events).await;
}

async fn fill<P: Publisher>(sink: &Sink<P>, load: &Load) {
    for start in (0..load.events).step_by(4_096) {
        let numbers = start..load.events.min(start + 4_096);
        let emits = numbers.map(|number| sink.emit(load.envelope(number)));
        for result in futures_util::future::join_all(emits).await {
            assert_eq!(result.unwrap(), Delivery::Spooled);
        }
    }
}

async fn replayed<P: Publisher>(sink: &Sink<P>, load: &Load) {
    let give_up = Instant::now() + Duration::from_secs(240);
    while sink.spool().unwrap().status().events > 0 {
        assert!(Instant::now() < give_up, "{} subjects", load.subjects);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Measures emits of `tenants` in turn that an open circuit rejects.
fn rejected(tenants: u64) {
    const EMITS: u64 = 2_000_000;
    // Made in batches that stay in the processor's cache, so that only the emit is timed.
    const AT_A_TIME: u64 = 1_000;
    let sink = open_sink();
    let payload = Bytes::from(vec![b'x'; PAYLOAD_BYTES as usize]);
    let mut taken = Duration::ZERO;
    for start in (0..EMITS).step_by(AT_A_TIME as usize) {
        let made = (start..start + AT_A_TIME)
            .map(|number| Envelope::new(subject(number % tenants), payload.clone()));
        let envelopes: Vec<Envelope> = made.collect();
        let started = Instant::now();
        for envelope in envelopes {
            let error = emit_now(&sink, envelope);
            assert!(matches!(error, EmitError::CircuitOpen(_)));
        }
        taken += started.elapsed();
    }
    println!("emit_ns={}", taken.as_secs_f64() * 1e9 / EMITS as f64);
    report_memory();
}
