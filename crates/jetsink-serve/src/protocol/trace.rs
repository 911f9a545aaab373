//! The trace context of a request (W3C Trace Context, level 1).

use axum::http::{HeaderMap, HeaderName};

const PARENT: HeaderName = HeaderName::from_static("traceparent");
const STATE: HeaderName = HeaderName::from_static("tracestate");

/// A valid `traceparent`, with the `tracestate` beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub(crate) parent: String,
    pub(crate) state: Option<String>,
}

impl TraceContext {
    /// `None` without a `traceparent`, and for one that is invalid or appears twice: the recommendation demands to
    /// ignore those (section 3.2). Several `tracestate` headers are one list (section 3.3.1).
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(PARENT).iter();
        let parent = parents.next()?.to_str().ok()?;
        if parents.next().is_some() || !is_valid(parent) {
            return None;
        }
        let states = headers.get_all(STATE).iter();
        let states: Result<Vec<&str>, _> = states.map(|value| value.to_str()).collect();
        let state = states.map(|states| states.join(",")).unwrap_or_default();
        Some(Self {
            parent: parent.to_owned(),
            state: Some(state).filter(|state| !state.is_empty()),
        })
    }

    /// The id of the whole trace.
    pub(crate) fn trace_id(&self) -> &str {
        self.parent.get(3..35).unwrap_or_default()
    }
}

/// Version, trace id, parent id and flags. A later version may have more behind them.
fn is_valid(parent: &str) -> bool {
    let is_hex = |text: &str| {
        text.bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |text: &str, length| {
        text.len() == length && is_hex(text) && text.bytes().any(|byte| byte != b'0')
    };
    let mut parts = parent.split('-');
    let (Some(version), Some(trace), Some(span), Some(flags)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    version.len() == 2
        && is_hex(version)
        && version != "ff"
        && is_id(trace, 32)
        && is_id(span, 16)
        && flags.len() == 2
        && is_hex(flags)
        && (version != "00" || parts.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(headers: &[(&'static str, &'static str)]) -> Option<TraceContext> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        TraceContext::of(&map)
    }

    #[test]
    fn several_tracestate_headers_become_one_list() {
        let context = of(&[
            ("traceparent", VALID),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
        ]);
        let context = context.unwrap();
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.parent, VALID);
        assert_eq!(context.state.as_deref(), Some("a=1,b=2"));
        assert_eq!(of(&[("traceparent", VALID)]).unwrap().state, None);
    }

    #[test]
    fn invalid_parents_are_ignored() {
        assert_eq!(of(&[("tracestate", "a=1")]), None);
        assert_eq!(of(&[("traceparent", VALID), ("traceparent", VALID)]), None);
        for parent in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        ] {
            assert_eq!(of(&[("traceparent", parent)]), None, "{parent}");
        }
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert!(of(&[("traceparent", later)]).is_some());
    }
}
