//! Events for the tests.

#![allow(dead_code, missing_docs, unreachable_pub)]

use cellos_core::CloudEventV1;
use serde_json::{Value, json};

pub fn event_with(data: Value) -> CloudEventV1 {
    let json = json!({
        "specversion": "1.0", "id": "1", "source": "test", "type": "t", "data": data,
    });
    serde_json::from_value(json).unwrap()
}

pub fn event(tenant: &str) -> CloudEventV1 {
    event_with(json!({ "tenantId": tenant }))
}

pub fn samples() -> Vec<CloudEventV1> {
    // The tests run from either manifest's folder.
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../samples/cellos-events.jsonl"
    );
    let nested = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../samples/cellos-events.jsonl"
    );
    let text = std::fs::read_to_string(path)
        .or_else(|_| std::fs::read_to_string(nested))
        .unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
