//! Pipelines over a real broker: each event is stored once and in order, with any window and any fault.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use common::*;
use futures_util::StreamExt as _;
use jetsink::{
    Acknowledgement, Baselines, ConnectSettings, ConnectionState, Delivery, Envelope,
    NatsPublisher, Pipeline, PublishError, Publisher, Sink, SinkSettings, SpoolSettings, StoredId,
    StoredIds, Window, WindowResult, WindowSize,
};
use nats_local::{Impairment, NatsServer, TcpProxy, stored};
use tokio::sync::watch;
use tokio::time::Instant;

/// Only a stall takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_stores_in_order_at_any_window() {
    let server = server_with_stream().await;
    let settings = ConnectSettings::new(&server.url()).unwrap();
    // The widest window takes an unoptimized client seconds to get through.
    let patient = SinkSettings::default().deadline(PATIENCE).unwrap();
    let sink = Sink::new(NatsPublisher::connect(settings).await.unwrap(), patient);
    for window in [1, 7, 1_024, 16_384] {
        let count = if window == 1 { 500 } else { 50_000 };
        let mut pipeline = sink.pipeline(WindowSize::new(window).unwrap());
        let mut numbers = 0..count;
        let mut last = 0;
        loop {
            while pipeline.has_room()
                && let Some(number) = numbers.next()
            {
                pipeline
                    .push(event("events.a", format!("{window} {number}")))
                    .unwrap();
            }
            match pipeline.next().await {
                None => break,
                Some(Ok(Delivery::Stored(Acknowledgement { sequence, .. }))) => {
                    assert!(sequence > last, "window {window}: {sequence} after {last}");
                    last = sequence;
                }
                Some(other) => panic!("{other:?}"),
            }
        }
    }
    let there = stored(&server.jetstream().await.unwrap(), "EVENTS")
        .await
        .unwrap();
    assert_eq!(there.len(), 150_500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipeline_stores_each_event_once_in_order_over_kills_and_freezes() {
    let mut server = server_with_stream().await;
    let sink = sink_to(&server).await;
    let count = 60_000;
    let faults = async {
        for round in 0..4 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            if round % 2 == 0 {
                server.kill_for(Duration::from_millis(300)).await.unwrap();
            } else {
                server
                    .freeze_for(Duration::from_millis(2_500))
                    .await
                    .unwrap();
            }
        }
    };
    let load = async {
        let window = WindowSize::new(256).unwrap();
        let mut pipeline = sink.pipeline(window).max_outage(Duration::from_secs(30));
        let mut numbers = 0..count;
        let mut acknowledged = Vec::new();
        let mut pushed = std::collections::VecDeque::new();
        loop {
            while pipeline.has_room()
                && let Some(number) = numbers.next()
            {
                let payload = Bytes::from(format!("event {number}"));
                pushed.push_back(payload.clone());
                pipeline.push(event("events.a", payload)).unwrap();
            }
            // Slow enough that the faults fall into it.
            if acknowledged.len().is_multiple_of(16) {
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
            match pipeline.next().await {
                None => return acknowledged,
                Some(result) => {
                    result.unwrap();
                    acknowledged.extend(pushed.pop_front());
                }
            }
        }
    };
    let (acknowledged, ()) = tokio::join!(load, faults);
    assert_eq!(acknowledged.len(), count);
    let there = stored(&server.jetstream().await.unwrap(), "EVENTS")
        .await
        .unwrap();
    assert_stored_once_in_order(&acknowledged, &there);
}

/// Shortens deadlines to 3 s while the server is frozen. Afterwards a busy machine needs longer for a large window.
struct HastyPublisher {
    inner: NatsPublisher,
    is_frozen: AtomicBool,
    has_failed: AtomicBool,
}

struct HastyWindow<'a> {
    inner: Box<dyn Window + 'a>,
    publisher: &'a HastyPublisher,
}

impl Window for HastyWindow<'_> {
    fn send(&mut self, number: u64, envelope: &Arc<Envelope>, deadline: Instant) {
        let deadline = match self.publisher.is_frozen.load(Ordering::Relaxed) {
            true => deadline.min(Instant::now() + Duration::from_secs(3)),
            false => deadline,
        };
        self.inner.send(number, envelope, deadline);
    }

    fn poll_result(&mut self, context: &mut Context<'_>) -> Poll<WindowResult> {
        let sent = self.inner.poll_result(context);
        if let Poll::Ready((_, Err(_))) = &sent {
            self.publisher.has_failed.store(true, Ordering::Relaxed);
        }
        sent
    }
}

impl Publisher for HastyPublisher {
    async fn publish(
        &self,
        envelope: &Envelope,
        deadline: Instant,
    ) -> Result<Acknowledgement, PublishError> {
        self.inner.publish(envelope, deadline).await
    }

    fn enforces_deadline(&self) -> bool {
        self.inner.enforces_deadline()
    }

    fn window(&self, connection: Option<u64>) -> Box<dyn Window + '_> {
        Box::new(HastyWindow {
            inner: self.inner.window(connection),
            publisher: self,
        })
    }

    async fn stored_ids(
        &self,
        events: &[Envelope],
        after: &Baselines,
        visit: &mut (dyn FnMut(StoredId<'_>) + Send),
    ) -> Result<StoredIds, PublishError> {
        self.inner.stored_ids(events, after, visit).await
    }

    async fn stream_created(
        &self,
        stream: &str,
        domain: Option<&str>,
    ) -> Result<Option<String>, PublishError> {
        self.inner.stream_created(stream, domain).await
    }

    fn request_failover(&self) {
        self.inner.request_failover();
    }

    fn connection(&self) -> Option<watch::Receiver<ConnectionState>> {
        self.inner.connection()
    }
}

/// Pushes `count` events and awaits each as stored.
async fn send_all(mut pipeline: Pipeline<'_, HastyPublisher>, subject: &str, count: usize) {
    // Wide enough that three windows of it fill the client's queue.
    let payload = |number: usize| format!("{subject} {number:>512}");
    let mut numbers = 0..count;
    loop {
        while pipeline.has_room()
            && let Some(number) = numbers.next()
        {
            pipeline.push(event(subject, payload(number))).unwrap();
        }
        match pipeline.next().await {
            None => return,
            Some(result) => drop(result.unwrap()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelines_that_fill_the_clients_queue_store_each_event_once_in_order() {
    let server = server_with_stream().await;
    let settings = ConnectSettings::new(&server.url()).unwrap();
    let patient = SinkSettings::default().deadline(PATIENCE).unwrap();
    let publisher = HastyPublisher {
        inner: NatsPublisher::connect(settings).await.unwrap(),
        is_frozen: AtomicBool::new(true),
        has_failed: AtomicBool::new(false),
    };
    let sink = Sink::new(publisher, patient);
    let window = WindowSize::MAX;
    let count = window.get() + 1_000;
    let pipeline = || sink.pipeline(window).max_outage(PATIENCE);
    server.freeze().unwrap();
    let thaw = async {
        // All of it expires, or on a busy machine the connection ends before. It is sent again with the ids it had.
        let (publisher, give_up) = (sink.publisher(), Instant::now() + PATIENCE);
        while !publisher.has_failed.load(Ordering::Relaxed) {
            assert!(Instant::now() < give_up, "{}", sink.status());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        publisher.is_frozen.store(false, Ordering::Relaxed);
        server.thaw().unwrap();
    };
    tokio::join!(
        thaw,
        send_all(pipeline(), "events.a", count),
        send_all(pipeline(), "events.b", count),
        send_all(pipeline(), "events.c", count),
    );
    let there = stored(&server.jetstream().await.unwrap(), "EVENTS").await;
    let there = there.unwrap();
    assert_eq!(there.len(), 3 * count);
    for subject in ["events.a", "events.b", "events.c"] {
        let of_subject = there.iter().filter(|message| message.subject == subject);
        let payloads: Vec<_> = of_subject.map(|message| message.payload.clone()).collect();
        let expected: Vec<_> = (0..count).map(|n| format!("{subject} {n:>512}")).collect();
        assert!(payloads == expected, "{subject}: not each once in order");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_pipeline_does_not_block_others() {
    let server = server_with_stream().await;
    let sink = sink_to(&server).await;
    server.freeze().unwrap();
    let mut pipeline = sink.pipeline(WindowSize::new(1_000).unwrap());
    for number in 0..1_000 {
        let payload = Bytes::from(format!("dropped {number}"));
        pipeline.push(event("events.a", payload)).unwrap();
    }
    let next = tokio::time::timeout(Duration::from_millis(50), pipeline.next()).await;
    assert!(next.is_err(), "a frozen broker answers nothing: {next:?}");
    drop(pipeline);
    let started = Instant::now();
    sink.flush().await;
    assert!(started.elapsed() < Duration::from_secs(1));
    server.thaw().unwrap();
    let mut pipeline = sink.pipeline(WindowSize::new(100).unwrap());
    for number in 0..100 {
        let payload = Bytes::from(format!("kept {number}"));
        pipeline.push(event("events.a", payload)).unwrap();
    }
    while let Some(result) = pipeline.next().await {
        result.unwrap();
    }
    let there = stored(&server.jetstream().await.unwrap(), "EVENTS").await;
    let kept: Vec<_> = there
        .unwrap()
        .into_iter()
        .filter(|message| message.payload.starts_with(b"kept"))
        .map(|message| message.payload)
        .collect();
    assert_eq!(
        kept,
        (0..100).map(|n| format!("kept {n}")).collect::<Vec<_>>()
    );
}

/// The window sent later events of a subject while it asked why nothing had received the first one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_that_comes_while_the_reason_is_asked_for_gets_the_events_in_order() {
    for (has_spool, is_suspect) in [(false, false), (true, false), (false, true)] {
        println!("spool: {has_spool}, sent alone: {is_suspect}");
        let server = NatsServer::start().await.unwrap();
        // The API of this domain never answers, so the request for the reason takes half a second.
        let client = server.client().await.unwrap();
        let mut asked = client.subscribe("$JS.hub.API.STREAM.NAMES").await.unwrap();
        client.flush().await.unwrap();
        let proxy = TcpProxy::to(server.port()).await.unwrap();
        let settings = ConnectSettings::new(&format!("nats://127.0.0.1:{}", proxy.port()));
        let settings = settings.unwrap().jetstream_domain("hub").unwrap();
        let publisher = NatsPublisher::connect(settings).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let sink = if has_spool {
            let spool = SpoolSettings::new(folder.path());
            let sink = Sink::with_spool(publisher, SinkSettings::default(), spool);
            sink.await.unwrap()
        } else {
            Sink::new(publisher, SinkSettings::default())
        };
        let window = WindowSize::new(16).unwrap();
        let mut pipeline = sink.pipeline(window).max_outage(PATIENCE);
        pipeline.push(event("events.a", "0")).unwrap();
        if is_suspect {
            for _ in 0..2 {
                lose_connection(&sink, &proxy, &mut pipeline).await;
            }
            // Otherwise it is the probe of the broker, which keeps others back.
            server.create_stream("OTHER", &["other"]).await.unwrap();
            while let Err(error) = emit(&sink, "other", "x".into()).await.result {
                println!("{error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        tokio::select! {
            request = asked.next() => drop(request.unwrap()),
            result = pipeline.next() => panic!("{result:?}"),
        }
        server.create_stream("EVENTS", &["events.>"]).await.unwrap();
        for number in 1..10 {
            let event = event("events.a", number.to_string());
            pipeline.push(event).unwrap();
        }
        while let Some(result) = pipeline.next().await {
            result.unwrap();
        }
        drop(pipeline);
        let left = sink.close(PATIENCE).await;
        assert_eq!(left.spooled, 0);
        let there = stored(&server.jetstream().await.unwrap(), "EVENTS").await;
        let payloads: Vec<_> = there.unwrap().into_iter().map(|m| m.payload).collect();
        let expected: Vec<_> = (0..10).map(|number| number.to_string()).collect();
        assert_eq!(payloads, expected);
    }
}

/// Ends the connection with the pipeline's event in flight, and waits for the next one.
async fn lose_connection(
    sink: &NatsSink,
    proxy: &TcpProxy,
    pipeline: &mut Pipeline<'_, NatsPublisher>,
) {
    let give_up = Instant::now() + PATIENCE;
    proxy.impair(Impairment::SwallowFromServer);
    while sink.publisher().in_flight() == 0 {
        assert!(Instant::now() < give_up, "{}", sink.status());
        let result = tokio::time::timeout(Duration::from_millis(10), pipeline.next()).await;
        assert!(result.is_err(), "{result:?}");
    }
    proxy.impair(Impairment::Reset);
    let mut connection = sink.publisher().connection().unwrap();
    for is_up in [false, true] {
        let change = connection.wait_for(|connection| connection.up == is_up);
        let change = tokio::time::timeout(PATIENCE, change).await;
        change.unwrap().unwrap();
        if !is_up {
            // It takes the result; otherwise it keeps the probe of the broker.
            let result = tokio::time::timeout(Duration::from_millis(50), pipeline.next()).await;
            assert!(result.is_err(), "{result:?}");
            proxy.heal();
        }
    }
}
