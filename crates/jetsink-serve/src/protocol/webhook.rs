//! `OPTIONS`: the allowed methods, and the handshake of HTTP 1.1 Web Hooks for Event Delivery 1.0.2, section 4.

use axum::body::Body;
use axum::http::header::ALLOW;
use axum::http::{HeaderMap, HeaderValue, Response};

/// The methods of an event route.
pub(crate) const METHODS: HeaderValue = HeaderValue::from_static("POST, OPTIONS");

/// Grants delivery to the origin that asks for it, at any rate. A delivery still needs its credential. The URL in
/// `WebHook-Request-Callback` is never called: a stranger could name any address in it.
pub(crate) fn options(request: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(ALLOW, METHODS);
    if let Some(origin) = request.get("webhook-request-origin") {
        headers.insert("webhook-allowed-origin", origin.clone());
        headers.insert("webhook-allowed-rate", HeaderValue::from_static("*"));
    }
    response
}
