//! Signals for operators: metrics and the sink's status, through a broker that dies and comes back.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::time::Duration;

use common::*;
use jetsink::CircuitState as State;
use jetsink::{
    Binding, ConnectSettings, Delivery, NatsPublisher, Sink, SinkSettings, SpoolSettings,
    Validation,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::time::{sleep, timeout};

/// The value of one series; `None` if it does not exist.
fn value(metrics: &PrometheusHandle, series: &str) -> Option<f64> {
    let text = metrics.render();
    let mut lines = text.lines();
    let line = lines.find(|line| {
        line.strip_prefix(series)
            .is_some_and(|l| l.starts_with(' '))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Waits for a value that is updated once per second.
async fn becomes(metrics: &PrometheusHandle, series: &str, expected: f64) {
    let reached = async {
        while value(metrics, series) != Some(expected) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    if timeout(Duration::from_secs(20), reached).await.is_err() {
        panic!("{series} is not {expected}:\n{}", metrics.render());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_and_status_show_an_outage() {
    let metrics = PrometheusBuilder::new().install_recorder().unwrap();
    let seen = |series: &str| value(&metrics, series).unwrap_or(0.0);
    let mut server = server_with_stream().await;

    let sink = sink_to(&server).await;
    let mut watch = sink.watch();
    emit(&sink, "events.a", "stored".into())
        .await
        .result
        .unwrap();
    let refused = emit(&sink, "plain.a", "refused".into()).await;
    assert!(refused.result.is_err());
    let rejected = emit(&sink, "plain.a", "rejected".into()).await;
    assert!(rejected.result.is_err());
    assert_eq!(seen(r#"jetsink_emits_total{outcome="stored"}"#), 1.0);
    assert_eq!(seen(r#"jetsink_emits_total{outcome="refused"}"#), 1.0);
    assert_eq!(seen(r#"jetsink_emits_total{outcome="rejected"}"#), 1.0);
    assert_eq!(seen("jetsink_emit_duration_seconds_count"), 2.0);
    assert_eq!(seen("jetsink_ack_duration_seconds_count"), 1.0);
    assert_eq!(seen("jetsink_connected"), 1.0);
    assert_eq!(seen(r#"jetsink_circuits_open{scope="subject"}"#), 1.0);
    let binding = Binding::new("events.a".parse().unwrap()).validation(Validation::Lenient);
    for time in ["yesterday", "2026-11-23T09:14:05Z"] {
        let json =
            format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","time":"{time}"}}"#);
        let envelope = binding.envelope(json.into()).unwrap();
        sink.emit(envelope).await.unwrap();
    }
    assert_eq!(seen(r#"jetsink_lenient_events_total{rule="time"}"#), 1.0);
    let status = timeout(DEADLINE, watch.changed()).await.unwrap();
    assert_eq!(status.broker, State::Connected);
    assert_eq!(status.failing_subjects.len(), 1);
    assert_eq!(status.failing_subjects[0].subject.as_str(), "plain.a");

    server.kill().unwrap();
    let status = timeout(DEADLINE, watch.changed()).await.unwrap();
    assert!(matches!(status.broker, State::Reconnecting { .. }));
    assert!(
        status.to_string().contains("no connection to the broker"),
        "{status}"
    );
    becomes(&metrics, r#"jetsink_circuits_open{scope="broker"}"#, 1.0).await;
    assert_eq!(seen("jetsink_connected"), 0.0);
    let opened = r#"jetsink_circuit_transitions_total{scope="broker",to="open"}"#;
    assert_eq!(seen(opened), 1.0);
    server.restart().await.unwrap();
    becomes(&metrics, "jetsink_connected", 1.0).await;
    assert_eq!(seen("jetsink_connections_total"), 2.0);
    emit(&sink, "events.a", "again".into())
        .await
        .result
        .unwrap();
    assert_eq!(seen(r#"jetsink_circuits_open{scope="broker"}"#), 0.0);
    assert!(seen(r#"jetsink_probes_total{scope="broker",result="success"}"#) >= 1.0);
    assert_eq!(sink.status().broker, State::Connected);
    drop(sink);
    becomes(&metrics, "jetsink_connected", 0.0).await;
    assert_eq!(seen(r#"jetsink_circuits_open{scope="subject"}"#), 0.0);

    let folder = tempfile::tempdir().unwrap();
    let publisher = NatsPublisher::connect(ConnectSettings::new(&server.url()).unwrap());
    let sink = Sink::with_spool(
        publisher.await.unwrap(),
        SinkSettings::default(),
        SpoolSettings::new(folder.path()),
    );
    let sink = sink.await.unwrap();
    server.kill().unwrap();
    for number in 0..3 {
        let spooled = emit(&sink, "events.a", number.to_string().into()).await;
        assert_eq!(spooled.result.unwrap(), Delivery::Spooled);
    }
    becomes(&metrics, "jetsink_spool_events", 3.0).await;
    assert_eq!(seen(r#"jetsink_emits_total{outcome="spooled"}"#), 3.0);
    assert_eq!(seen("jetsink_spool_subjects"), 1.0);
    assert!(seen("jetsink_spool_used_bytes") < seen("jetsink_spool_limit_bytes"));
    sleep(Duration::from_millis(1_500)).await;
    assert!(seen("jetsink_spool_oldest_event_age_seconds") >= 1.0);
    assert!(sink.status().to_string().contains("; spool: 3 events"));
    server.restart().await.unwrap();
    becomes(&metrics, "jetsink_spool_events", 0.0).await;
    assert_eq!(seen("jetsink_replayed_events_total"), 3.0);
    assert_eq!(seen("jetsink_spool_oldest_event_age_seconds"), 0.0);

    let guide = std::fs::read_to_string("../../docs/operate/metrics.md").unwrap();
    for line in metrics.render().lines() {
        if let Some(help) = line.strip_prefix("# TYPE ") {
            let name = help.split(' ').next().unwrap();
            assert!(
                guide.contains(&format!("`{name}`")),
                "the guide lacks {name}"
            );
        }
    }
}
