//! An event in binary mode from headers and body (HTTP binding 1.0.2, section 3.1).

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use jetsink::BinaryEvent;

use super::attribute::decode;
use super::content::ATTRIBUTE;
use crate::answer::problem::{Problem, ProblemKind};

/// Reads the attributes; headers without `ce-` are not forwarded.
pub(crate) fn read(headers: &HeaderMap, body: Bytes) -> Result<BinaryEvent, Problem> {
    let mut attributes = Vec::with_capacity(headers.len());
    for (header, value) in headers {
        let Some(name) = header.as_str().strip_prefix(ATTRIBUTE) else {
            continue;
        };
        if name == "datacontenttype" {
            let detail = "header `ce-datacontenttype` is not allowed; send `Content-Type`";
            return Err(Problem::new(ProblemKind::InvalidEvent, detail));
        }
        let value = decode(value.as_bytes()).map_err(|error| {
            let detail = format!("header `{}` {error}", header.as_str().escape_debug());
            Problem::new(ProblemKind::InvalidEvent, detail)
        })?;
        attributes.push((name.to_owned(), value));
    }
    if let Some(content_type) = headers.get(CONTENT_TYPE) {
        // `Mode::of` has checked that it is visible ASCII.
        let text = content_type.to_str().unwrap_or_default();
        attributes.push(("datacontenttype".to_owned(), text.to_owned()));
    }
    BinaryEvent::new(attributes, body)
        .map_err(|error| Problem::new(ProblemKind::InvalidEvent, error.to_string()))
}
