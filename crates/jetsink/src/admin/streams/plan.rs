//! Compares a stream's configuration with its specification. Pure: the server's JSON in, a plan out.
//!
//! The configuration stays the server's JSON, so that an update keeps fields that this version does not know.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::spec::StreamSpec;
use crate::message::pattern;
use crate::nats::stream_name::StreamName;

/// The effect of a change on stored and future events.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamChangeKind {
    /// No stored event would be lost.
    Safe,
    /// Events would be kept for a shorter time, in fewer copies, or no longer be captured: made only by force.
    Reduces,
    /// The server can't make the change, or the stream would no longer be the same.
    Impossible {
        /// The reason and the remedy.
        reason: &'static str,
    },
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamChange {
    /// The server's name of the setting.
    pub field: &'static str,
    /// Its current value.
    pub from: String,
    /// Its specified value.
    pub to: String,
    /// The effect of the change.
    pub kind: StreamChangeKind,
    value: Value,
}

/// The differences between a stream and its [`StreamSpec`]. `Display` shows one per line.
///
/// A sink never creates a stream. An operator does, by `jetsink stream` or by these calls:
///
/// ```no_run
/// use jetsink::{ConnectSettings, NatsPublisher, StreamSpec};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let publisher = NatsPublisher::connect(ConnectSettings::new("nats://127.0.0.1:4222")?).await?;
/// let spec = StreamSpec::new("EVENTS", ["events.>"])?.replicas(3)?;
/// let plan = publisher.admin().plan_stream(&spec).await?;
/// println!("{plan}");
/// publisher.admin().apply_stream(&plan, false).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct StreamPlan {
    name: StreamName,
    found: Option<Map<String, Value>>,
    changes: Vec<StreamChange>,
}

impl StreamPlan {
    /// `found` is the server's configuration; `None` if the stream does not exist.
    pub(crate) fn new(spec: &StreamSpec, found: Option<Map<String, Value>>) -> Self {
        let changes = match &found {
            None => Vec::new(),
            Some(config) => differences(spec, config),
        };
        let mut plan = Self {
            name: spec.name.clone(),
            found,
            changes,
        };
        if plan.found.is_none() {
            plan.changes = creation(spec);
        }
        plan
    }

    /// The stream's name.
    #[must_use]
    pub fn stream(&self) -> &str {
        self.name.as_str()
    }

    pub(crate) fn name(&self) -> &StreamName {
        &self.name
    }

    /// Returns whether the stream exists.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.found.is_some()
    }

    /// Returns all differences; for a missing stream, the settings of its creation.
    #[must_use]
    pub fn changes(&self) -> &[StreamChange] {
        &self.changes
    }

    /// Returns whether the stream exists and meets the specification, except for extras.
    #[must_use]
    pub fn is_satisfied(&self) -> bool {
        self.exists()
            && self
                .changes
                .iter()
                .all(|c| c.kind == StreamChangeKind::Reduces)
    }

    /// Returns the first impossible change, with its reason.
    #[must_use]
    pub fn conflict(&self) -> Option<String> {
        self.changes.iter().find_map(|change| match change.kind {
            StreamChangeKind::Impossible { reason } => {
                Some(format!("{} is {}: {reason}", change.field, change.from))
            }
            StreamChangeKind::Safe | StreamChangeKind::Reduces => None,
        })
    }

    /// Returns the changes that an apply makes.
    pub(crate) fn made(&self, force: bool) -> impl Iterator<Item = &StreamChange> {
        self.changes.iter().filter(move |change| match change.kind {
            StreamChangeKind::Safe => true,
            StreamChangeKind::Reduces => force,
            StreamChangeKind::Impossible { .. } => false,
        })
    }

    /// Returns the configuration after the changes.
    pub(crate) fn config(&self, force: bool) -> Map<String, Value> {
        let mut config = self.found.clone().unwrap_or_default();
        config.insert("name".to_owned(), json!(self.name.as_str()));
        for change in self.made(force) {
            config.insert(change.field.to_owned(), change.value.clone());
        }
        config
    }
}

impl fmt::Display for StreamPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.exists(), self.changes.is_empty()) {
            (false, _) => write!(f, "stream {} does not exist; it is created with", self.name)?,
            (true, true) => return write!(f, "stream {} meets the specification", self.name),
            (true, false) => write!(f, "stream {} differs", self.name)?,
        }
        for change in &self.changes {
            let StreamChange {
                field, from, to, ..
            } = change;
            match (&change.kind, self.exists()) {
                (_, false) => write!(f, "\n  + {field}: {to}")?,
                (StreamChangeKind::Safe, true) => write!(f, "\n  ~ {field}: {from} → {to}")?,
                (StreamChangeKind::Reduces, true) => {
                    write!(f, "\n  = {field}: {from} stays; {to} only by force")?;
                }
                (StreamChangeKind::Impossible { reason }, true) => {
                    write!(f, "\n  ! {field}: {from}, not {to}: {reason}")?;
                }
            }
        }
        Ok(())
    }
}

fn creation(spec: &StreamSpec) -> Vec<StreamChange> {
    let mut fields = vec![
        ("subjects", json!(spec.subjects)),
        ("retention", json!("limits")),
        ("max_age", nanos(spec.retention_floor)),
        ("storage", json!(spec.storage.as_str())),
        ("num_replicas", json!(spec.replicas)),
        ("duplicate_window", nanos(spec.duplicate_window)),
    ];
    if let Some(bytes) = spec.max_bytes {
        fields.push(("max_bytes", json!(bytes)));
        fields.push(("discard", json!("new")));
    }
    if spec.deny_delete {
        fields.push(("deny_delete", json!(true)));
    }
    if spec.deny_purge {
        fields.push(("deny_purge", json!(true)));
    }
    if spec.allow_message_ttl {
        fields.push(("allow_msg_ttl", json!(true)));
    }
    if let Some(on) = spec.compression {
        fields.push(("compression", json!(compression(on))));
    }
    fields.extend(placement(spec).map(|placement| ("placement", placement)));
    fields
        .into_iter()
        .map(|(field, value)| change(field, None, value, StreamChangeKind::Safe))
        .collect()
}

fn differences(spec: &StreamSpec, config: &Map<String, Value>) -> Vec<StreamChange> {
    let mut found = Vec::new();
    let mut differs = |field: &'static str, value: Value, kind: StreamChangeKind| {
        found.push(change(field, Some(config), value, kind));
    };
    let text = |field: &str| config.get(field).and_then(Value::as_str);
    let number = |field: &str| config.get(field).and_then(Value::as_i64).unwrap_or(0);
    let is_set = |field: &str| config.get(field).and_then(Value::as_bool) == Some(true);
    let growing = |grows: bool| {
        if grows {
            StreamChangeKind::Safe
        } else {
            StreamChangeKind::Reduces
        }
    };

    if text("retention").is_some_and(|policy| policy != "limits") {
        let reason =
            "events would be deleted once they are consumed; make a stream of another name";
        differs(
            "retention",
            json!("limits"),
            StreamChangeKind::Impossible { reason },
        );
    }
    if is_set("sealed") {
        let reason = "it takes nothing more; make a stream of another name";
        differs(
            "sealed",
            json!(false),
            StreamChangeKind::Impossible { reason },
        );
    }
    if config.get("mirror").is_some_and(|mirror| !mirror.is_null()) {
        let reason = "it copies another stream and captures nothing; publish to its origin";
        differs(
            "mirror",
            Value::Null,
            StreamChangeKind::Impossible { reason },
        );
    }
    if text("storage").is_some_and(|storage| storage != spec.storage.as_str()) {
        let reason = "storage can't be changed; make a stream of another name, and copy";
        differs(
            "storage",
            json!(spec.storage.as_str()),
            StreamChangeKind::Impossible { reason },
        );
    }
    if is_set("no_ack") {
        differs("no_ack", json!(false), StreamChangeKind::Safe);
    }
    subjects(spec, config, &mut differs);
    let age = number("max_age");
    let floor = as_nanos(spec.retention_floor);
    if age != floor {
        // 0 means without limit.
        differs("max_age", json!(floor), growing(age != 0 && age < floor));
    }
    let replicas = number("num_replicas");
    if replicas != i64::from(spec.replicas) {
        let grows = replicas < i64::from(spec.replicas);
        differs("num_replicas", json!(spec.replicas), growing(grows));
    }
    let window = number("duplicate_window");
    if window != as_nanos(spec.duplicate_window) {
        let grows = window < as_nanos(spec.duplicate_window);
        differs(
            "duplicate_window",
            nanos(spec.duplicate_window),
            growing(grows),
        );
    }
    if let Some(bytes) = spec.max_bytes {
        let limit = number("max_bytes");
        let wanted = i64::try_from(bytes).unwrap_or(i64::MAX);
        if limit != wanted {
            differs(
                "max_bytes",
                json!(bytes),
                growing(limit > 0 && limit < wanted),
            );
        }
    }
    // Either would delete events before the retention floor.
    let refuses_per_subject = is_set("discard_new_per_subject") && text("discard") == Some("new");
    if number("max_msgs_per_subject") > 0 && !refuses_per_subject {
        differs("max_msgs_per_subject", json!(-1), StreamChangeKind::Safe);
    }
    let is_bounded = number("max_msgs") > 0 || number("max_bytes") > 0 || spec.max_bytes.is_some();
    if is_bounded && text("discard") == Some("old") {
        differs("discard", json!("new"), StreamChangeKind::Safe);
    }
    for (field, wanted) in [
        ("deny_delete", spec.deny_delete),
        ("deny_purge", spec.deny_purge),
        ("allow_msg_ttl", spec.allow_message_ttl),
    ] {
        if wanted && !is_set(field) {
            differs(field, json!(true), StreamChangeKind::Safe);
        }
    }
    if let Some(on) = spec.compression
        && text("compression").unwrap_or("none") != compression(on)
    {
        differs(
            "compression",
            json!(compression(on)),
            StreamChangeKind::Safe,
        );
    }
    if let Some(placement) = placement(spec)
        && config.get("placement") != Some(&placement)
    {
        differs("placement", placement, StreamChangeKind::Safe);
    }
    found
}

/// Adds subjects that the stream does not capture yet. Subjects outside the specification are removed only by force.
///
/// A server refuses subjects that overlap, so a new one replaces those that it covers.
fn subjects(
    spec: &StreamSpec,
    config: &Map<String, Value>,
    differs: &mut impl FnMut(&'static str, Value, StreamChangeKind),
) {
    let current = config.get("subjects").and_then(Value::as_array);
    let current: BTreeSet<&str> = current
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let (captured, missing): (Vec<&str>, Vec<&str>) = spec
        .subjects
        .iter()
        .map(String::as_str)
        .partition(|wanted| current.iter().any(|there| pattern::covers(there, wanted)));
    let (covered, kept): (Vec<&str>, Vec<&str>) = current
        .iter()
        .partition(|there| missing.iter().any(|wanted| pattern::covers(wanted, there)));
    if !missing.is_empty() {
        let collide = kept.iter().any(|there| {
            missing
                .iter()
                .any(|wanted| pattern::overlaps(there, wanted))
        });
        let kind = if collide {
            let reason = "the server refuses subjects that overlap; specify one that covers both, or other subjects";
            StreamChangeKind::Impossible { reason }
        } else {
            StreamChangeKind::Safe
        };
        let all: BTreeSet<&str> = kept.iter().chain(&missing).copied().collect();
        differs("subjects", json!(all), kind);
    }
    let specified = |there: &&str| covered.contains(there) || captured.contains(there);
    if !current.iter().all(specified) {
        differs("subjects", json!(spec.subjects), StreamChangeKind::Reduces);
    }
}

fn change(
    field: &'static str,
    config: Option<&Map<String, Value>>,
    value: Value,
    kind: StreamChangeKind,
) -> StreamChange {
    let from = config.and_then(|config| config.get(field));
    StreamChange {
        field,
        from: from.map_or_else(|| "unset".to_owned(), |from| shown(field, from)),
        to: shown(field, &value),
        kind,
        value,
    }
}

fn placement(spec: &StreamSpec) -> Option<Value> {
    let mut placement = Map::new();
    if let Some(cluster) = &spec.placement_cluster {
        placement.insert("cluster".to_owned(), json!(cluster));
    }
    if !spec.placement_tags.is_empty() {
        placement.insert("tags".to_owned(), json!(spec.placement_tags));
    }
    (!placement.is_empty()).then_some(Value::Object(placement))
}

fn compression(on: bool) -> &'static str {
    if on { "s2" } else { "none" }
}

fn as_nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn nanos(duration: Duration) -> Value {
    json!(as_nanos(duration))
}

/// Formats a value for people, such as `90d`.
fn shown(field: &str, value: &Value) -> String {
    match (field, value) {
        ("max_age" | "duplicate_window", Value::Number(nanos)) => {
            let nanos = nanos.as_u64().unwrap_or(0);
            if field == "max_age" && nanos == 0 {
                return "for ever".to_owned();
            }
            let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
            match (seconds, rest) {
                (_, 1..) => format!("{:?}", Duration::from_nanos(nanos)),
                (s, _) if s % 86_400 == 0 => format!("{}d", s / 86_400),
                (s, _) if s % 3_600 == 0 => format!("{}h", s / 3_600),
                (s, _) if s % 60 == 0 => format!("{}m", s / 60),
                (s, _) => format!("{s}s"),
            }
        }
        ("max_bytes" | "max_msgs_per_subject", Value::Number(limit))
            if limit.as_i64().is_some_and(|limit| limit <= 0) =>
        {
            "unlimited".to_owned()
        }
        (_, Value::Array(items)) => {
            let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            items.join(", ")
        }
        (_, Value::String(text)) => text.clone(),
        (_, other) => other.to_string(),
    }
}
