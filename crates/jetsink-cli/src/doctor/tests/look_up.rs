use serde_json::json;

use super::*;

fn code(config: &Value) -> &'static str {
    judge("S", config, None, WhenUnconfirmed::Deliver).code
}

#[test]
fn stream_that_removes_events_early_makes_look_ups_incomplete() {
    for config in [
        json!({}),
        json!({ "retention": "limits", "max_age": 1, "max_msgs_per_subject": -1 }),
        json!({ "max_msgs": 5, "discard": "new" }),
        json!({ "max_msgs_per_subject": 5, "discard": "new", "discard_new_per_subject": true }),
    ] {
        assert_eq!(code(&config), "look-up", "{config}");
    }
    for config in [
        json!({ "retention": "workqueue" }),
        json!({ "retention": "interest" }),
        json!({ "max_msgs_per_subject": 1, "discard": "old" }),
        json!({ "max_msgs_per_subject": 1, "discard": "new" }),
        json!({ "max_bytes": 5, "discard": "old" }),
    ] {
        assert_eq!(code(&config), "look-up.incomplete", "{config}");
    }
}

#[test]
fn finding_contains_the_effect_of_the_setting() {
    let denied = Some(&PublishError::PermissionDenied);
    for (choice, effect) in [
        (WhenUnconfirmed::Deliver, "may be stored twice"),
        (WhenUnconfirmed::Hold, "its subject waits"),
    ] {
        let unreadable = judge("S", &json!({}), denied, choice);
        assert_eq!(unreadable.code, "look-up.impossible");
        assert!(unreadable.text.contains(effect), "{}", unreadable.text);
        let keyed = judge("S", &json!({ "max_msgs_per_subject": 1 }), None, choice);
        assert!(keyed.text.contains(effect), "{}", keyed.text);
        assert!(keyed.text.contains("keeps 1 events"), "{}", keyed.text);
    }
}
