//! The preferences of a request: a receipt in the body, and a shorter deadline.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};

use crate::answer::problem::{Problem, ProblemKind};

/// Seconds as a decimal number, for a deadline shorter than the one second of `Prefer: wait`.
pub(crate) const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("request-timeout");

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The preferences of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Preferences {
    /// `Prefer: return=representation`.
    pub(crate) wants_receipt: bool,
    /// The shorter of `Prefer: wait=SECONDS` (RFC 7240) and `Request-Timeout: SECONDS`, from the receipt of the headers.
    pub(crate) deadline: Option<Duration>,
}

impl Preferences {
    /// Unknown preferences are ignored, as RFC 7240 demands. A malformed `Request-Timeout` is a problem: a client that
    /// relies on it would wait too long.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut preferences = Self::default();
        for value in headers.get_all(PREFER) {
            for preference in value.to_str().unwrap_or_default().split(',') {
                let preference = preference.split(';').next().unwrap_or_default();
                let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
                let (name, value) = (name.trim(), value.trim().trim_matches('"'));
                if name.eq_ignore_ascii_case("return") {
                    preferences.wants_receipt = value.eq_ignore_ascii_case("representation");
                } else if name.eq_ignore_ascii_case("wait")
                    && let Ok(seconds) = value.parse::<u32>()
                {
                    preferences.shorten(Duration::from_secs(seconds.into()));
                }
            }
        }
        for value in headers.get_all(REQUEST_TIMEOUT) {
            let seconds = value.to_str().ok().and_then(parse_seconds).ok_or_else(|| {
                let detail = "header `Request-Timeout` must be a number of seconds, such as 0.5";
                Problem::new(ProblemKind::Malformed, detail)
            })?;
            preferences.shorten(seconds);
        }
        Ok(preferences)
    }

    fn shorten(&mut self, deadline: Duration) {
        self.deadline = Some(
            self.deadline
                .map_or(deadline, |earlier| earlier.min(deadline)),
        );
    }
}

fn parse_seconds(text: &str) -> Option<Duration> {
    let is_number = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds: f64 = text.parse().ok().filter(|_| is_number)?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(HeaderName, &'static str)]) -> Result<Preferences, Problem> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.clone(), axum::http::HeaderValue::from_static(value));
        }
        Preferences::of(&map)
    }

    #[test]
    fn shortest_deadline_counts_and_unknown_preferences_do_not() {
        let one = of(&[(
            PREFER,
            "respond-async, wait=10; x=1, Return=\"representation\"",
        )])
        .unwrap();
        assert_eq!(one.deadline, Some(Duration::from_secs(10)));
        assert!(one.wants_receipt);
        let both = of(&[(PREFER, "wait=10"), (REQUEST_TIMEOUT, "0.25")]).unwrap();
        assert_eq!(both.deadline, Some(Duration::from_millis(250)));
        assert_eq!(
            of(&[(PREFER, "wait=soon, return=minimal")]).unwrap(),
            Preferences::default()
        );
    }

    #[test]
    fn malformed_timeout_is_refused() {
        for value in ["", "soon", "-1", "1e3", "inf", "NaN", "1.2.3"] {
            let problem = of(&[(REQUEST_TIMEOUT, value)]).unwrap_err();
            assert_eq!(problem.kind(), ProblemKind::Malformed, "{value}");
        }
    }
}
