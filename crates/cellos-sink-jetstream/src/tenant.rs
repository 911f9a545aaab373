//! The tenant of an event, and the subject that follows from it.

use cellos_core::CloudEventV1;
use jetsink::{
    SubjectError, TENANT_ID_DEFAULT_TOKEN, TENANT_ID_PLACEHOLDER, check_tenant_id, encode_token,
};
use serde_json::Value;

/// The type of the envelope of a signed event; `data.event` is the event.
const SIGNED_ENVELOPE: &str = "dev.cellos.events.signed_envelope.v1";

/// Returns `data.tenantId` if that is a string, else `data.correlation.tenantId` if that is one. For a signed
/// event it reads the event inside, or all tenants' signed events would go to one subject.
pub(crate) fn tenant(event: &CloudEventV1) -> Option<&str> {
    let mut data = event.data.as_ref()?;
    if event.ty == SIGNED_ENVELOPE {
        data = data.get("event")?.get("data")?;
    }
    let own = data.get("tenantId").and_then(Value::as_str);
    own.or_else(|| data.get("correlation")?.get("tenantId")?.as_str())
}

/// Returns the template with each `{tenantId}` replaced by the event's tenant, or by `single` if the event
/// has none.
///
/// This can't fail: in an id that is not one subject token, each invalid byte is percent-encoded
/// ([`encode_token`]), which never results in another tenant's subject. The sink itself refuses
/// such events, as [`try_resolve_tenant_subject`] does.
///
/// ```
/// use cellos_sink_jetstream::resolve_tenant_subject;
///
/// let event = |id: &str| serde_json::from_value(serde_json::json!({
///     "specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": { "tenantId": id },
/// }));
/// assert_eq!(resolve_tenant_subject("events.{tenantId}", &event("acme")?), "events.acme");
/// assert_eq!(resolve_tenant_subject("events.{tenantId}", &event("a.b")?), "events.a%2Eb");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[must_use]
pub fn resolve_tenant_subject(template: &str, event: &CloudEventV1) -> String {
    let token = match tenant(event) {
        None => TENANT_ID_DEFAULT_TOKEN.into(),
        Some(id) => encode_token(id),
    };
    template.replace(TENANT_ID_PLACEHOLDER, &token)
}

/// Resolves as [`resolve_tenant_subject`] does, but refuses an id that is not one subject token.
///
/// ```
/// use cellos_sink_jetstream::try_resolve_tenant_subject;
///
/// let event = serde_json::from_value(serde_json::json!({
///     "specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": { "tenantId": "a.b" },
/// }))?;
/// let error = try_resolve_tenant_subject("events.{tenantId}", &event).unwrap_err();
/// assert_eq!(error.to_string(), "tenant id has '.' at byte 1: '.' separates subject tokens");
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
/// [`SubjectError`], which names the invalid character. Never for a template without the
/// placeholder.
pub fn try_resolve_tenant_subject(
    template: &str,
    event: &CloudEventV1,
) -> Result<String, SubjectError> {
    if !template.contains(TENANT_ID_PLACEHOLDER) {
        return Ok(template.to_owned());
    }
    let token = tenant(event).unwrap_or(TENANT_ID_DEFAULT_TOKEN);
    check_tenant_id(token)?;
    Ok(template.replace(TENANT_ID_PLACEHOLDER, token))
}
