use serde_json::json;

use super::*;

fn found(config: &Value) -> LookUpFinding {
    judge("S", config, None, WhenUnconfirmed::Hold)
}

#[test]
fn stream_that_removes_events_early_makes_look_ups_incomplete() {
    let (stream, choice) = (|| "S".to_owned(), WhenUnconfirmed::Hold);
    for config in [
        json!({}),
        json!({ "retention": "limits", "max_age": 1, "max_msgs_per_subject": -1 }),
        json!({ "max_msgs": 5, "discard": "new" }),
        json!({ "max_msgs_per_subject": 5, "discard": "new", "discard_new_per_subject": true }),
    ] {
        let stream = stream();
        let possible = LookUpFinding::Possible { stream, choice };
        assert_eq!(found(&config), possible, "{config}");
    }
    for (config, removal) in [
        (json!({ "retention": "workqueue" }), Removal::Consumed),
        (json!({ "retention": "interest" }), Removal::Consumed),
        (
            json!({ "max_msgs_per_subject": 1, "discard": "old" }),
            Removal::PerSubject(1),
        ),
        (
            json!({ "max_msgs_per_subject": 1, "discard": "new" }),
            Removal::PerSubject(1),
        ),
        (json!({ "max_bytes": 5, "discard": "old" }), Removal::Oldest),
    ] {
        let incomplete = LookUpFinding::Incomplete {
            stream: stream(),
            removal,
            choice,
        };
        assert_eq!(found(&config), incomplete, "{config}");
    }
}

#[test]
fn unreadable_stream_makes_look_ups_impossible() {
    let denied = RequestError::Denied;
    let unreadable = judge("S", &json!({}), Some(&denied), WhenUnconfirmed::Deliver);
    let impossible = LookUpFinding::Impossible {
        stream: "S".to_owned(),
        error: denied.to_string(),
        choice: WhenUnconfirmed::Deliver,
    };
    assert_eq!(unreadable, impossible);
}
