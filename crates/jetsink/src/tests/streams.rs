//! Plans, from the server's words.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::admin::streams::{StreamChangeKind, StreamPlan, StreamSpec, StreamStorage};

const DAY: Duration = Duration::from_secs(86_400);

fn spec() -> StreamSpec {
    StreamSpec::new("EVENTS", ["events.>"]).unwrap()
}

/// Returns the server's configuration of a stream made from the specification.
fn as_made(spec: &StreamSpec) -> Map<String, Value> {
    let mut config = StreamPlan::new(spec, None).config(false);
    config.insert("a field of tomorrow".to_owned(), json!({"kept": true}));
    config
}

fn with(field: &str, value: Value) -> Map<String, Value> {
    let mut config = as_made(&spec());
    config.insert(field.to_owned(), value);
    config
}

#[test]
fn specification_without_settings_keeps_events_for_90_days_on_disk() {
    let config = StreamPlan::new(&spec(), None).config(false);
    assert_eq!(config["name"], "EVENTS");
    assert_eq!(config["subjects"], json!(["events.>"]));
    assert_eq!(config["max_age"], json!(7_776_000_000_000_000_u64));
    assert_eq!(config["storage"], "file");
}

#[test]
fn stream_that_meets_the_specification_has_no_changes_and_keeps_unknown_fields() {
    let plan = StreamPlan::new(&spec(), Some(as_made(&spec())));
    assert!(plan.is_satisfied());
    assert_eq!(plan.changes(), []);
    assert_eq!(plan.config(true), as_made(&spec()));
    assert_eq!(plan.to_string(), "stream EVENTS meets the specification");
}

/// Columns: field, current value, planned value, value after an apply without force.
#[test]
fn growing_changes_are_made_and_shrinking_ones_need_force() {
    let day = |days: u64| json!(days * 86_400_000_000_000);
    let second = |seconds: u64| json!(seconds * 1_000_000_000);
    let (safe, shrinks) = (StreamChangeKind::Safe, StreamChangeKind::Reduces);
    for (field, there, kind, after) in [
        ("max_age", day(30), &safe, day(90)),
        ("max_age", day(365), &shrinks, day(365)),
        ("max_age", json!(0), &shrinks, json!(0)),
        ("num_replicas", json!(3), &shrinks, json!(3)),
        ("duplicate_window", second(1), &safe, second(120)),
        ("duplicate_window", second(600), &shrinks, second(600)),
        ("no_ack", json!(true), &safe, json!(false)),
        ("max_msgs_per_subject", json!(1), &safe, json!(-1)),
        (
            "subjects",
            json!(["other"]),
            &safe,
            json!(["events.>", "other"]),
        ),
        (
            "subjects",
            json!(["events.>", "other"]),
            &shrinks,
            json!(["events.>", "other"]),
        ),
    ] {
        let plan = StreamPlan::new(&spec(), Some(with(field, there.clone())));
        assert_eq!(&plan.changes()[0].kind, kind, "{field} {there}");
        assert_eq!(plan.config(false)[field], after, "{field} {there}");
        assert_eq!(plan.is_satisfied(), *kind == shrinks, "{field} {there}");
        // Applied, there is nothing left to do; by force it is as asked for.
        let again = StreamPlan::new(&spec(), Some(plan.config(false)));
        assert!(again.is_satisfied(), "{field} {there}");
        let forced = StreamPlan::new(&spec(), Some(plan.config(true)));
        assert_eq!(forced.changes(), [], "{field} {there}");
    }
}

/// A stream that discards old events at a limit does not keep them for the retention floor.
#[test]
fn stream_with_a_limit_refuses_new_events_instead_of_discarding_old_ones() {
    for limit in ["max_msgs", "max_bytes"] {
        let mut config = with(limit, json!(1_000));
        config.insert("discard".to_owned(), json!("old"));
        let plan = StreamPlan::new(&spec(), Some(config.clone()));
        assert!(!plan.is_satisfied(), "{limit}");
        assert_eq!(plan.changes()[0].field, "discard");
        assert_eq!(plan.config(false)["discard"], "new");
        config.insert("discard".to_owned(), json!("new"));
        assert!(StreamPlan::new(&spec(), Some(config)).is_satisfied());
    }
    let unlimited = with("discard", json!("old"));
    assert!(StreamPlan::new(&spec(), Some(unlimited)).is_satisfied());
}

#[test]
fn byte_limit_is_raised_and_not_lowered() {
    let bounded = || spec().max_bytes(1_000).unwrap();
    let plan = |there: i64| {
        let mut config = as_made(&bounded());
        config.insert("max_bytes".to_owned(), json!(there));
        StreamPlan::new(&bounded(), Some(config))
    };
    assert_eq!(plan(500).config(false)["max_bytes"], 1_000);
    assert_eq!(plan(2_000).config(false)["max_bytes"], 2_000);
    assert_eq!(plan(-1).config(false)["max_bytes"], -1);
    assert_eq!(plan(-1).config(true)["max_bytes"], 1_000);
    assert_eq!(as_made(&bounded())["discard"], "new");
}

#[test]
fn byte_limit_is_a_positive_number_of_the_server() {
    for bytes in [0, 1 << 63, u64::MAX] {
        let error = spec().max_bytes(bytes).unwrap_err();
        assert!(error.to_string().contains("max bytes"), "{error}");
    }
    assert!(spec().max_bytes(1).is_ok());
}

#[test]
fn impossible_change_is_an_obstacle() {
    for (field, there) in [
        ("storage", json!("memory")),
        ("retention", json!("workqueue")),
        ("sealed", json!(true)),
        ("mirror", json!({"name": "ORIGIN"})),
    ] {
        let plan = StreamPlan::new(&spec(), Some(with(field, there.clone())));
        let conflict = plan.conflict().unwrap();
        assert!(conflict.starts_with(field), "{conflict}");
        assert!(!plan.is_satisfied());
        assert_eq!(plan.config(true)[field], there);
    }
    let memory = spec().storage(StreamStorage::Memory);
    assert!(StreamPlan::new(&memory, Some(as_made(&memory))).is_satisfied());
}

/// Columns: subjects of the stream, of the specification, and the stream's after an apply without and with force.
#[test]
fn subjects_that_the_stream_already_captures_are_not_added() {
    let specified = |subjects: &[&str]| StreamSpec::new("EVENTS", subjects.to_vec()).unwrap();
    type Subjects = &'static [&'static str];
    let rows: [(Subjects, Subjects, Subjects, Subjects); 6] = [
        (&["a.>"], &["a.b.>"], &["a.>"], &["a.b.>"]),
        (&["a.>"], &["a.>", "b"], &["a.>", "b"], &["a.>", "b"]),
        (&["a.b"], &["a.*"], &["a.*"], &["a.*"]),
        (&["a.b", "c"], &["a.*"], &["a.*", "c"], &["a.*"]),
        (
            &["a.b", "a.c"],
            &["a.c", "a.b"],
            &["a.b", "a.c"],
            &["a.b", "a.c"],
        ),
        (&["a.>"], &["a.b", "a.c"], &["a.>"], &["a.b", "a.c"]),
    ];
    for (there, wanted, after, forced) in rows {
        let plan = StreamPlan::new(&specified(wanted), Some(with("subjects", json!(there))));
        assert_eq!(plan.config(false)["subjects"], json!(after), "{plan}");
        assert_eq!(plan.config(true)["subjects"], json!(forced), "{plan}");
        assert_eq!(plan.is_satisfied(), there == after, "{plan}");
    }
    let overlapping = with("subjects", json!(["a.*.c"]));
    let plan = StreamPlan::new(&specified(&["a.b.*"]), Some(overlapping));
    let conflict = plan.conflict().unwrap();
    assert!(conflict.contains("subjects that overlap"), "{conflict}");
    assert!(!plan.is_satisfied());
}

#[test]
fn limit_per_subject_that_refuses_new_events_stays() {
    let mut config = with("max_msgs_per_subject", json!(10));
    assert!(!StreamPlan::new(&spec(), Some(config.clone())).is_satisfied());
    config.insert("discard_new_per_subject".to_owned(), json!(true));
    config.insert("discard".to_owned(), json!("new"));
    assert!(StreamPlan::new(&spec(), Some(config)).is_satisfied());
}

#[test]
fn invalid_settings_are_refused() {
    for name in ["", "a.b", "a b", "a*", "a/b", "a>"] {
        assert!(StreamSpec::new(name, ["events.>"]).is_err(), "{name:?}");
    }
    for subject in ["", ".", "a..b", "a.>.b", "a b", ">.a"] {
        assert!(StreamSpec::new("S", [subject]).is_err(), "{subject:?}");
    }
    assert!(StreamSpec::new("S", Vec::<String>::new()).is_err());
    assert!(StreamSpec::new("S", ["a.*", "b", "*.b"]).is_err());
    assert!(spec().replicas(0).is_err());
    assert!(spec().replicas(6).is_err());
    assert!(spec().duplicate_window(Duration::from_millis(99)).is_err());
    assert!(spec().duplicate_window(91 * DAY).is_err());
    assert!(spec().retention_floor(Duration::from_secs(60)).is_err());
    let error = spec().replicas(6).unwrap_err();
    assert_eq!(error.to_string(), "stream \"EVENTS\": replicas: 1 to 5");
}
