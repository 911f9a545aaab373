//! Does one thing again and again, for `cargo xtask instructions` to count the instructions of.
//!
//! `instructions WORKLOAD PREPARED DONE` prepares the first number of events and processes the second. Two runs
//! that differ in the last number only differ by the cost of those events.

#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a benchmark fails

#[path = "../../../crates/cellos-sink-jetstream/benches/common/scripts.rs"]
mod drop_in;
#[path = "../../../crates/jetsink/benches/common/scripts.rs"]
mod scripts;

use std::hint::black_box;

use bytes::Bytes;
use jetsink::{
    ConnectSettings, Envelope, NatsPublisher, Publisher, Sink, SinkSettings, WindowSize,
};
use nats_local::NatsServer;
use scripts::{AtOnce, binding, emit_rejected, event, open_sink};

const WINDOW: WindowSize = WindowSize::new(512).unwrap();

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [workload, prepared, done] = &arguments[..] else {
        println!("`cargo xtask instructions` runs this and counts");
        return;
    };
    let (prepared, done): (usize, usize) = (prepared.parse().unwrap(), done.parse().unwrap());
    match workload.as_str() {
        "envelope" => {
            let (binding, event) = (binding(), Bytes::from_static(event().as_bytes()));
            for _ in 0..done {
                black_box(binding.envelope(event.clone()).unwrap());
            }
        }
        "rejected" => {
            let sink = open_sink();
            for envelope in envelopes(prepared, done) {
                black_box(emit_rejected(&sink, envelope));
            }
        }
        "drop-in-rejected" => {
            let (sink, event) = (drop_in::open_sink(), drop_in::event());
            for _ in 0..done {
                black_box(drop_in::emit_rejected(&sink, &event));
            }
        }
        "emit" => block_on(async {
            let sink = Sink::new(AtOnce, SinkSettings::default());
            emit_each(&sink, envelopes(prepared, done)).await;
        }),
        "pipeline" => block_on(async {
            let sink = Sink::new(AtOnce, SinkSettings::default());
            pipe(&sink, envelopes(prepared, done)).await;
        }),
        "nats-emit" => block_on(async {
            let (_server, sink) = nats().await;
            emit_each(&sink, envelopes(prepared, done)).await;
        }),
        "nats-pipeline" => block_on(async {
            let (_server, sink) = nats().await;
            pipe(&sink, envelopes(prepared, done)).await;
        }),
        other => panic!("no workload {other:?}"),
    }
}

fn block_on(workload: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(workload);
}

/// All are made, so that making them costs the same however many are then used.
fn envelopes(prepared: usize, done: usize) -> impl Iterator<Item = Envelope> {
    scripts::envelopes(prepared).into_iter().take(done)
}

async fn nats() -> (NatsServer, Sink<NatsPublisher>) {
    let server = NatsServer::start().await.unwrap();
    server
        .create_stream("CELLOS_EVENTS", &["cellos.events.>"])
        .await
        .unwrap();
    let settings = ConnectSettings::new(&server.url()).unwrap();
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    (server, Sink::new(publisher, SinkSettings::default()))
}

async fn emit_each<P: Publisher>(sink: &Sink<P>, envelopes: impl Iterator<Item = Envelope>) {
    for envelope in envelopes {
        black_box(sink.emit(envelope).await.unwrap());
    }
}

async fn pipe<P: Publisher>(sink: &Sink<P>, mut envelopes: impl Iterator<Item = Envelope>) {
    let mut pipeline = sink.pipeline(WINDOW);
    loop {
        while pipeline.has_room()
            && let Some(envelope) = envelopes.next()
        {
            pipeline.push(envelope).unwrap();
        }
        match pipeline.next().await {
            Some(result) => drop(black_box(result.unwrap())),
            None => return,
        }
    }
}
