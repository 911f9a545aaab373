//! A broker that is never there.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use jetsink::{
    Acknowledgement, EmitError, Envelope, PublishError, Publisher, Sink, SinkSettings, Subject,
};
use tokio::time::Instant;

pub struct Away;

impl Publisher for Away {
    async fn publish(&self, _: &Envelope, _: Instant) -> Result<Acknowledgement, PublishError> {
        Err(PublishError::NotConnected)
    }
}

/// A sink whose circuit has failed so often that it stays open for three minutes.
pub fn open_sink() -> Sink<Away> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let sink = Sink::new(Away, SinkSettings::default());
        for _ in 0..12 {
            tokio::time::sleep(Duration::from_secs(180)).await;
            let subject = Subject::new("events.none").unwrap();
            let _ = sink
                .emit(Envelope::new(subject, Bytes::from_static(b"x")))
                .await;
        }
        sink
    })
    // From here on with the clock that services have.
}

/// An emit that does not have to wait.
pub fn emit_now(sink: &Sink<Away>, envelope: Envelope) -> EmitError {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(sink.emit(envelope)).poll(&mut context) {
        Poll::Ready(result) => result.unwrap_err(),
        Poll::Pending => panic!("it waits"),
    }
}
