//! Judges a stream's configuration and state for the events that go to it. Pure.

use std::time::Duration;

use serde_json::Value;

use super::finding::{StreamFinding, StreamLimit};
use crate::spool::arguments::WhenUnconfirmed;

/// The parts of a limit from which a finding is reported.
const FILLING: f64 = 0.8;
const FULL: f64 = 0.98;

pub(super) struct Expected {
    pub(super) retention_floor: Duration,
    pub(super) retry_span: Duration,
    /// The server's maximum message size, in bytes.
    pub(super) max_payload: Option<u64>,
    /// The spool's setting.
    pub(super) when_unconfirmed: WhenUnconfirmed,
}

/// Returns the findings of a stream from the server's answer to `STREAM.INFO`.
pub(super) fn examine(info: &Value, expected: &Expected) -> Vec<StreamFinding> {
    let config = &info["config"];
    let mut found = Vec::new();
    found.extend(takes_events(config));
    found.extend(how_full(config, &info["state"]));
    found.extend(retention(config, expected.retention_floor));
    found.extend(durability(config));
    found.extend(duplicate_window(config, expected.retry_span));
    found.extend(message_size(config, expected.max_payload));
    found.extend(unusual(config));
    found.extend(cluster(config, &info["cluster"]));
    if found.is_empty() {
        found.push(StreamFinding::Fits);
    }
    found
}

fn is_set(value: &Value) -> bool {
    value.as_bool() == Some(true)
}

fn takes_events(config: &Value) -> Vec<StreamFinding> {
    let mut found = Vec::new();
    if is_set(&config["no_ack"]) {
        found.push(StreamFinding::NoAck);
    }
    if is_set(&config["sealed"]) {
        found.push(StreamFinding::Sealed);
    }
    found
}

/// Settings that change how events are stored or looked up.
fn unusual(config: &Value) -> Vec<StreamFinding> {
    let mut found = Vec::new();
    if is_set(&config["allow_msg_counter"]) {
        found.push(StreamFinding::Counter);
    }
    if !config["subject_transform"].is_null() {
        found.push(StreamFinding::SubjectTransform);
    }
    for (limit, flag) in [
        ("max_ack_pending", "--limit-consumer-max-pending"),
        ("inactive_threshold", "--limit-consumer-inactive"),
    ] {
        let value = config["consumer_limits"][limit].as_i64().unwrap_or(0);
        if value > 0 {
            found.push(StreamFinding::ConsumerLimit { limit, value, flag });
        }
    }
    if config["persist_mode"].as_str() == Some("async") {
        found.push(StreamFinding::PersistAsync);
    }
    found
}

fn how_full(config: &Value, state: &Value) -> Vec<StreamFinding> {
    let mut fullest = None;
    for (limit, used, unit, flag) in [
        ("max_bytes", "bytes", "bytes", "--max-bytes"),
        ("max_msgs", "messages", "messages", "--max-msgs"),
    ] {
        let limit = config[limit].as_i64().unwrap_or(-1);
        let used = state[used].as_u64().unwrap_or(0);
        if limit > 0 {
            let part = used as f64 / limit as f64;
            if fullest.is_none_or(|(max, _)| part > max) {
                let limit = StreamLimit {
                    used,
                    limit,
                    unit,
                    flag,
                };
                fullest = Some((part, limit));
            }
        }
    }
    let mut found = Vec::new();
    let kept = config["max_msgs_per_subject"].as_i64().unwrap_or(-1);
    let refuses_new = config["discard"].as_str() == Some("new")
        && config["discard_new_per_subject"].as_bool() == Some(true);
    if kept > 0 && !refuses_new {
        found.push(StreamFinding::PerSubjectLimit { kept });
    }
    let Some((part, limit)) = fullest else {
        return found;
    };
    if config["discard"].as_str() != Some("new") {
        let percent = (part * 100.0) as u64;
        found.push(StreamFinding::DiscardsOld { limit, percent });
    } else if part >= FULL {
        found.push(StreamFinding::Full(limit));
    } else if part >= FILLING {
        found.push(StreamFinding::Filling(limit));
    }
    found
}

fn retention(config: &Value, floor: Duration) -> Vec<StreamFinding> {
    let policy = config["retention"].as_str().unwrap_or("limits");
    let mut found = Vec::new();
    if policy != "limits" {
        let policy = policy.to_owned();
        found.push(StreamFinding::RetentionPolicy { policy });
    }
    let age = nanos(&config["max_age"]);
    if !age.is_zero() && age < floor {
        found.push(StreamFinding::Retention { age, floor });
    }
    found
}

fn durability(config: &Value) -> Vec<StreamFinding> {
    let mut found = Vec::new();
    if config["storage"].as_str() == Some("memory") {
        found.push(StreamFinding::Memory);
    }
    if config["num_replicas"].as_u64().unwrap_or(1) < 2 {
        found.push(StreamFinding::OneReplica);
    }
    found
}

fn duplicate_window(config: &Value, retry_span: Duration) -> Option<StreamFinding> {
    let window = nanos(&config["duplicate_window"]);
    (window < retry_span).then_some(StreamFinding::DuplicateWindow { window, retry_span })
}

fn message_size(config: &Value, max_payload: Option<u64>) -> Option<StreamFinding> {
    // The server has -1 for no limit.
    let limit = config["max_msg_size"].as_u64()?;
    let max_payload = max_payload?;
    (limit > 0 && limit < max_payload).then_some(StreamFinding::MessageSize { limit, max_payload })
}

fn cluster(config: &Value, cluster: &Value) -> Vec<StreamFinding> {
    let mut found = Vec::new();
    let replicas = config["num_replicas"].as_u64().unwrap_or(1);
    if replicas > 1 && cluster["leader"].as_str().unwrap_or_default().is_empty() {
        found.push(StreamFinding::NoLeader);
    }
    for peer in cluster["replicas"].as_array().into_iter().flatten() {
        if is_set(&peer["offline"]) || peer["current"].as_bool() == Some(false) {
            let server = peer["name"].as_str().unwrap_or("?").to_owned();
            found.push(StreamFinding::ReplicaBehind { server });
        }
    }
    found
}

fn nanos(value: &Value) -> Duration {
    Duration::from_nanos(value.as_u64().unwrap_or(0))
}
