//! The access log: a line for a sampled request, as an event of `tracing` at level `INFO`.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Response};
use tracing::info;

use crate::answer::problem::ProblemKind;

/// The target of the lines, for a subscriber's filter.
pub const ACCESS_LOG: &str = "jetsink_serve::access";

/// Chooses the requests. Accepted requests and others are counted apart, so that a flood of one hides no other.
#[derive(Debug)]
pub(crate) struct AccessLog {
    one_in: Option<NonZeroU32>,
    accepted: AtomicU64,
    others: AtomicU64,
}

/// A request, as far as it was read.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) credential: Option<Arc<str>>,
    pub(crate) trace_id: Option<String>,
    pub(crate) bytes: usize,
    pub(crate) events: usize,
}

/// The answer of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// As in the metrics: `accepted`, `options`, or a problem's name.
    pub(crate) name: &'static str,
}

impl Answer {
    /// A problem's response has its kind as an extension.
    pub(crate) fn of(response: &Response<Body>) -> Self {
        let status = response.status().as_u16();
        let kind = response.extensions().get::<ProblemKind>();
        let name = kind.map(|kind| kind.name());
        Self {
            status,
            name: name.unwrap_or(if status == 202 { "accepted" } else { "options" }),
        }
    }
}

impl AccessLog {
    /// Logs one in `one_in` requests; `None` logs none.
    pub(crate) fn new(one_in: Option<NonZeroU32>) -> Self {
        Self {
            one_in,
            accepted: AtomicU64::new(0),
            others: AtomicU64::new(0),
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.one_in.is_some()
    }

    /// Logs a request if it is one of the sample. Without an answer its client went away.
    pub(crate) fn ended(
        &self,
        route: &str,
        request: &Request,
        answer: Option<Answer>,
        time: Duration,
    ) {
        let Some(one_in) = self.one_in else { return };
        let is_accepted = answer.is_some_and(|answer| answer.status == 202);
        let seen = if is_accepted {
            &self.accepted
        } else {
            &self.others
        };
        if seen.fetch_add(1, Ordering::Relaxed) % u64::from(one_in.get()) != 0 {
            return;
        }
        info!(
            target: ACCESS_LOG,
            method = %request.method,
            route,
            status = answer.map(|answer| answer.status),
            answer = answer.map_or("abandoned", |answer| answer.name),
            events = request.events,
            bytes = request.bytes,
            ms = time.as_millis() as u64,
            credential = request.credential.as_deref(),
            trace_id = request.trace_id.as_deref(),
            one_in,
            "request"
        );
    }
}
