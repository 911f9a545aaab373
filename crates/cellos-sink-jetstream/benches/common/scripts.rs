//! A drop-in sink whose broker is down, and an event.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cellos_core::ports::EventSink;
use cellos_core::{CellosError, CloudEventV1};
use cellos_sink_jetstream::{JetStreamEventSink, Publisher};

/// A broker that is down.
struct Away;

#[async_trait]
impl Publisher for Away {
    async fn publish(&self, _: String, _: Bytes) -> Result<(), CellosError> {
        Err(CellosError::EventSink("away".to_owned()))
    }
}

/// A line of the samples with 569 bytes: the size of a typical lifecycle event.
pub fn event() -> CloudEventV1 {
    let samples = include_str!("../../../../samples/cellos-events.jsonl");
    let mut lines = samples.lines();
    serde_json::from_str(lines.find(|line| line.len() == 569).unwrap()).unwrap()
}

/// A sink whose circuit has failed so often that it stays open for three minutes.
pub fn open_sink() -> JetStreamEventSink {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    // The clock is paused only in here.
    runtime.block_on(async {
        let sink = JetStreamEventSink::from_publisher(Arc::new(Away), "cellos.events.{tenantId}");
        for _ in 0..12 {
            tokio::time::sleep(Duration::from_secs(180)).await;
            let _ = sink.emit(&event()).await;
        }
        sink
    })
}

/// An emit that is rejected, and therefore does not wait.
pub fn emit_rejected(sink: &JetStreamEventSink, event: &CloudEventV1) -> CellosError {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(sink.emit(event)).poll(&mut context) {
        Poll::Ready(result) => result.unwrap_err(),
        Poll::Pending => panic!("it waits"),
    }
}
