//! The spans that an event leaves behind: names and fields that stay. One test, since it owns the
//! process's subscriber.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::*;
use jetsink::{Delivery, NatsPublisher, Publisher as _, Sink, SinkSettings, SpoolSettings};
use tokio::time::{sleep, timeout};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// A span's name and fields, once it has ended.
type Seen = (String, BTreeMap<String, String>);

#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Seen>>>);

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}").trim_matches('"').to_owned();
        self.0.insert(field.name().to_owned(), text);
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        if span.metadata().target() == "jetsink" {
            let fields = span.extensions_mut().remove::<Fields>().unwrap().0;
            let seen = (span.name().to_owned(), fields);
            self.0.lock().unwrap().push(seen);
        }
    }
}

impl Spans {
    fn take(&self, name: &str) -> Option<BTreeMap<String, String>> {
        let mut seen = self.0.lock().unwrap();
        let index = seen.iter().position(|(of, _)| of == name)?;
        Some(seen.remove(index).1)
    }

    /// The fields of the first span of that name since the last call for it.
    async fn next(&self, name: &str) -> BTreeMap<String, String> {
        let found = async {
            loop {
                if let Some(fields) = self.take(name) {
                    return fields;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        let found = timeout(Duration::from_secs(20), found).await;
        found.unwrap_or_else(|_| panic!("no span {name}"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_trace_an_event_to_the_stream_and_to_the_disk() {
    let spans = Spans::default();
    tracing_subscriber::registry().with(spans.clone()).init();
    let mut server = server_with_stream().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = jetsink::ConnectSettings::new(&server.url()).unwrap();
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    let sink = Sink::with_spool(
        publisher,
        SinkSettings::default().sink_id("me").unwrap(),
        SpoolSettings::new(folder.path()),
    );
    let sink = sink.await.unwrap();

    emit(&sink, "events.a", "x".into()).await.result.unwrap();
    let stored = spans.next("publish").await;
    assert_eq!(stored["subject"], "events.a");
    let id = &stored["message_id"];
    assert!(id.starts_with("me.") && id.ends_with(".1"), "{id}");
    assert_eq!(stored["stream"], "EVENTS");
    assert_eq!(
        (&*stored["sequence"], &*stored["duplicate"]),
        ("1", "false")
    );
    assert!(!stored.contains_key("error"));

    server.kill().unwrap();
    // An event that was in flight when the connection ended may be stored: the look-up finds that out.
    let mut connection = sink.publisher().connection().unwrap();
    connection.wait_for(|c| !c.up).await.unwrap();
    let spooled = emit(&sink, "events.b", "y".into()).await.result.unwrap();
    assert_eq!(spooled, Delivery::Spooled);
    let disk = spans.next("spool").await;
    assert_eq!(disk["subject"], "events.b");
    assert_eq!(
        disk["message_id"],
        format!("{}.2", id.strip_suffix(".1").unwrap())
    );

    server.restart().await.unwrap();
    spans.next("connect").await;
    let replay = loop {
        let replay = spans.next("replay").await;
        if replay["replayed"] != "0" {
            break replay;
        }
    };
    assert_eq!((&*replay["pending"], &*replay["replayed"]), ("1", "1"));

    let huge = vec![b'x'; 2 << 20];
    emit(&sink, "events.a", huge.into())
        .await
        .result
        .unwrap_err();
    let refused = loop {
        let span = spans.next("publish").await;
        if span["subject"] == "events.a" {
            break span;
        }
    };
    assert!(refused["error"].contains("2097"), "{refused:?}");
}
