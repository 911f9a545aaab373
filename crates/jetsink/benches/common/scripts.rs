//! Publishers without a broker, and events to hand them.

#![allow(dead_code)] // each of its users takes a part

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use jetsink::{
    Acknowledgement, Binding, EmitError, Envelope, PublishError, Publisher, Sink, SinkSettings,
};
use tokio::time::Instant;

/// One line of the samples, of 569 bytes: the size of a usual lifecycle event.
pub fn event() -> &'static str {
    let samples = include_str!("../../../../samples/cellos-events.jsonl");
    let mut lines = samples.lines();
    lines.find(|line| line.len() == 569).unwrap()
}

pub fn binding() -> Binding {
    Binding::new("cellos.events.{tenantId}".parse().unwrap())
}

/// The event as the engine gets it: structured, with its one header.
pub fn envelope() -> Envelope {
    binding().envelope(event().into()).unwrap()
}

/// Returns `count` envelopes, made before any is used.
pub fn envelopes(count: usize) -> Vec<Envelope> {
    std::iter::repeat_with(envelope).take(count).collect()
}

/// A broker that is away.
pub struct Away;

impl Publisher for Away {
    async fn publish(&self, _: &Envelope, _: Instant) -> Result<Acknowledgement, PublishError> {
        Err(PublishError::NotConnected)
    }

    fn enforces_deadline(&self) -> bool {
        true
    }
}

/// A broker that stores at once. Its stream has no name, so that the script itself allocates nothing.
pub struct AtOnce;

impl Publisher for AtOnce {
    async fn publish(&self, _: &Envelope, _: Instant) -> Result<Acknowledgement, PublishError> {
        Ok(Acknowledgement::new("", 1))
    }

    fn enforces_deadline(&self) -> bool {
        true
    }
}

/// A sink whose circuit is open for longer than a measurement takes, but for a probe now and then. With
/// the clock that services have: a paused one is dearer to read.
pub fn open_sink() -> Sink<Away> {
    let sink = Sink::new(Away, SinkSettings::default());
    loop {
        match emit_rejected(&sink, envelope()) {
            EmitError::CircuitOpen(open) if open.attempt >= 4 => return sink,
            EmitError::CircuitOpen(open) => std::thread::sleep(open.retry_after),
            _ => {}
        }
    }
}

/// An emit that is rejected, and so does not have to wait.
pub fn emit_rejected(sink: &Sink<Away>, envelope: Envelope) -> EmitError {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(sink.emit(envelope)).poll(&mut context) {
        Poll::Ready(result) => result.unwrap_err(),
        Poll::Pending => panic!("it waits"),
    }
}
