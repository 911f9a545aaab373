//! The gateway: its router, and the path of one request.
//!
//! 1. The host, the sender and a place, before anything of the body is read.
//! 2. The body, within its limits.
//! 3. Its events, each with an envelope; one invalid event refuses all.
//! 4. Their delivery, and the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, Request, Response};
use axum::routing::any;
use bytes::Bytes;
use jetsink::{
    Binding, BindingError, ContentMode, Delivery, Envelope, MessageIdRule, Publisher, Sink,
};
use tokio::time::Instant;

use crate::access::{Caller, TenantChoice, host};
use crate::answer::outcome::of_binding;
use crate::answer::problem::{EventReport, EventResult, Kind, Problem};
use crate::answer::receipt;
use crate::deliver::{self, Digests, Once, Outcome, Ready};
use crate::identity::Identities;
use crate::intake::body::{self, Budget};
use crate::intake::places::Places;
use crate::listen::Client;
use crate::meters::Meters;
use crate::protocol::content::{Encoding, Mode};
use crate::protocol::preference::Preferences;
use crate::protocol::{batch, binary, webhook};
use crate::settings::{GatewayError, GatewaySettings, Route};

/// A gateway in front of a [`Sink`]. Clones share it.
///
/// ```
/// use std::sync::Arc;
/// use axum::Router;
/// use jetsink::{Publisher, Sink};
/// use jetsink_serve::{Gateway, GatewaySettings, Route};
///
/// fn app<P: Publisher + 'static>(sink: Arc<Sink<P>>) -> Result<Router, Box<dyn std::error::Error>> {
///     let route = Route::new("/events", "shop.events.{tenantId}".parse()?)?;
///     let gateway = Gateway::new(sink, vec![route], GatewaySettings::default())?;
///     Ok(gateway.router().route("/about", axum::routing::get(|| async { "a shop" })))
/// }
/// ```
pub struct Gateway<P> {
    inner: Arc<Inner<P>>,
}

impl<P> Clone for Gateway<P> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

struct Inner<P> {
    once: Arc<Once<P>>,
    routes: Vec<BoundRoute>,
    settings: GatewaySettings,
    places: Arc<Places>,
    budget: Budget,
    meters: Arc<Meters>,
    digests: Digests,
    is_stopping: AtomicBool,
}

/// A route with a binding for each way in.
struct BoundRoute {
    path: String,
    names_tenant: bool,
    structured: Binding,
    binary: Binding,
}

impl BoundRoute {
    fn new(route: Route, settings: &GatewaySettings) -> Self {
        let binding = Binding::new(route.template.clone())
            .tenant_policy(settings.tenant_policy)
            .message_id(MessageIdRule::SourceAndId);
        let stored = |received| settings.mode.unwrap_or(received);
        Self {
            path: route.path,
            names_tenant: route.template.names_tenant(),
            structured: binding.clone().mode(stored(ContentMode::Structured)),
            binary: binding.mode(stored(ContentMode::Binary)),
        }
    }
}

/// The events of a request.
enum Events {
    One(Ready),
    Batch(Vec<Ready>),
}

impl<P: Publisher + 'static> Gateway<P> {
    /// A gateway with these routes.
    ///
    /// # Errors
    /// [`GatewayError::Route`] without a route, or with two of one path.
    pub fn new(
        sink: Arc<Sink<P>>,
        routes: Vec<Route>,
        settings: GatewaySettings,
    ) -> Result<Self, GatewayError> {
        for (index, route) in routes.iter().enumerate() {
            if routes[..index]
                .iter()
                .any(|earlier| earlier.path == route.path)
            {
                return Err(GatewayError::Route {
                    path: route.path.clone(),
                    reason: "two routes have this path",
                });
            }
        }
        if routes.is_empty() {
            return Err(GatewayError::Route {
                path: String::new(),
                reason: "there must be at least one route",
            });
        }
        let meters = Arc::new(Meters::new());
        let identities = Identities::new(settings.max_identities, settings.identity_window);
        let bound = routes
            .into_iter()
            .map(|route| BoundRoute::new(route, &settings));
        let inner = Inner {
            once: Arc::new(Once::new(sink, identities, Arc::clone(&meters))),
            routes: bound.collect(),
            places: Places::new(settings.max_requests),
            budget: Budget::new(settings.budget),
            meters,
            digests: Digests::default(),
            is_stopping: AtomicBool::new(false),
            settings,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The router of the routes. Other paths get `404`; a router that is merged with this one can have a fallback of
    /// its own.
    ///
    /// Requests that come in by other listeners than [`Server`](crate::Server) have no client certificate or user,
    /// and their host is not checked.
    pub fn router(&self) -> Router {
        let mut router = Router::new();
        for (index, route) in self.inner.routes.iter().enumerate() {
            let gateway = self.clone();
            let handler = move |request: Request<Body>| {
                let gateway = gateway.clone();
                async move { gateway.inner.handle(index, request).await }
            };
            router = router.route(&route.path, any(handler));
        }
        let gateway = self.clone();
        router.fallback(move || {
            let gateway = gateway.clone();
            async move {
                let problem = Problem::new(Kind::NotFound, "no route has this path");
                gateway.inner.answer_problem(&problem, &[])
            }
        })
    }

    /// The sink behind it.
    #[must_use]
    pub fn sink(&self) -> &Arc<Sink<P>> {
        &self.inner.once.sink
    }

    /// The accepted senders, for a reload.
    #[must_use]
    pub fn access(&self) -> &crate::Access {
        &self.inner.settings.access
    }

    /// Makes [`readiness`](Self::readiness) report that the gateway is stopping. Requests are still answered.
    pub fn begin_stop(&self) {
        self.inner.is_stopping.store(true, Ordering::Release);
    }

    /// Whether a load balancer should send requests here.
    ///
    /// An open circuit alone does not make it unready: without a spool only traffic closes it, and with one events are
    /// accepted.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        if self.inner.is_stopping.load(Ordering::Acquire) {
            return Readiness::Stopping;
        }
        if let Some(failure) = self.inner.once.recent_disk_failure(Instant::now()) {
            return failure;
        }
        let spool = self.sink().spool_status();
        match spool {
            Some(spool) if spool.used_bytes >= spool.limit_bytes => Readiness::SpoolFull,
            _ => Readiness::Ready,
        }
    }

    pub(crate) fn hosts(&self) -> &[String] {
        &self.inner.settings.hosts
    }

    pub(crate) fn meters(&self) -> &Arc<Meters> {
        &self.inner.meters
    }
}

/// Whether a gateway should receive requests. `Display` is a few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Readiness {
    /// It should.
    Ready,
    /// It is stopping.
    Stopping,
    /// Its spool is full, or was within the last 10 s.
    SpoolFull,
    /// Its spool's disk has failed within the last 10 s.
    DiskFailed,
}

impl std::fmt::Display for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::Stopping => "stopping",
            Self::SpoolFull => "the spool is full",
            Self::DiskFailed => "the spool's disk has failed",
        })
    }
}

/// Counts a request whose client went away before the answer.
struct Answering<'a> {
    meters: &'a Meters,
    started: Instant,
    is_answered: bool,
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.meters.abandoned();
        }
        self.meters.took(self.started.elapsed());
    }
}

impl<P: Publisher + 'static> Inner<P> {
    async fn handle(&self, route: usize, request: Request<Body>) -> Response<Body> {
        let mut answering = Answering {
            meters: &self.meters,
            started: Instant::now(),
            is_answered: false,
        };
        let (parts, body) = request.into_parts();
        let response = match self.take(&self.routes[route], &parts, body).await {
            Ok(response) => response,
            Err(problem) => self.answer_problem(&problem, &[]),
        };
        answering.is_answered = true;
        response
    }

    fn answer_problem(&self, problem: &Problem, events: &[EventReport]) -> Response<Body> {
        self.meters.problem(problem.kind());
        problem.response(events)
    }

    async fn take(
        &self,
        route: &BoundRoute,
        parts: &Parts,
        body: Body,
    ) -> Result<Response<Body>, Problem> {
        let client = parts
            .extensions
            .get::<Client>()
            .cloned()
            .unwrap_or_default();
        if client.is_loopback {
            host::check(parts, &self.settings.hosts)?;
        }
        if parts.method == Method::OPTIONS {
            self.meters.options();
            return Ok(webhook::options(&parts.headers));
        }
        if parts.method != Method::POST {
            return Err(Problem::new(Kind::MethodNotAllowed, "send events by POST"));
        }
        let caller = self.settings.access.caller(&parts.headers, &client)?;
        let place = self.places.take(caller.name());
        let Some(_place) = place else {
            let detail =
                "all places for requests in flight, or this credential's half of them, are taken";
            return Err(Problem::new(Kind::TooManyRequests, detail));
        };
        let _in_flight = InFlight::new(&self.meters);
        let mode = Mode::of(&parts.headers)?;
        let encoding = Encoding::of(&parts.headers)?;
        let preferences = Preferences::of(&parts.headers)?;
        let limits = self.settings.body;
        let (body, _held) =
            body::read(body, &parts.headers, encoding, limits, &self.budget).await?;
        let deadline = self.deadline(preferences);
        let events = self.events(route, &caller, mode, parts, body)?;
        match events {
            Events::One(event) => {
                let outcome = deliver::one(&self.once, event, deadline).await;
                Ok(self.answer_one(outcome, preferences))
            }
            Events::Batch(events) => {
                let outcomes = deliver::batch(&self.once, events, deadline).await;
                Ok(self.answer_batch(outcomes, preferences))
            }
        }
    }

    fn deadline(&self, preferences: Preferences) -> Instant {
        let longest = self.settings.deadline;
        let shortened = preferences.deadline.unwrap_or(Duration::MAX);
        Instant::now() + longest.min(shortened)
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
                let digest = self.digests.of_binary(&event);
                let envelope = checked(route, caller, |choice| {
                    route
                        .binary
                        .binary_envelope(&event, |tenant| choice.choose(tenant))
                })?;
                Ok(Events::One(Ready { envelope, digest }))
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
        let digest = self.digests.of_json(&json);
        let envelope = checked(route, caller, |choice| {
            route
                .structured
                .envelope_with_tenant(json, |tenant| choice.choose(tenant))
        })?;
        Ok(Ready { envelope, digest })
    }

    fn answer_one(&self, outcome: Outcome, preferences: Preferences) -> Response<Body> {
        match outcome {
            Outcome::Failed(problem) => self.answer_problem(&problem, &[]),
            outcome => {
                self.meters.accepted(1);
                receipt::single(&result_of(outcome), preferences.wants_receipt)
            }
        }
    }

    fn answer_batch(&self, outcomes: Vec<Outcome>, preferences: Preferences) -> Response<Body> {
        let problem = worst(&outcomes);
        let reports = outcomes
            .into_iter()
            .enumerate()
            .map(|(index, outcome)| EventReport {
                index,
                result: result_of(outcome),
            });
        let reports: Vec<EventReport> = reports.collect();
        match problem {
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
        names_tenant: route.names_tenant,
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

/// The problem of a batch: one that a repeat can solve comes first, since senders drop a batch at 422. `None` if all
/// events are durable.
fn worst(outcomes: &[Outcome]) -> Option<Problem> {
    let problems = || {
        outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Failed(problem) => Some(problem),
            Outcome::Durable { .. } | Outcome::NotTried => None,
        })
    };
    let unknown = problems().find(|problem| problem.kind() == Kind::OutcomeUnknown);
    let passing = || problems().find(|problem| problem.kind().is_passing());
    if let Some(problem) = unknown.or_else(passing).or_else(|| problems().next()) {
        return Some(problem.clone());
    }
    let is_tried = |outcome: &Outcome| !matches!(outcome, Outcome::NotTried);
    if outcomes.iter().all(is_tried) {
        return None;
    }
    let detail =
        "the deadline passed before all events were sent; the same request sends the others";
    Some(Problem::new(Kind::OutcomeUnknown, detail))
}

fn result_of(outcome: Outcome) -> EventResult {
    match outcome {
        Outcome::Failed(problem) => problem.result(),
        Outcome::NotTried => EventResult::NotTried,
        Outcome::Durable { result, is_repeat } => match &*result {
            Ok(Delivery::Stored {
                stream,
                sequence,
                duplicate,
            }) => EventResult::Stored {
                stream: stream.clone(),
                sequence: *sequence,
                duplicate: *duplicate || is_repeat,
            },
            // Spooled, or a later kind of delivery: durable in any case.
            _ => EventResult::Spooled {
                duplicate: is_repeat,
            },
        },
    }
}
