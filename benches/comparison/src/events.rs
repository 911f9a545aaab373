//! The events that are emitted: alike, each with a number.

use cellos_core::CloudEventV1;
use serde_json::{Value, json};

use crate::Result;

pub(crate) const TEMPLATE: &str = "cellos.events.{tenantId}";
pub(crate) const GOOD_TENANT: &str = "acme";

/// About as large as a real supervisor's event, 0.5 KB.
pub(crate) fn event(number: u64) -> Result<CloudEventV1> {
    event_of(number, GOOD_TENANT, 240)
}

pub(crate) fn event_of(number: u64, tenant: &str, padding: usize) -> Result<CloudEventV1> {
    Ok(serde_json::from_value(json!({
        "specversion": "1.0",
        "id": number.to_string(),
        "source": "/cellos-supervisor/comparison",
        "type": "dev.cellos.events.cell.lifecycle.v1.started",
        "datacontenttype": "application/json",
        "time": "2026-11-27T12:00:00Z",
        "data": { "tenantId": tenant, "cellId": "cell-0001", "padding": "x".repeat(padding) },
    }))?)
}

pub(crate) fn tenant(event: &CloudEventV1) -> Option<&str> {
    event.data.as_ref()?.get("tenantId")?.as_str()
}

/// The number of a stored event.
pub(crate) fn number(payload: &[u8]) -> Option<u64> {
    let event: Value = serde_json::from_slice(payload).ok()?;
    event.get("id")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_keeps_its_number_and_tenant_through_json() {
        let event = event(17).unwrap();
        assert_eq!(tenant(&event), Some(GOOD_TENANT));
        let payload = serde_json::to_vec(&event).unwrap();
        assert_eq!(number(&payload), Some(17));
        assert!((450..650).contains(&payload.len()), "{}", payload.len());
    }
}
