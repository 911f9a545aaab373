//! Faults of broker, stream and disk, seen by HTTP: the answers of the table in `docs/serve/README.md`, none after its deadline,
//! and each event that was answered with 202 stored once.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy};
use common::*;
use futures_util::future::join_all;
use jetsink::{ConnectSettings, NatsPublisher, Sink, SinkSettings, SpoolSettings};
use jetsink_serve::GatewaySettings;
use nats_local::{NatsCluster, NatsServer, stored};
use tokio::time::{Instant, sleep};

/// The gateway's deadline.
const DEADLINE: Duration = Duration::from_secs(3);

/// The time in which a busy machine still delivers an answer.
const SLACK: Duration = Duration::from_secs(2);

/// An election takes some seconds, and on a busy machine it may need a second one.
const RECOVERY: Duration = Duration::from_secs(60);

const ROUNDS: usize = 6;
const CLIENTS: usize = 4;

/// The servers of a cluster that a fault kills, and the other one.
const LOST: [usize; 2] = [0, 1];
const LEFT: usize = 2;

/// A fault, with the answers of the table.
#[derive(Debug, Clone, Copy)]
enum Fault {
    StreamFull,
    StreamDeleted,
    BrokerKilled,
    BrokerFrozen,
    QuorumLost,
}

impl Fault {
    /// The answers to the first requests without a spool, at least one of them; and all possible answers.
    fn without_spool(self) -> (&'static [&'static str], &'static [&'static str]) {
        const UNKNOWN: &str = "504 outcome-unknown";
        const OPEN: &str = "503 circuit-open";
        const NOT_STORED: &str = "503 not-stored";
        match self {
            Self::StreamFull | Self::StreamDeleted => (&[NOT_STORED], &[NOT_STORED, OPEN]),
            // The gateway may know of the closed connection when the first request comes.
            Self::BrokerKilled => (&[UNKNOWN, NOT_STORED, OPEN], &[UNKNOWN, NOT_STORED, OPEN]),
            Self::BrokerFrozen => (&[UNKNOWN], &[UNKNOWN, OPEN]),
            Self::QuorumLost => (&[UNKNOWN, NOT_STORED], &[UNKNOWN, NOT_STORED, OPEN]),
        }
    }
}

enum Broker {
    One(Box<NatsServer>),
    Three(NatsCluster),
}

impl Broker {
    async fn start(fault: Fault) -> Self {
        if matches!(fault, Fault::QuorumLost) {
            let cluster = NatsCluster::start().await.unwrap();
            let stream = Config {
                num_replicas: 3,
                ..events(-1)
            };
            cluster.create_stream_with(stream).await.unwrap();
            return Self::Three(cluster);
        }
        let server = NatsServer::start().await.unwrap();
        server.create_stream_with(events(-1)).await.unwrap();
        Self::One(Box::new(server))
    }

    /// The gateway's server; in a cluster the remaining one: a gateway at another one may know of the closed
    /// connection when the first request comes, and the fault would not be the lost quorum.
    fn url(&self) -> String {
        match self {
            Self::One(server) => server.url(),
            Self::Three(cluster) => cluster.url(LEFT),
        }
    }

    async fn jetstream(&self) -> async_nats::jetstream::Context {
        match self {
            Self::One(server) => server.jetstream().await.unwrap(),
            Self::Three(cluster) => cluster.jetstream().await.unwrap(),
        }
    }

    async fn begin(&mut self, fault: Fault) {
        match (fault, self) {
            (Fault::StreamFull, broker) => broker.update(events(2 * CLIENTS as i64)).await,
            (Fault::StreamDeleted, broker) => {
                let jetstream = broker.jetstream().await;
                jetstream.delete_stream("EVENTS").await.unwrap();
            }
            (Fault::BrokerFrozen, Self::One(server)) => server.freeze().unwrap(),
            (_, Self::One(server)) => server.kill().unwrap(),
            (_, Self::Three(cluster)) => {
                for server in LOST {
                    cluster.server(server).kill().unwrap();
                }
            }
        }
    }

    async fn end(&mut self, fault: Fault) {
        match (fault, self) {
            (Fault::StreamFull, broker) => broker.update(events(-1)).await,
            (Fault::StreamDeleted, broker) => {
                let jetstream = broker.jetstream().await;
                jetstream.create_stream(events(-1)).await.unwrap();
            }
            (Fault::BrokerFrozen, Self::One(server)) => server.thaw().unwrap(),
            (_, Self::One(server)) => server.restart().await.unwrap(),
            (_, Self::Three(cluster)) => {
                for server in LOST {
                    cluster.server(server).launch().unwrap();
                }
                for server in LOST {
                    cluster.server(server).wait_until_ready().await.unwrap();
                }
            }
        }
    }

    /// The stored messages. A cluster that has just started may have no leader for the reader yet.
    async fn messages(&self) -> Vec<nats_local::StoredMessage> {
        let started = Instant::now();
        loop {
            match stored(&self.jetstream().await, "EVENTS").await {
                Ok(messages) => return messages,
                Err(error) => assert!(started.elapsed() < RECOVERY, "{error}"),
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn update(&self, config: Config) {
        self.jetstream().await.update_stream(config).await.unwrap();
    }
}

/// A stream with this limit of messages.
fn events(max_messages: i64) -> Config {
    Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        max_messages,
        discard: DiscardPolicy::New,
        ..Config::default()
    }
}

/// A gateway, and the events that were sent to it.
struct Entrance {
    running: Running,
    sink: Arc<Sink<NatsPublisher>>,
    name: &'static str,
    /// The last answer of each event, by its id.
    answers: BTreeMap<String, String>,
}

impl Entrance {
    async fn open(url: &str, name: &'static str, spool: Option<&Path>) -> Self {
        let sink = sink_of(url, spool).await;
        let template = format!("events.{name}.{{type}}");
        let settings = GatewaySettings::default().deadline(DEADLINE).unwrap();
        Self {
            running: running(Arc::clone(&sink), &template, settings).await,
            sink,
            name,
            answers: BTreeMap::new(),
        }
    }

    /// Posts one event by each client. Returns the answers.
    async fn post(&mut self, round: &str) -> Vec<String> {
        let ids = (0..CLIENTS).map(|client| format!("{}-{round}-{client}", self.name));
        let ids: Vec<String> = ids.collect();
        let answers = join_all(ids.iter().map(|id| self.post_one(id))).await;
        self.answers.extend(ids.into_iter().zip(answers.clone()));
        answers
    }

    async fn post_one(&self, id: &str) -> String {
        let started = Instant::now();
        let reply = self.running.post(&[STRUCTURED], event(id, "")).await;
        let elapsed = started.elapsed();
        assert!(
            elapsed < DEADLINE + SLACK,
            "{id}: {reply:?} after {elapsed:?}"
        );
        match reply.status {
            202 => "202".to_owned(),
            status => {
                assert_eq!(reply.json()["repeat"], true, "{reply:?}");
                if matches!(status, 429 | 503) {
                    assert!(!reply.header("retry-after").is_empty(), "{reply:?}");
                }
                format!("{status} {}", reply.problem())
            }
        }
    }

    /// Repeats each event that was not accepted until it is.
    async fn repeat_all(&mut self) {
        let started = Instant::now();
        let ids: Vec<String> = self.answers.keys().cloned().collect();
        for id in ids {
            while self.answers[&id] != "202" {
                assert!(started.elapsed() < RECOVERY, "{id}: {}", self.answers[&id]);
                let answer = self.post_one(&id).await;
                self.answers.insert(id.clone(), answer);
                sleep(Duration::from_millis(20)).await;
            }
        }
    }

    async fn emptied(&self) {
        let started = Instant::now();
        while self
            .sink
            .spool()
            .is_some_and(|spool| spool.status().events > 0)
        {
            assert!(started.elapsed() < RECOVERY, "{}", self.sink.status());
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Each event, which was accepted in the end, is stored once.
fn check_stored(messages: &[nats_local::StoredMessage], entrances: &[&Entrance]) {
    let mut stored: Vec<String> = Vec::new();
    for message in messages {
        let event: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        stored.push(event["id"].as_str().unwrap().to_owned());
    }
    stored.sort_unstable();
    let sent = entrances
        .iter()
        .flat_map(|entrance| entrance.answers.keys());
    let sent: BTreeSet<String> = sent.cloned().collect();
    assert_eq!(stored, sent.into_iter().collect::<Vec<_>>());
}

async fn run(fault: Fault) {
    let mut broker = Broker::start(fault).await;
    let folder = tempfile::tempdir().unwrap();
    let mut direct = Entrance::open(&broker.url(), "direct", None).await;
    let mut spooled = Entrance::open(&broker.url(), "spooled", Some(folder.path())).await;
    for entrance in [&mut direct, &mut spooled] {
        let answers = entrance.post("before").await;
        assert!(answers.iter().all(|answer| answer == "202"), "{answers:?}");
    }
    let is_new_stream = matches!(fault, Fault::StreamDeleted);
    if is_new_stream {
        // They are gone with their stream.
        direct.answers.clear();
        spooled.answers.clear();
    }
    broker.begin(fault).await;
    let (first, later) = fault.without_spool();
    for round in 0..ROUNDS {
        let number = round.to_string();
        let (without, with) = tokio::join!(direct.post(&number), spooled.post(&number));
        // A circuit opens with the first failure.
        let begins = round > 0 || without.iter().any(|answer| first.contains(&&**answer));
        assert!(begins, "{without:?}");
        for answer in without {
            assert!(later.contains(&&*answer), "round {round}: {answer}");
        }
        assert!(
            with.iter().all(|answer| answer == "202"),
            "round {round}: {with:?}"
        );
        sleep(Duration::from_millis(100)).await;
    }
    broker.end(fault).await;
    direct.repeat_all().await;
    spooled.emptied().await;
    let messages = broker.messages().await;
    check_stored(&messages, &[&direct, &spooled]);
    // A repeat of an event that was spooled is no second one.
    for answer in spooled.post("0").await {
        assert_eq!(answer, "202");
    }
    let messages = broker.messages().await;
    check_stored(&messages, &[&direct, &spooled]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_stream_is_503_without_a_spool_and_202_with_one() {
    run(Fault::StreamFull).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_stream_is_503_without_a_spool_and_202_with_one() {
    run(Fault::StreamDeleted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_broker_is_503_or_504_without_a_spool_and_202_with_one() {
    run(Fault::BrokerKilled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_broker_is_504_and_then_503_without_a_spool_and_202_with_one() {
    run(Fault::BrokerFrozen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_quorum_is_503_or_504_without_a_spool_and_202_with_one() {
    run(Fault::QuorumLost).await;
}

/// Marks a child with a small file system; its value is the folder.
const CHILD: &str = "JETSINK_SERVE_FULL_DISK";

/// Runs this test again in a mount namespace with a tmpfs. Returns false on a machine that does not allow it.
fn run_on_a_small_disk(test: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=1m tmpfs \"$1\" || exit 77; shift; exec \"$@\"";
    let namespaces: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    for namespace in namespaces {
        let status = Command::new("unshare")
            .args(namespace)
            .args(["--", "sh", "-c", script, "sh"])
            .arg(folder.path())
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(CHILD, folder.path())
            .status();
        match status {
            Ok(status) if status.success() => return true,
            // `unshare` or `mount` is not allowed.
            Ok(status) if matches!(status.code(), Some(1 | 77)) => {}
            Err(_) => {}
            Ok(status) => panic!("{status}"),
        }
    }
    false
}

#[test]
fn full_disk_is_503_until_the_broker_is_back() {
    let folder = match std::env::var_os(CHILD) {
        Some(folder) => PathBuf::from(folder),
        None => {
            let test = "full_disk_is_503_until_the_broker_is_back";
            if !run_on_a_small_disk(test) {
                println!("skipped: this user may not mount a file system");
            }
            return;
        }
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(fill_and_empty(&folder));
}

async fn fill_and_empty(folder: &Path) {
    let mut broker = Broker::start(Fault::BrokerKilled).await;
    let mut entrance = Entrance::open(&broker.url(), "spooled", Some(&folder.join("spool"))).await;
    entrance.post("before").await;
    broker.begin(Fault::BrokerKilled).await;
    let filling = format!(r#","data":"{}""#, "x".repeat(20_000));
    let mut refused = BTreeSet::new();
    let (mut accepted, mut lasting) = (Vec::new(), 0);
    for number in 0..500 {
        let id = format!("filling-{number}");
        let started = Instant::now();
        let reply = entrance
            .running
            .post(&[STRUCTURED], event(&id, &filling))
            .await;
        assert!(started.elapsed() < DEADLINE + SLACK, "{reply:?}");
        if reply.status == 202 {
            accepted.push(id);
            continue;
        }
        assert_eq!(reply.status, 503, "{reply:?}");
        assert!(!reply.header("retry-after").is_empty(), "{reply:?}");
        refused.insert(reply.problem());
        lasting += 1;
        if lasting == 20 {
            break;
        }
    }
    assert!(
        accepted.len() > 5 && lasting == 20,
        "{accepted:?} {refused:?}"
    );
    let allowed = ["spool-full", "disk-failed"].map(str::to_owned);
    assert!(
        refused.iter().all(|problem| allowed.contains(problem)),
        "{refused:?}"
    );
    assert_ne!(
        entrance.running.gateway.readiness(),
        jetsink_serve::Readiness::Ready
    );
    broker.end(Fault::BrokerKilled).await;
    entrance.emptied().await;
    for id in accepted {
        entrance.answers.insert(id, "202".to_owned());
    }
    entrance.post("after").await;
    entrance.repeat_all().await;
    entrance.emptied().await;
    let messages = broker.messages().await;
    // An event that was refused because its record is in doubt may be stored, once.
    let mut ids = BTreeMap::new();
    for message in &messages {
        let event: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        *ids.entry(event["id"].as_str().unwrap().to_owned())
            .or_insert(0) += 1;
    }
    assert!(ids.values().all(|count| *count == 1), "{ids:?}");
    for id in entrance.answers.keys() {
        assert!(ids.contains_key(id), "{id} is lost");
    }
}

/// It was 503, so a sender that obeys repeated it for ever.
#[tokio::test]
async fn event_larger_than_the_spool_is_413_and_a_full_spool_503() {
    let mut server = broker().await;
    let connect = ConnectSettings::new(&server.url()).unwrap();
    server.kill().unwrap();
    let publisher = NatsPublisher::connect(connect.start_disconnected(true));
    let folder = tempfile::tempdir().unwrap();
    let spool = SpoolSettings::new(folder.path());
    let spool = spool.limit_bytes(4_096).unwrap();
    let settings = SinkSettings::default();
    let sink = Sink::with_spool(publisher.await.unwrap(), settings, spool);
    let sink = Arc::new(sink.await.unwrap());
    let running = running(sink, "events.{type}", GatewaySettings::default()).await;
    let post = async |id: &str, bytes| {
        let data = format!(r#","data":"{}""#, "x".repeat(bytes));
        running.post(&[STRUCTURED], event(id, &data)).await
    };
    for number in 0..50 {
        let reply = post(&format!("large {number}"), 5_000).await;
        let problem = (reply.status, reply.problem());
        assert_eq!(problem, (413, "too-large".to_owned()));
        assert_eq!(reply.json()["repeat"], false);
        assert_eq!(reply.header("retry-after"), "");
        let reply = post(&format!("small {number}"), 100).await;
        if reply.status == 202 {
            continue;
        }
        assert!(number > 2, "{reply:?}");
        let problem = (reply.status, reply.problem());
        return assert_eq!(problem, (503, "spool-full".to_owned()));
    }
    panic!("the spool is never full");
}
