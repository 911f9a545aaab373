//! Judges a stream's configuration and state for the events that go to it. Pure.

use std::time::Duration;

use jetsink::WhenUnconfirmed;
use serde_json::Value;

use super::finding::Finding;

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
pub(super) fn examine(info: &Value, expected: &Expected) -> Vec<Finding> {
    let config = &info["config"];
    let name = config["name"].as_str().unwrap_or_default();
    let mut found = Vec::new();
    found.extend(takes_events(name, config));
    found.extend(how_full(name, config, &info["state"]));
    found.extend(retention(name, config, expected.retention_floor));
    found.extend(durability(name, config));
    found.extend(duplicate_window(name, config, expected.retry_span));
    found.extend(message_size(name, config, expected.max_payload));
    found.extend(unusual(name, config));
    found.extend(cluster(name, config, &info["cluster"]));
    if found.is_empty() {
        let text = format!("stream {name} takes events and keeps them as it should");
        found.push(Finding::ok("stream.fit", text));
    }
    found
}

fn is_set(value: &Value) -> bool {
    value.as_bool() == Some(true)
}

fn takes_events(name: &str, config: &Value) -> Vec<Finding> {
    let mut found = Vec::new();
    if is_set(&config["no_ack"]) {
        found.push(Finding::problem(
            "stream.no-ack",
            format!("stream {name} does not acknowledge: every emit would time out"),
            format!("nats stream edit {name} --ack"),
        ));
    }
    if is_set(&config["sealed"]) {
        found.push(Finding::problem(
            "stream.sealed",
            format!("stream {name} is sealed and takes nothing more"),
            "make a stream of another name for new events",
        ));
    }
    found
}

/// Settings that change how events are stored or looked up.
fn unusual(name: &str, config: &Value) -> Vec<Finding> {
    let mut found = Vec::new();
    if is_set(&config["allow_msg_counter"]) {
        found.push(Finding::problem(
            "stream.counter",
            format!(
                "stream {name} is a counter: it accepts only messages with Nats-Incr and no payload"
            ),
            "make a stream of another name for events",
        ));
    }
    if !config["subject_transform"].is_null() {
        found.push(Finding::warning(
            "stream.subject-transform",
            format!(
                "stream {name} stores events under other subjects (subject_transform): readers of the \
                 published subject find nothing"
            ),
            format!("nats stream edit {name}, or publish to the subject that it stores"),
        ));
    }
    let limits = &config["consumer_limits"];
    for (limit, flag) in [
        ("max_ack_pending", "--limit-consumer-max-pending"),
        ("inactive_threshold", "--limit-consumer-inactive"),
    ] {
        if limits[limit].as_i64().is_some_and(|limit| limit > 0) {
            found.push(Finding::warning(
                "stream.consumer-limits",
                format!(
                    "stream {name} limits {limit} of consumers to {}: readers that ask for more are refused",
                    limits[limit]
                ),
                format!("nats stream edit {name} {flag}=-1"),
            ));
        }
    }
    if config["persist_mode"].as_str() == Some("async") {
        found.push(Finding::warning(
            "stream.persist-async",
            format!(
                "stream {name} acknowledges events before it writes them (persist_mode: async): they are lost \
                 with the server's process"
            ),
            "make a stream of another name with the default persist mode",
        ));
    }
    found
}

fn how_full(name: &str, config: &Value, state: &Value) -> Vec<Finding> {
    let mut fullest = None;
    for (limit, used, what, flag) in [
        ("max_bytes", "bytes", "bytes", "--max-bytes"),
        ("max_msgs", "messages", "messages", "--max-msgs"),
    ] {
        let limit = config[limit].as_i64().unwrap_or(-1);
        let used = state[used].as_u64().unwrap_or(0);
        if limit > 0 {
            let part = used as f64 / limit as f64;
            let fuller = fullest.is_none_or(|(max, ..): (f64, _, _, _, _)| part > max);
            if fuller {
                fullest = Some((part, used, limit, what, flag));
            }
        }
    }
    let per_subject = config["max_msgs_per_subject"].as_i64().unwrap_or(-1);
    let mut found = Vec::new();
    if per_subject > 0 {
        found.push(Finding::problem(
            "stream.limit-per-subject",
            format!("stream {name} keeps {per_subject} events of a subject, and no more"),
            format!("nats stream edit {name} --max-msgs-per-subject=-1"),
        ));
    }
    let Some((part, used, limit, what, flag)) = fullest else {
        return found;
    };
    let throws_away = config["discard"].as_str() != Some("new");
    let percent = (part * 100.0) as u64;
    let raise = format!("nats stream edit {name} {flag} MORE");
    if throws_away {
        found.push(Finding::problem(
            "stream.discards-old",
            format!(
                "stream {name} throws its oldest events away at {limit} {what}, whatever their age \
                 ({percent} % used)"
            ),
            format!("nats stream edit {name} --discard new, or {raise}"),
        ));
    } else if part >= FULL {
        found.push(Finding::problem(
            "stream.full",
            format!("stream {name} is full: {used} of {limit} {what}; it refuses events"),
            raise,
        ));
    } else if part >= FILLING {
        found.push(Finding::warning(
            "stream.filling",
            format!("stream {name} fills up: {used} of {limit} {what}; then it refuses events"),
            raise,
        ));
    }
    found
}

fn retention(name: &str, config: &Value, floor: Duration) -> Vec<Finding> {
    let policy = config["retention"].as_str().unwrap_or("limits");
    let mut found = Vec::new();
    if policy != "limits" {
        found.push(Finding::problem(
            "stream.retention-policy",
            format!("stream {name} deletes events once they are consumed ({policy})"),
            "make a stream of another name with --retention limits",
        ));
    }
    let age = nanos(&config["max_age"]);
    if !age.is_zero() && age < floor {
        let floor = in_days(floor);
        found.push(Finding::problem(
            "stream.retention",
            format!(
                "stream {name} keeps events for {}, less than {floor}",
                in_days(age)
            ),
            format!("nats stream edit {name} --max-age {floor}"),
        ));
    }
    found
}

fn durability(name: &str, config: &Value) -> Vec<Finding> {
    let mut found = Vec::new();
    if config["storage"].as_str() == Some("memory") {
        found.push(Finding::warning(
            "stream.memory",
            format!(
                "stream {name} is in memory: acknowledged events are lost with the server's process"
            ),
            "make a stream of another name with --storage file",
        ));
    }
    if config["num_replicas"].as_u64().unwrap_or(1) < 2 {
        found.push(Finding::warning(
            "stream.one-replica",
            format!(
                "stream {name} has one copy: an acknowledgement is no fsync, so a power cut may take \
                 the events since the last one (2 minutes by default)"
            ),
            format!(
                "in a cluster: nats stream edit {name} --replicas 3; else sync_interval: always in \
                 the server's jetstream block"
            ),
        ));
    }
    found
}

fn duplicate_window(name: &str, config: &Value, retry_span: Duration) -> Option<Finding> {
    let window = nanos(&config["duplicate_window"]);
    (window < retry_span).then(|| {
        Finding::warning(
            "stream.duplicate-window",
            format!(
                "stream {name} remembers message ids for {window:?}, and an event may be retried for \
                 {retry_span:?}: it could be stored twice"
            ),
            format!("nats stream edit {name} --dupe-window 2m"),
        )
    })
}

fn message_size(name: &str, config: &Value, max_payload: Option<u64>) -> Option<Finding> {
    let limit = config["max_msg_size"].as_u64()?;
    let max_payload = max_payload?;
    (limit > 0 && limit < max_payload).then(|| {
        Finding::warning(
            "stream.message-size",
            format!(
                "stream {name} refuses events of more than {limit} bytes, though the server takes \
                 {max_payload}"
            ),
            format!("nats stream edit {name} --max-msg-size=-1"),
        )
    })
}

fn cluster(name: &str, config: &Value, cluster: &Value) -> Vec<Finding> {
    let mut found = Vec::new();
    let replicas = config["num_replicas"].as_u64().unwrap_or(1);
    if replicas > 1 && cluster["leader"].as_str().unwrap_or_default().is_empty() {
        found.push(Finding::problem(
            "stream.no-leader",
            format!("stream {name} has no leader: a majority of its servers is down"),
            "start the servers that are down",
        ));
    }
    for peer in cluster["replicas"].as_array().into_iter().flatten() {
        let server = peer["name"].as_str().unwrap_or("?");
        if is_set(&peer["offline"]) || peer["current"].as_bool() == Some(false) {
            found.push(Finding::warning(
                "stream.replica-behind",
                format!("stream {name}: the copy on {server} is offline or behind"),
                format!("nats server report jetstream; look at the log of {server}"),
            ));
        }
    }
    found
}

fn nanos(value: &Value) -> Duration {
    Duration::from_nanos(value.as_u64().unwrap_or(0))
}

fn in_days(duration: Duration) -> String {
    let hours = duration.as_secs() / 3_600;
    if hours > 0 && hours.is_multiple_of(24) {
        format!("{}d", hours / 24)
    } else {
        format!("{duration:?}")
    }
}
