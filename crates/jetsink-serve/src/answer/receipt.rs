//! The answer for durable events: 202, with the receipt in headers, and in the body on request.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::problem::{EventReport, EventResult};

const OUTCOME: HeaderName = HeaderName::from_static("jetsink-outcome");
const STREAM: HeaderName = HeaderName::from_static("jetsink-stream");
const SEQUENCE: HeaderName = HeaderName::from_static("jetsink-sequence");
const DUPLICATE: HeaderName = HeaderName::from_static("jetsink-duplicate");
const EVENTS: HeaderName = HeaderName::from_static("jetsink-events");

#[derive(Serialize)]
struct BatchReceipt<'a> {
    events: &'a [EventReport<'a>],
}

fn accepted() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// One event. `result` is stored or spooled.
pub(crate) fn single(result: &EventResult<'_>, wants_receipt: bool) -> Response<Body> {
    let mut response = accepted();
    let headers = response.headers_mut();
    let is_duplicate = match result {
        EventResult::Stored {
            stream,
            sequence,
            duplicate,
        } => {
            headers.insert(OUTCOME, HeaderValue::from_static("stored"));
            if let Ok(stream) = HeaderValue::from_str(stream) {
                headers.insert(STREAM, stream);
            }
            headers.insert(SEQUENCE, HeaderValue::from(*sequence));
            *duplicate
        }
        EventResult::Spooled { duplicate } => {
            headers.insert(OUTCOME, HeaderValue::from_static("spooled"));
            *duplicate
        }
        EventResult::Failed { .. } | EventResult::NotTried => false,
    };
    let text = if is_duplicate { "true" } else { "false" };
    headers.insert(DUPLICATE, HeaderValue::from_static(text));
    if wants_receipt {
        with_body(&mut response, result);
    }
    response
}

/// A batch, all of it stored or spooled.
pub(crate) fn batch(events: &[EventReport<'_>], wants_receipt: bool) -> Response<Body> {
    let mut response = accepted();
    let is_spooled = |event: &EventReport<'_>| matches!(event.result, EventResult::Spooled { .. });
    let outcome = if events.iter().any(is_spooled) {
        "spooled"
    } else {
        "stored"
    };
    let headers = response.headers_mut();
    headers.insert(EVENTS, HeaderValue::from(events.len()));
    if !events.is_empty() {
        headers.insert(OUTCOME, HeaderValue::from_static(outcome));
    }
    if wants_receipt {
        with_body(&mut response, &BatchReceipt { events });
    }
    response
}

fn with_body(response: &mut Response<Body>, receipt: &impl Serialize) {
    let body = serde_json::to_vec(receipt).unwrap_or_default();
    *response.body_mut() = Body::from(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let applied = HeaderValue::from_static("return=representation");
    headers.insert("preference-applied", applied);
}
