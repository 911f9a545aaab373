//! Trials: every subject in a spool is served. Many tenants whose replay was killed half-way, and subjects whose stream
//! does not answer beside a healthy one, with a real server.
//!
//! `JETSINK_TRIAL_COUNT=100000 cargo test --release -p jetsink --test trial_spool_subjects tenants -- --nocapture` for
//! 100,000 tenants, and `JETSINK_TRIAL_COUNT=640 …  silent` for the bounds of a machine without other work.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

#[path = "common/shelf.rs"]
mod shelf;

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::Config;
use bytes::Bytes;
use futures_util::StreamExt as _;
use jetsink::{
    Acknowledgement, Baselines, ConnectSettings, ConnectionState, Delivery, Envelope,
    NatsPublisher, PublishError, Publisher, Sink, SinkSettings, SinkStatus, SpoolSettings,
    StoredId, StoredIds, Subject, Window, WindowResult, WindowSize,
};
use nats_local::{NatsServer, stored};
use nix::sys::signal::{Signal, raise};
use shelf::{Shelf, copy, memory_folder};
use tokio::process::Command;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use trial::{Trial, variable};

const CHILD: &str = "JETSINK_SUBJECTS_CHILD";

const EVENTS_PER_TENANT: u64 = 2;

/// Replay's window.
const MAX_IN_FLIGHT: u64 = 512;

/// The requests about the stream SILENT, and its events, go to a subscriber that does not answer.
const SILENT: &str = r#"
mappings = {
    "$JS.API.STREAM.INFO.SILENT": "void.info"
    "$JS.API.STREAM.MSG.GET.SILENT": "void.get"
    "$JS.API.CONSUMER.CREATE.SILENT.>": "void.create.>"
    "$JS.API.DIRECT.GET.SILENT": "void.direct"
    "$JS.API.DIRECT.GET.SILENT.>": "void.direct.>"
    "silent.>": "void.events.>"
}
"#;

fn settings(folder: &Path) -> SpoolSettings {
    let settings = SpoolSettings::new(folder).limit_bytes(4 << 30).unwrap();
    settings.window(WindowSize::new(MAX_IN_FLIGHT as usize).unwrap())
}

/// The library's log on stderr explains a test that fails.
fn log() {
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(std::io::stderr);
    let ours = Targets::new().with_target("jetsink", LevelFilter::INFO);
    // Another test of this process may have set it.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(ours))
        .try_init();
}

/// The maximum duration of one wait. The test runner ends a test after five minutes, without a word of its state.
fn max_wait() -> Duration {
    let is_counted = variable("JETSINK_TRIAL_COUNT").is_some();
    Duration::from_secs(if is_counted { 300 } else { 60 })
}

async fn sink_to(server: &NatsServer, folder: &Path) -> Sink<NatsPublisher> {
    let connect = ConnectSettings::new(&server.url()).unwrap();
    let publisher = NatsPublisher::connect(connect).await.unwrap();
    let sink = Sink::with_spool(publisher, SinkSettings::default(), settings(folder));
    sink.await.unwrap()
}

fn event(subject: &str, number: u64) -> Envelope {
    let payload = format!("{number:>574}");
    Envelope::new(Subject::new(subject).unwrap(), Bytes::from(payload))
}

/// Spools events while the broker is away.
async fn spool(folder: &Path, events: impl Iterator<Item = Envelope>) {
    let sink = Sink::with_spool(Shelf::away(), SinkSettings::default(), settings(folder));
    let sink = sink.await.unwrap();
    let mut emits = futures_util::stream::iter(events)
        .map(|event| sink.emit(event))
        .buffered(2_048);
    while let Some(emitted) = emits.next().await {
        assert_eq!(emitted.unwrap(), Delivery::Spooled);
    }
    drop(emits);
    sink.close(Duration::ZERO).await;
}

/// Waits until the status of the sink is as expected; returns the time since `started`.
async fn reached(
    sink: &Sink<NatsPublisher>,
    started: Instant,
    is_reached: impl Fn(&SinkStatus) -> bool,
) -> Duration {
    loop {
        let status = sink.status();
        if is_reached(&status) {
            return started.elapsed();
        }
        let publisher = sink.publisher();
        assert!(started.elapsed() < max_wait(), "{status:?}, {publisher:?}");
        sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until the sink has delivered this many events; returns the time since `started`.
async fn delivered(sink: &Sink<NatsPublisher>, events: u64, started: Instant) -> Duration {
    reached(sink, started, |status| status.delivered >= events).await
}

async fn emptied(sink: &Sink<NatsPublisher>, started: Instant) -> Duration {
    let is_empty = |status: &SinkStatus| status.spool.is_some_and(|spool| spool.events == 0);
    reached(sink, started, is_empty).await
}

async fn messages(server: &NatsServer) -> u64 {
    let stream = server.jetstream().await.unwrap().get_stream("EVENTS").await;
    stream.unwrap().cached_info().state.messages
}

async fn server_with_events() -> NatsServer {
    let server = NatsServer::start().await.unwrap();
    let config = Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        // So that only a look-up keeps an event from being stored twice.
        duplicate_window: Duration::from_millis(100),
        ..Config::default()
    };
    server.create_stream_with(config).await.unwrap();
    server
}

fn of_tenants(tenants: u64) -> impl Iterator<Item = Envelope> {
    (0..EVENTS_PER_TENANT * tenants).map(move |number| {
        let subject = format!("events.t{}", number % tenants);
        event(&subject, number)
    })
}

/// Ends its process, as `kill -9` would, with this number of acknowledgements: the rest is not sent yet, or in flight. A
/// parent that waits for the middle of a replay may find its end on a busy machine.
struct Killed {
    publisher: NatsPublisher,
    left: AtomicU64,
}

struct KilledWindow<'a> {
    window: Box<dyn Window + 'a>,
    left: &'a AtomicU64,
}

impl Publisher for Killed {
    async fn publish(
        &self,
        envelope: &Envelope,
        deadline: tokio::time::Instant,
    ) -> Result<Acknowledgement, PublishError> {
        self.publisher.publish(envelope, deadline).await
    }

    fn enforces_deadline(&self) -> bool {
        self.publisher.enforces_deadline()
    }

    fn window(&self, connection: Option<u64>) -> Box<dyn Window + '_> {
        Box::new(KilledWindow {
            window: self.publisher.window(connection),
            left: &self.left,
        })
    }

    async fn stored_ids(
        &self,
        events: &[Envelope],
        after: &Baselines,
        visit: &mut (dyn FnMut(StoredId<'_>) + Send),
    ) -> Result<StoredIds, PublishError> {
        self.publisher.stored_ids(events, after, visit).await
    }

    async fn stream_created(
        &self,
        stream: &str,
        domain: Option<&str>,
    ) -> Result<Option<String>, PublishError> {
        self.publisher.stream_created(stream, domain).await
    }

    fn request_failover(&self) {
        self.publisher.request_failover();
    }

    fn connection(&self) -> Option<watch::Receiver<ConnectionState>> {
        self.publisher.connection()
    }
}

impl Window for KilledWindow<'_> {
    fn send(&mut self, number: u64, envelope: &Arc<Envelope>, deadline: tokio::time::Instant) {
        self.window.send(number, envelope, deadline);
    }

    fn poll_result(&mut self, context: &mut Context<'_>) -> Poll<WindowResult> {
        let (number, result) = ready!(self.window.poll_result(context));
        if result.is_ok() && self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            raise(Signal::SIGKILL).unwrap();
        }
        Poll::Ready((number, result))
    }
}

/// Replays until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_replays() {
    let Ok(orders) = std::env::var(CHILD) else {
        return;
    };
    log();
    let mut orders = orders.splitn(3, ' ');
    let mut order = || orders.next().unwrap();
    let (url, acknowledgements, folder) = (order(), order(), order());
    let publisher = NatsPublisher::connect(ConnectSettings::new(url).unwrap()).await;
    let publisher = Killed {
        publisher: publisher.unwrap(),
        left: AtomicU64::new(acknowledgements.parse().unwrap()),
    };
    let sink = Sink::with_spool(
        publisher,
        SinkSettings::default(),
        settings(Path::new(folder)),
    );
    let sink = sink.await.unwrap();
    sleep(max_wait()).await;
    panic!("{:?}, {:?}", sink.status(), sink.publisher().publisher);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_are_served_soon_after_their_replay_was_killed() {
    log();
    let trial = Trial::new("tenants", 2_000);
    // With fewer, the second half may be in flight when replay is killed, and none is left to be sent again.
    let tenants = trial.count().max(2 * MAX_IN_FLIGHT);
    let events = EVENTS_PER_TENANT * tenants;

    let (server, folder) = (server_with_events().await, tempfile::tempdir().unwrap());
    spool(folder.path(), of_tenants(tenants)).await;
    let started = Instant::now();
    let sink = sink_to(&server, folder.path()).await;
    let plain = emptied(&sink, started).await;
    sink.close(Duration::from_secs(10)).await;
    drop((sink, server));

    let (server, folder) = (server_with_events().await, tempfile::tempdir().unwrap());
    spool(folder.path(), of_tenants(tenants)).await;
    let before = Instant::now();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_child_replays", "--nocapture"])
        .env(
            CHILD,
            format!(
                "{} {} {}",
                server.url(),
                events / 2,
                folder.path().display()
            ),
        )
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let ended = timeout(2 * max_wait(), child.wait()).await;
    let ended = ended.expect("the child does not end").unwrap();
    assert_eq!(ended.signal(), Some(Signal::SIGKILL as i32), "{ended}");
    let before = before.elapsed();

    let started = Instant::now();
    let sink = sink_to(&server, folder.path()).await;
    let first = delivered(&sink, 1, started).await;
    let rest = emptied(&sink, started).await;
    sink.close(Duration::from_secs(10)).await;
    let stored = stored(&server.jetstream().await.unwrap(), "EVENTS")
        .await
        .unwrap();
    assert_eq!(stored.len() as u64, events, "lost or doubled");
    let total = (before + rest).as_secs_f64() / plain.as_secs_f64();
    println!(
        "{tenants} tenants: plain replay {plain:.2?}; killed after {before:.2?}, then the first event stored after \
         {first:.2?}, the last after {rest:.2?}: {total:.2} times the plain replay in all"
    );
    // The former replay needed 187 s to the first event of 100,000 tenants.
    let (longest, most) = if tenants >= 100_000 {
        (Duration::from_secs(2), 1.5)
    } else {
        (Duration::from_secs(20), f64::INFINITY)
    };
    assert!(first < longest, "the first event after {first:?}");
    assert!(total <= most, "{total:.2} times the plain replay");
    trial.passed_over(tenants, stored.len());
}

/// Sends nothing, and never answers.
struct Mute(Arc<Notify>);

impl Publisher for Mute {
    async fn publish(
        &self,
        _: &Envelope,
        _: tokio::time::Instant,
    ) -> Result<Acknowledgement, PublishError> {
        self.0.notify_one();
        std::future::pending().await
    }
}

/// Copies the spool of a process that was killed after it sent an event.
async fn killed_while_replaying(folder: &Path) -> tempfile::TempDir {
    let sent = Arc::new(Notify::new());
    let sink = Sink::with_spool(
        Mute(Arc::clone(&sent)),
        SinkSettings::default(),
        settings(folder),
    );
    let sink = sink.await.unwrap();
    let sent = timeout(max_wait(), sent.notified()).await;
    assert!(sent.is_ok(), "{:?}", sink.status());
    let killed = memory_folder();
    copy(folder, killed.path());
    killed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_stream_delays_no_other_stream() {
    log();
    let trial = Trial::new("silent-subjects", 640);
    let silent = trial.count();
    let healthy = 1_000;
    let builder = NatsServer::builder().config(SILENT);
    let server = builder.start().await.unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    server.create_stream("SILENT", &["silent.>"]).await.unwrap();
    let client = server.client().await.unwrap();
    let _void = client.subscribe("void.>").await.unwrap();
    client.flush().await.unwrap();

    let folder = memory_folder();
    let of_silent = (0..silent).map(|number| event(&format!("silent.s{number}"), number));
    let of_healthy = (0..healthy).map(|number| event("events.a", number));
    spool(folder.path(), of_silent.chain(of_healthy)).await;
    let killed = killed_while_replaying(folder.path()).await;

    let started = Instant::now();
    let sink = sink_to(&server, killed.path()).await;
    let first = delivered(&sink, 1, started).await;
    let last = delivered(&sink, healthy, started).await;
    println!(
        "{silent} silent subjects: the first healthy event after {first:.2?}, the last after {last:.2?}"
    );
    assert_eq!(messages(&server).await, healthy);
    assert_eq!(sink.spool().unwrap().status().events, silent);
    // The former replay needed 173 s.
    let is_counted = variable("JETSINK_TRIAL_COUNT").is_some();
    let longest = if is_counted && silent >= 640 {
        Duration::from_secs(2)
    } else {
        Duration::from_secs(20)
    };
    assert!(last < longest, "the last healthy event after {last:?}");
    trial.passed(silent);
}
