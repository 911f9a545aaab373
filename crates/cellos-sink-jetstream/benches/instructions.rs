//! Does one thing again and again, for `cargo xtask instructions` to count the instructions of.
//!
//! `instructions WORKLOAD PREPARED DONE`, as the engine's benchmark of this name has it. The same event
//! is emitted each time, so there is nothing to prepare.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a benchmark fails

use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cellos_core::ports::EventSink;
use cellos_core::{CellosError, CloudEventV1};
use cellos_sink_jetstream::{JetStreamEventSink, Publisher};

fn main() {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let [workload, _, done] = &arguments[..] else {
        println!("`cargo xtask instructions` runs this and counts");
        return;
    };
    let done: usize = done.parse().unwrap();
    match workload.as_str() {
        "drop-in-rejected" => {
            let (sink, event) = (open_sink(), event());
            for _ in 0..done {
                black_box(emit_rejected(&sink, &event));
            }
        }
        other => panic!("no workload {other:?}"),
    }
}

/// A broker that is away.
struct Away;

#[async_trait]
impl Publisher for Away {
    async fn publish(&self, _: String, _: Bytes) -> Result<(), CellosError> {
        Err(CellosError::EventSink("away".to_owned()))
    }
}

fn event() -> CloudEventV1 {
    let samples = include_str!("../../../samples/cellos-events.jsonl");
    let mut lines = samples.lines();
    serde_json::from_str(lines.find(|line| line.len() == 569).unwrap()).unwrap()
}

/// A sink whose circuit has failed so often that it stays open for three minutes.
fn open_sink() -> JetStreamEventSink {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    // From its return on with the clock that services have.
    runtime.block_on(async {
        let sink = JetStreamEventSink::from_publisher(Arc::new(Away), "cellos.events.{tenantId}");
        for _ in 0..12 {
            tokio::time::sleep(Duration::from_secs(180)).await;
            let _ = sink.emit(&event()).await;
        }
        sink
    })
}

fn emit_rejected(sink: &JetStreamEventSink, event: &CloudEventV1) -> CellosError {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(sink.emit(event)).poll(&mut context) {
        Poll::Ready(result) => result.unwrap_err(),
        Poll::Pending => panic!("it waits"),
    }
}
