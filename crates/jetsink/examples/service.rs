//! A service with status and metrics: emits events at a steady rate, prints each change of its sink's status,
//! and serves its metrics to Prometheus.
//!
//! ```text
//! nats-server -js &
//! jetsink stream apply --name EXAMPLES --subject 'examples.>'
//! cargo run -p jetsink --example service -- NATS_URL SUBJECT EVENTS_PER_SECOND METRICS_ADDRESS [SPOOL_FOLDER]
//! cargo run -p jetsink --example service -- nats://127.0.0.1:4222 examples.demo 10 127.0.0.1:9465 /tmp/spool
//! curl 127.0.0.1:9465/metrics
//! ```
//!
//! prints `metrics at http://127.0.0.1:9465`, a line at each change, such as `connected for 0 s` or, without a
//! broker, `reconnecting for 2 s, 4 probes failed; last failure: …`, and on Ctrl-C its receipt. An event that can't be stored is one line on stderr, with the reason.

use std::error::Error;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use jetsink::{Binding, ConnectSettings, NatsPublisher, Sink, SinkSettings, SpoolSettings};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (settings, spool) =
        match &arguments[..] {
            [url, subject, rate, metrics] => ((url, subject, rate, metrics), None),
            [url, subject, rate, metrics, spool] => ((url, subject, rate, metrics), Some(spool)),
            _ => return Err(
                "usage: service NATS_URL SUBJECT EVENTS_PER_SECOND METRICS_ADDRESS [SPOOL_FOLDER]"
                    .into(),
            ),
        };
    let (url, subject, rate, metrics) = settings;

    // Before the sink, which registers its counters when it is made.
    let seconds = [
        0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0,
    ];
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_duration_seconds".to_owned()), &seconds)?
        .install_recorder()?;
    let listener = TcpListener::bind(metrics).await?;
    println!("metrics at http://{}", listener.local_addr()?);
    tokio::spawn(serve(listener, recorder));

    // The service also starts without a broker.
    let connect = ConnectSettings::new(url)?.start_disconnected(true);
    let publisher = NatsPublisher::connect(connect).await?;
    let sink = match spool {
        None => Sink::new(publisher, SinkSettings::default()),
        Some(folder) => {
            let spool = SpoolSettings::new(folder);
            Sink::with_spool(publisher, SinkSettings::default(), spool).await?
        }
    };
    let sink = Arc::new(sink);

    let watched = Arc::clone(&sink);
    tokio::spawn(async move {
        let mut watch = watched.watch();
        loop {
            println!("{}", watch.changed().await);
        }
    });

    let binding = Binding::new(subject.parse()?);
    let mut tick = interval(Duration::from_secs_f64(1.0 / rate.parse::<f64>()?));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // One listener for all ticks: a signal between two listeners would be lost.
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    for number in 0_u64.. {
        tokio::select! {
            _ = tick.tick() => {}
            _ = &mut interrupt => break,
        }
        let json = format!(
            r#"{{"specversion":"1.0","id":"{number}","source":"/service","type":"service.worked"}}"#
        );
        let envelope = binding.envelope(json.into())?;
        let sink = Arc::clone(&sink);
        // The service does not wait for the result, which is available within 2 s.
        tokio::spawn(async move {
            if let Err(error) = sink.emit(envelope).await {
                eprintln!("{error}");
            }
        });
    }
    println!("{:?}", sink.close(Duration::from_secs(5)).await);
    Ok(())
}

/// Answers every request with the metrics. A real service has an HTTP server for this.
async fn serve(listener: TcpListener, metrics: PrometheusHandle) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let metrics = metrics.clone();
        tokio::spawn(async move {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let body = metrics.render();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\n\
                 content-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(body.as_bytes()).await;
        });
    }
}
