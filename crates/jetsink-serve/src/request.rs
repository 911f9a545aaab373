//! The path of one request.
//!
//! 1. The host, the sender and a place, before anything of the body is read.
//! 2. The body, within its limits.
//! 3. Its events, each with an envelope; one invalid event refuses all.
//! 4. Their delivery, and the answer.

use std::error::Error;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, Request, Response};
use bytes::Bytes;
use hyper::body::Body as HttpBody;
use jetsink::{BindingError, Delivery, Envelope, Publisher};
use tokio::time::Instant;

use crate::access::{Caller, TenantChoice, host};
use crate::access_log::{self, AccessLog, Answer};
use crate::answer::outcome::of_binding;
use crate::answer::problem::{EventReport, EventResult, Problem, ProblemKind};
use crate::answer::receipt;
use crate::deliver::{self, Outcome, Ready, digest};
use crate::gateway::{BoundRoute, Inner};
use crate::identity;
use crate::intake::body::BodyError;
use crate::intake::unread::Unread;
use crate::intake::{body, head};
use crate::listen::Client;
use crate::meters::Meters;
use crate::protocol::content::{Encoding, Mode};
use crate::protocol::preference::Preferences;
use crate::protocol::trace::TraceContext;
use crate::protocol::{batch, binary, webhook};

/// The route of a request to a path without one, in the access log.
const NO_ROUTE: &str = "-";

/// The events of a request.
enum Events {
    One(Ready),
    Batch(Vec<Ready>),
}

impl Events {
    fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Batch(events) => events.len(),
        }
    }

    fn with_trace_context(self, trace: &TraceContext) -> Self {
        let with_it = |event: Ready| Ready {
            envelope: (event.envelope).with_trace_context(&trace.parent, trace.state.as_deref()),
            ..event
        };
        match self {
            Self::One(event) => Self::One(with_it(event)),
            Self::Batch(events) => Self::Batch(events.into_iter().map(with_it).collect()),
        }
    }
}

/// Counts and logs a request at its end, also if its client went away before the answer.
struct Answering<'a> {
    meters: &'a Meters,
    access_log: &'a AccessLog,
    route: &'a str,
    started: Instant,
    seen: access_log::Request,
    answer: Option<Answer>,
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        if self.answer.is_none() {
            self.meters.abandoned();
        }
        let time = self.started.elapsed();
        self.meters.took(time);
        self.access_log
            .ended(self.route, &self.seen, self.answer, time);
    }
}

impl<P: Publisher + 'static> Inner<P> {
    /// Answers one request to a route.
    pub(crate) async fn handle<B>(
        &self,
        route: usize,
        client: &Client,
        request: Request<B>,
    ) -> Response<Body>
    where
        B: HttpBody<Data = Bytes, Error: Error + 'static> + Send + Unpin + 'static,
    {
        let route = &self.routes[route];
        let mut answering = self.answering(&route.path);
        let (parts, body) = request.into_parts();
        let mut body = Unread::new(body, self.settings.body.bytes);
        let (started, seen) = (answering.started, &mut answering.seen);
        let taken = self.take(route, client, &parts, &mut body, started, seen);
        let response = match taken.await {
            Ok(response) => response,
            Err(BodyError::Problem(problem)) => self.answer_problem(&problem, &[]),
            // Counted as abandoned, since `answering` has no answer.
            Err(BodyError::ClientGone) => {
                return Problem::new(ProblemKind::Malformed, "the body ended early").response(&[]);
            }
        };
        answering.answer = Some(Answer::of(&response));
        body.drain(&parts, [&client.drains, &self.drains]);
        response
    }

    pub(crate) fn answer_problem(
        &self,
        problem: &Problem,
        events: &[EventReport<'_>],
    ) -> Response<Body> {
        self.meters.problem(problem);
        let mut response = problem.response(events);
        if self.access_log.is_on() {
            response.extensions_mut().insert(problem.kind());
        }
        response
    }

    /// Answers a request to a path without a route. Its log line has no path: senders choose it.
    pub(crate) fn no_route<B>(&self, client: &Client, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    {
        let mut answering = self.answering(NO_ROUTE);
        let (parts, body) = request.into_parts();
        let trace = TraceContext::of(&parts.headers);
        self.see(&mut answering.seen, &parts.method, trace.as_ref());
        let problem = Problem::new(ProblemKind::NotFound, "no route has this path");
        let response = self.answer_problem(&problem, &[]);
        answering.answer = Some(Answer::of(&response));
        let body = Unread::new(body, self.settings.body.bytes);
        body.drain(&parts, [&client.drains, &self.drains]);
        response
    }

    /// Begins a request, at the receipt of its headers.
    fn answering<'a>(&'a self, route: &'a str) -> Answering<'a> {
        let started = Instant::now();
        self.meters.history.tick(started);
        Answering {
            meters: &self.meters,
            access_log: &self.access_log,
            route,
            started,
            seen: access_log::Request::default(),
            answer: None,
        }
    }

    fn see(&self, seen: &mut access_log::Request, method: &Method, trace: Option<&TraceContext>) {
        if self.access_log.is_on() {
            seen.method = method.clone();
            seen.trace_id = trace.map(|trace| trace.trace_id().to_owned());
        }
    }

    async fn take<B>(
        &self,
        route: &BoundRoute,
        client: &Client,
        parts: &Parts,
        body: &mut Unread<B>,
        started: Instant,
        seen: &mut access_log::Request,
    ) -> Result<Response<Body>, BodyError>
    where
        B: HttpBody<Data = Bytes, Error: Error + 'static> + Unpin,
    {
        let trace = TraceContext::of(&parts.headers);
        self.see(seen, &parts.method, trace.as_ref());
        if let Some(max_bytes) = client.max_header_bytes {
            head::check(parts, max_bytes)?;
        }
        if client.needs_own_host {
            host::check(parts, &self.settings.hosts)?;
        }
        if parts.method == Method::OPTIONS {
            self.meters.options();
            return Ok(webhook::options(&parts.headers));
        }
        if parts.method != Method::POST {
            return Err(Problem::new(ProblemKind::MethodNotAllowed, "send events by POST").into());
        }
        let caller = self.settings.access.caller(&parts.headers, client)?;
        body.accept();
        if self.access_log.is_on() {
            seen.credential = caller.name().cloned();
        }
        let mut place = self.places.empty(caller.share());
        if !place.add(1) {
            let detail = "all places for requests in flight are taken, or the half of them that one credential, or all senders without one, can have";
            return Err(Problem::new(ProblemKind::TooManyRequests, detail).into());
        }
        let _in_flight = InFlight::new(&self.meters);
        let mode = Mode::of(&parts.headers)?;
        let encoding = Encoding::of(&parts.headers)?;
        let preferences = Preferences::of(&parts.headers)?;
        let limits = self.settings.body.within(preferences.deadline);
        let mut held = self.budget.empty(caller.share());
        let deadline = started + limits.time;
        let headers = &parts.headers;
        // Before the body is begun, since its client may wait for `100 Continue`.
        body::check_announced(headers, limits)?;
        let unread = body.begin();
        let bytes = body::read(unread, encoding, limits, deadline, &mut held).await?;
        body.end();
        seen.bytes = bytes.len();
        let events = self.events(route, &caller, mode, parts, bytes)?;
        seen.events = events.len();
        let events = match &trace {
            Some(trace) => events.with_trace_context(trace),
            None => events,
        };
        // An emit may outlive its request, and its payload with it.
        let held = (place, held);
        let wait = match preferences.deadline {
            None => self.settings.deadline,
            Some(by_client) => {
                let left = by_client.saturating_sub(started.elapsed());
                left.min(self.settings.deadline)
            }
        };
        match events {
            Events::One(event) => {
                let outcome = deliver::one(&self.once, event, wait, held).await;
                Ok(self.answer_one(&outcome, preferences))
            }
            Events::Batch(events) => {
                let deadline = Instant::now() + wait;
                let outcomes = deliver::batch(&self.once, events, deadline, held).await;
                Ok(self.answer_batch(&outcomes, preferences))
            }
        }
    }

    fn events(
        &self,
        route: &BoundRoute,
        caller: &Caller,
        mode: Mode,
        parts: &Parts,
        body: Bytes,
    ) -> Result<Events, Problem> {
        match mode {
            Mode::Binary => {
                let event = binary::read(&parts.headers, body)?;
                let envelope = checked(route, caller, |choice| {
                    route
                        .binary
                        .binary_envelope(&event, |tenant| choice.choose(tenant))
                })?;
                ready(envelope).map(Events::One)
            }
            Mode::Structured => self.json(route, caller, body).map(Events::One),
            Mode::Batched => {
                let members = batch::split(&body, self.settings.max_batch)?;
                let events = members.into_iter().enumerate().map(|(index, member)| {
                    self.json(route, caller, member)
                        .map_err(|problem| problem.of_event(index))
                });
                events.collect::<Result<_, _>>().map(Events::Batch)
            }
        }
    }

    /// A structured event, alone or in a batch.
    fn json(&self, route: &BoundRoute, caller: &Caller, json: Bytes) -> Result<Ready, Problem> {
        let envelope = checked(route, caller, |choice| {
            route
                .structured
                .envelope_with_tenant(json, |tenant| choice.choose(tenant))
        })?;
        ready(envelope)
    }

    fn answer_one(&self, outcome: &Outcome, preferences: Preferences) -> Response<Body> {
        if let Outcome::Failed(problem) = outcome {
            return self.answer_problem(problem, &[]);
        }
        self.meters.accepted(1);
        receipt::single(&result_of(outcome), preferences.wants_receipt)
    }

    fn answer_batch(&self, outcomes: &[Outcome], preferences: Preferences) -> Response<Body> {
        let reports = outcomes
            .iter()
            .enumerate()
            .map(|(index, outcome)| EventReport {
                index,
                result: result_of(outcome),
            });
        let reports: Vec<EventReport<'_>> = reports.collect();
        match worst(outcomes) {
            Some(problem) => self.answer_problem(&problem, &reports),
            None => {
                self.meters.accepted(reports.len());
                receipt::batch(&reports, preferences.wants_receipt)
            }
        }
    }
}

struct InFlight<'a>(&'a Meters);

impl<'a> InFlight<'a> {
    fn new(meters: &'a Meters) -> Self {
        meters.in_flight.increment(1);
        Self(meters)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.decrement(1);
    }
}

/// Makes an envelope, and checks that its sender may send it.
fn checked(
    route: &BoundRoute,
    caller: &Caller,
    make: impl FnOnce(&mut TenantChoice<'_>) -> Result<Envelope, BindingError>,
) -> Result<Envelope, Problem> {
    let mut choice = TenantChoice {
        caller,
        defaults: &route.tenant_defaults,
        refusal: None,
    };
    let envelope = make(&mut choice);
    if let Some(refusal) = choice.refusal {
        return Err(refusal);
    }
    let envelope = envelope.map_err(|error| of_binding(&error))?;
    caller.check_subject(envelope.subject())?;
    Ok(envelope)
}

/// The event with its identity.
fn ready(envelope: Envelope) -> Result<Ready, Problem> {
    let Some(id) = envelope.message_id() else {
        // The gateway's bindings make one for each event.
        let detail = "the event has no identity; report this as a defect of jetsink";
        return Err(Problem::new(ProblemKind::EventRefused, detail));
    };
    Ok(Ready {
        key: identity::key(id.as_str()),
        digest: digest(&envelope),
        envelope,
    })
}

/// The problem of a batch: one that a repeat can solve comes first, since senders drop a batch at 422. `None` if all
/// events are durable.
fn worst(outcomes: &[Outcome]) -> Option<Problem> {
    let problems = || {
        outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Failed(problem) => Some(problem),
            Outcome::Durable { .. } | Outcome::NotTried | Outcome::TooLate => None,
        })
    };
    let unknown = problems().find(|problem| problem.kind() == ProblemKind::OutcomeUnknown);
    let passing = || problems().find(|problem| problem.kind().is_passing());
    if let Some(problem) = unknown.or_else(passing) {
        return Some(problem.clone());
    }
    if outcomes
        .iter()
        .any(|outcome| matches!(outcome, Outcome::TooLate))
    {
        let detail =
            "the deadline passed before all events were sent; the same request sends the others";
        return Some(Problem::new(ProblemKind::OutcomeUnknown, detail));
    }
    problems().next().cloned()
}

fn result_of(outcome: &Outcome) -> EventResult<'_> {
    match outcome {
        Outcome::Failed(problem) => problem.result(),
        Outcome::NotTried | Outcome::TooLate => EventResult::NotTried,
        Outcome::Durable {
            delivery,
            is_repeat,
        } => match delivery {
            Delivery::Stored(ack) => EventResult::Stored {
                stream: &ack.stream,
                sequence: ack.sequence,
                duplicate: ack.duplicate || *is_repeat,
            },
            // Spooled, or a later kind of delivery: durable in any case.
            _ => EventResult::Spooled {
                duplicate: *is_repeat,
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_with_events_that_the_deadline_cut_off_is_never_answered_422() {
        let conflict =
            || Outcome::Failed(Problem::new(ProblemKind::IdentityConflict, "other bytes"));
        assert_eq!(
            worst(&[conflict()]).unwrap().kind(),
            ProblemKind::IdentityConflict
        );
        let behind_it = worst(&[conflict(), Outcome::NotTried]).unwrap();
        assert_eq!(behind_it.kind(), ProblemKind::IdentityConflict);
        let cut_off = worst(&[conflict(), Outcome::TooLate]).unwrap();
        assert_eq!(cut_off.kind(), ProblemKind::OutcomeUnknown);
    }
}
