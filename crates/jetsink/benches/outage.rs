//! The latency of emits while the broker is killed, or frozen, for a minute: 8 callers, 10,000 events
//! a second by the clock, without a spool and with one.
//!
//! `cargo bench -p jetsink --bench outage`, with `killed` or `frozen` behind `--` for one of the two.
//! `JETSINK_OUTAGE_SECONDS` (60) makes it longer or shorter. Exits with 1 where a bound is broken.
//!
//! Each caller emits its events one after another, each when it is due or, if the one before it took
//! longer, as soon as that is done. The latency is the emit's own, from the moment when its caller
//! got to it; how far that was behind the schedule stands beside it.

#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a benchmark fails
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]

#[path = "outage/circuit.rs"]
mod circuit;
mod common;
#[path = "outage/load.rs"]
mod load;
#[path = "outage/tally.rs"]
mod tally;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{cpu_time, figure, from_environment, quantile};
use delivery_audit::{Event, Findings};
use jetsink::{ConnectSettings, NatsPublisher, Sink, SinkSettings, SpoolSettings};
use load::{CALLERS, EVENTS_PER_SECOND, Load, NatsSink, Outcome};
use nats_local::{NatsServer, stored};
use tally::{Moments, Phase, Slow, counted, shown};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

/// Before the outage, and after it.
const HEALTHY: Duration = Duration::from_secs(5);

/// Until a spool must have been emptied.
const REPLAYED_WITHIN: Duration = Duration::from_secs(180);

/// The tolerance of a deadline: two processors are shared by the callers, the sink, the broker
/// and whatever else runs here.
const GRACE: Duration = Duration::from_millis(50);

/// The limit for a rejected emit, and the time from which an emit counts as waiting.
const NOTHING: Duration = Duration::from_millis(1);
const WAITING: Duration = Duration::from_millis(5);

/// The limit between emits that waited for the disk and those that waited for the broker: longer than a sync,
/// and shorter than three quarters of the deadline, the time that an emit with a spool waits for the broker.
const WAITING_FOR_THE_BROKER: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Killed,
    Frozen,
}

fn main() -> ExitCode {
    // `cargo bench` adds `--bench`.
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let runs = |name: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == name);
    let outage = Duration::from_secs(from_environment("JETSINK_OUTAGE_SECONDS", 60).max(3));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!(
        "{CALLERS} callers offer {} events/s in all; the broker is away for {outage:?}; late: emits more than 10 ms \
         behind their schedule",
        figure(f64::from(EVENTS_PER_SECOND) * CALLERS as f64)
    );
    let alone = runtime.block_on(load_alone());
    println!("the load alone, with no sink to give its events to: {alone:.1} % of a core\n");
    let mut held = true;
    for (name, fault) in [("killed", Fault::Killed), ("frozen", Fault::Frozen)] {
        for spool in [false, true] {
            if runs(name) {
                println!("{name}, {} spool", if spool { "with a" } else { "no" });
                held &= runtime.block_on(run(fault, spool, outage));
                println!();
            }
        }
    }
    if held {
        ExitCode::SUCCESS
    } else {
        println!("a bound is broken");
        ExitCode::FAILURE
    }
}

/// Returns the cost of making the events, in hundredths of a core.
async fn load_alone() -> f64 {
    const TIME: Duration = Duration::from_secs(3);
    let stop = Arc::new(AtomicBool::new(false));
    let before = cpu_time("self");
    let waiting = async {
        sleep(TIME).await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(load::run(None, TIME, &stop), waiting);
    share_of_a_core(cpu_time("self") - before, TIME)
}

/// Measures the cost of a sync just now: no spool is faster than its disk, and others may use it too.
fn disk_alone(folder: &Path) -> (String, String) {
    const TIME: Duration = Duration::from_secs(2);
    let mut file = tempfile::tempfile_in(folder).unwrap();
    let until = Instant::now() + TIME;
    let mut times = Vec::new();
    loop {
        let started = Instant::now();
        if started > until {
            break;
        }
        file.write_all(&load::payload(0, times.len())).unwrap();
        file.sync_data().unwrap();
        times.push(started.elapsed());
    }
    times.sort_unstable();
    (shown(quantile(&times, 0.5)), shown(quantile(&times, 0.99)))
}

fn share_of_a_core(cpu: Duration, time: Duration) -> f64 {
    100.0 * cpu.as_secs_f64() / time.as_secs_f64()
}

/// The times of the fault.
struct Outage {
    began: Instant,
    back: Instant,
    /// In hundredths of a core.
    cpu_share: f64,
    /// From the return to the first event that a stream acknowledged, straight or from the spool.
    first_stored: Duration,
    /// From the return to the first moment with an empty spool.
    spool_empty: Option<Duration>,
}

/// Whether all bounds held.
async fn run(fault: Fault, with_spool: bool, length: Duration) -> bool {
    let mut server = NatsServer::start().await.unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    if with_spool {
        let (p50, p99) = disk_alone(folder.path());
        println!("  the disk alone: one event's write and fdatasync p50 {p50}, p99 {p99}");
    }
    let sink = Arc::new(open(&server, with_spool.then_some(&folder)).await);
    let stop = Arc::new(AtomicBool::new(false));
    let (stop_watching, stopped) = oneshot::channel();
    let watching = tokio::spawn(circuit::watched(Arc::clone(&sink), stopped));
    let longest = length + 2 * HEALTHY + Duration::from_secs(20);
    let (load, outage) = tokio::join!(
        load::run(Some(&sink), longest, &stop),
        suffer(fault, length, &mut server, &sink, &stop)
    );
    // The last events may have gone to the spool again.
    let delivered_all = emptied(&sink).await.is_some();
    let _ = stop_watching.send(());
    let changes = watching.await.unwrap();
    let moments = Moments {
        began: outage.began,
        opened: circuit::opened(&changes, outage.began).expect("the circuit opens"),
        closed: circuit::closed(&changes).expect("the circuit closes"),
        back: outage.back,
    };
    let phases = tally::phases(&load, &moments);
    tally::print(&phases);
    for longer_than in [NOTHING, WAITING] {
        Slow::of(&phases[1], &moments, longer_than).print(longer_than);
    }
    println!(
        "  the circuit opened {} after the outage began, and made {} probes; CPU in the outage {:.1} % of a core",
        shown(moments.opened - moments.began),
        circuit::probes(&changes),
        outage.cpu_share,
    );
    print_return(&load, &outage);
    let probes = circuit::probes(&changes);
    let mut verdicts = bounds(fault, &sink, &phases, &moments, probes);
    let dead_letters = sink.spool().map_or(0, |spool| spool.status().dead_letters);
    sink.close(Duration::ZERO).await;
    verdicts.push(nothing_lost(&server, &load, delivered_all, dead_letters).await);
    for verdict in &verdicts {
        let word = if verdict.held { "held  " } else { "BROKEN" };
        println!("  {word}  {}", verdict.text);
    }
    verdicts.iter().all(|verdict| verdict.held)
}

async fn open(server: &NatsServer, folder: Option<&TempDir>) -> NatsSink {
    let settings = ConnectSettings::new(&server.url()).unwrap();
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    let Some(folder) = folder else {
        return Sink::new(publisher, SinkSettings::default());
    };
    let spool = SpoolSettings::new(folder.path());
    Sink::with_spool(publisher, SinkSettings::default(), spool)
        .await
        .unwrap()
}

/// Brings the outage about, and stops the load after it.
async fn suffer(
    fault: Fault,
    length: Duration,
    server: &mut NatsServer,
    sink: &NatsSink,
    stop: &AtomicBool,
) -> Outage {
    sleep(HEALTHY).await;
    let cpu = cpu_time("self");
    let began = Instant::now();
    match fault {
        Fault::Killed => server.kill().unwrap(),
        Fault::Frozen => server.freeze().unwrap(),
    }
    sleep(length).await;
    let cpu_share = share_of_a_core(cpu_time("self") - cpu, began.elapsed());
    let delivered = sink.status().delivered;
    match fault {
        Fault::Killed => server.restart().await.unwrap(),
        Fault::Frozen => server.thaw().unwrap(),
    }
    let back = Instant::now();
    while sink.status().delivered == delivered {
        assert!(back.elapsed() < REPLAYED_WITHIN, "nothing is stored again");
        sleep(Duration::from_millis(1)).await;
    }
    let first_stored = back.elapsed();
    let stopping = async {
        sleep(HEALTHY.saturating_sub(back.elapsed())).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (spool_empty, ()) = tokio::join!(emptied(sink), stopping);
    Outage {
        began,
        back,
        cpu_share,
        first_stored,
        spool_empty: spool_empty.map(|moment| moment - back),
    }
}

/// When the spool was empty; at once without one.
async fn emptied(sink: &NatsSink) -> Option<Instant> {
    let empty = async {
        while sink.spool().is_some_and(|spool| spool.status().events > 0) {
            sleep(Duration::from_millis(1)).await;
        }
        Instant::now()
    };
    timeout(REPLAYED_WITHIN, empty).await.ok()
}

fn print_return(load: &Load, outage: &Outage) {
    let emits = load.emits.iter().flatten();
    let straight = emits
        .filter(|emit| emit.outcome == Outcome::Stored && emit.ended() >= outage.back)
        .map(|emit| emit.ended() - outage.back)
        .min();
    println!(
        "  after the return: first event stored {}, first Ok (Stored) {}, spool empty {}; {} events were due and not \
         offered when the run ended",
        shown(outage.first_stored),
        straight.map_or("none".to_owned(), shown),
        outage.spool_empty.map_or("never".to_owned(), shown),
        counted(load.never_offered as usize),
    );
}

struct Verdict {
    held: bool,
    text: String,
}

fn bounds(
    fault: Fault,
    sink: &NatsSink,
    phases: &[Phase<'_>; 3],
    moments: &Moments,
    probes: usize,
) -> Vec<Verdict> {
    let during = &phases[1];
    let longest = phases.iter().map(Phase::longest).max().unwrap();
    let most = sink.deadline() + GRACE;
    let mut verdicts = vec![Verdict {
        held: longest <= most,
        text: format!("no emit took longer than {most:?}: {}", shown(longest)),
    }];
    if fault == Fault::Killed && sink.spool().is_none() {
        let high = during.latency(0.999);
        verdicts.push(Verdict {
            held: high <= NOTHING,
            text: format!(
                "p99.9 in the outage is {NOTHING:?} or less: {}",
                shown(high)
            ),
        });
    }
    if fault == Fault::Frozen {
        let limit = if sink.spool().is_some() {
            WAITING_FOR_THE_BROKER
        } else {
            WAITING
        };
        let slow = Slow::of(during, moments, limit);
        // Until the circuit opens each caller can be caught once.
        let sent = slow.in_flight + slow.before_open;
        let others = slow.waited() - sent;
        let one_by_one = slow.overlapping == 0 && slow.rejected == 0;
        verdicts.push(Verdict {
            held: sent <= CALLERS && others <= probes && one_by_one,
            text: format!(
                "only those sent before the circuit opened, one for each of {CALLERS} callers at the most, and {probes} \
                 probes, one at a time, waited for {limit:?}: {sent} and {others}"
            ),
        });
    }
    verdicts
}

/// Compares the stream with the outcomes that the callers got.
async fn nothing_lost(
    server: &NatsServer,
    load: &Load,
    delivered_all: bool,
    dead_letters: u64,
) -> Verdict {
    let jetstream = server.jetstream().await.unwrap();
    let stored = stored(&jetstream, "EVENTS").await.unwrap();
    let subjects: Vec<String> = (0..CALLERS).map(load::subject).collect();
    let recorded = |caller: usize, number: usize| {
        let outcome = load.emits[caller][number].outcome.recorded();
        Event::new(load::payload(caller, number), outcome).on(&subjects[caller])
    };
    let events = (0..CALLERS).flat_map(|caller| {
        let numbers = 0..load.emits[caller].len();
        numbers.map(move |number| recorded(caller, number))
    });
    let messages = stored
        .iter()
        .map(|m| (m.subject.as_str(), m.payload.clone()));
    let found = Findings::of(events, messages);
    let emits = load.emits.iter().flatten();
    let acknowledged = emits.filter(|emit| emit.outcome.is_ok()).count();
    Verdict {
        held: found.is_clean() && delivered_all && dead_letters == 0,
        text: format!(
            "each Ok'd event is stored once, in its caller's order: {} Ok'd, {} in the stream; {found}, {dead_letters} \
             dead letters",
            figure(acknowledged as f64),
            figure(stored.len() as f64),
        ),
    }
}
