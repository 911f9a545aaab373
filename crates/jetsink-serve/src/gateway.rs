//! The gateway: its routes and its router.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::routing::any;
use hyper::body::Incoming;
use jetsink::{Binding, ContentMode, MessageIdRule, Publisher, Sink, SpoolError, Unavailable};
use tokio::time::Instant;

use crate::access_log::AccessLog;
use crate::deliver::{Memory, Once};
use crate::identity::{Identities, IdentityFile};
use crate::intake::shares::Shares;
use crate::intake::unread::Drains;
use crate::listen::{Answer, Client};
use crate::meters::Meters;
use crate::readiness::Readiness;
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

impl<P: Publisher> fmt::Debug for Gateway<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes = self.inner.routes.iter();
        let paths: Vec<&str> = routes.map(|route| route.path.as_str()).collect();
        f.debug_struct("Gateway")
            .field("sink", &self.inner.once.sink)
            .field("routes", &paths)
            .finish_non_exhaustive()
    }
}

pub(crate) struct Inner<P> {
    pub(crate) once: Arc<Once<P>>,
    pub(crate) routes: Vec<BoundRoute>,
    pub(crate) settings: GatewaySettings,
    /// Requests in flight.
    pub(crate) places: Arc<Shares>,
    /// Bytes of their bodies.
    pub(crate) budget: Arc<Shares>,
    /// Bodies that are read after their answers.
    pub(crate) drains: Drains,
    pub(crate) meters: Arc<Meters>,
    pub(crate) access_log: AccessLog,
    pub(crate) is_stopping: AtomicBool,
}

/// A route with a binding for each way in.
pub(crate) struct BoundRoute {
    pub(crate) path: String,
    /// The tenants that an event without one has on this route; empty if no tenant decides the subject.
    pub(crate) tenant_defaults: Vec<String>,
    pub(crate) structured: Binding,
    pub(crate) binary: Binding,
}

impl BoundRoute {
    fn new(route: Route, settings: &GatewaySettings) -> Self {
        let binding = Binding::new(route.template.clone())
            .tenant_policy(settings.tenant_policy)
            .message_id(MessageIdRule::SourceAndId);
        let stored = |received| settings.mode.unwrap_or(received);
        Self {
            path: route.path,
            tenant_defaults: (route.template.tenant_defaults())
                .map(str::to_owned)
                .collect(),
            structured: binding.clone().mode(stored(ContentMode::Structured)),
            binary: binding.mode(stored(ContentMode::Binary)),
        }
    }
}

impl<P: Publisher + 'static> Gateway<P> {
    /// A gateway with these routes.
    ///
    /// # Errors
    /// - [`GatewayError::Route`] without a route, or with two of one path.
    /// - [`GatewayError::SinkInUse`] if the sink has a spool, and another gateway was made with it.
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
        let (max, window) = (settings.max_identities, settings.identity_window);
        let file = sink
            .spool()
            .map(|spool| IdentityFile::new(spool.directory(), max, window));
        let memory = Memory::new(Identities::new(max, window), file, Arc::clone(&meters));
        if let Some(spool) = sink.spool() {
            let of_spool = Arc::clone(&memory);
            let observed = spool.observe(move |ids| of_spool.spooled(ids));
            observed.map_err(|_| GatewayError::SinkInUse)?;
        }
        let bound = routes
            .into_iter()
            .map(|route| BoundRoute::new(route, &settings));
        let inner = Inner {
            once: Arc::new(Once::new(sink, memory, Arc::clone(&meters))),
            routes: bound.collect(),
            places: Shares::new(settings.max_requests),
            budget: Shares::new(settings.budget),
            drains: Drains::of_gateway(),
            meters,
            access_log: AccessLog::new(settings.access_log),
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
            let inner = Arc::clone(&self.inner);
            let handler = move |request: Request<Body>| {
                let inner = Arc::clone(&inner);
                async move { inner.handle(index, &Client::default(), request).await }
            };
            router = router.route(&route.path, any(handler));
        }
        let inner = Arc::clone(&self.inner);
        router.fallback(move |request: Request<Body>| {
            let inner = Arc::clone(&inner);
            async move { inner.no_route(&Client::default(), request) }
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

    /// Remembers the identities of events that earlier processes have spooled, so that a repeat of one after a restart is a
    /// duplicate. A file in the spool's folder has those within the window of [`GatewaySettings::identities`]; the events in the
    /// spool have theirs. [`Server::serve`](crate::Server::serve) does it; a service that mounts the [router](Self::router) calls it
    /// before it accepts requests. Reads the whole spool. Until it has ended, the repeat of an event in the spool may be spooled
    /// again and answered as a first one. It is stored once if the spool delivers the repeat within the stream's
    /// duplicate window after the event. Does nothing without a spool.
    ///
    /// A file of identities that cannot be read is logged, and is no error.
    ///
    /// # Errors
    /// [`SpoolError`]: the sink is closed, or the disk cannot be read.
    pub async fn recall_spooled(&self) -> Result<(), SpoolError> {
        self.inner.once.recall_spooled().await
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
        self.readiness_at(Instant::now())
    }

    pub(crate) fn readiness_at(&self, now: Instant) -> Readiness {
        if self.inner.is_stopping.load(Ordering::Acquire) {
            return Readiness::Stopping;
        }
        // Direct events need no room.
        let is_full = matches!(self.sink().accepts(), Err(Unavailable::SpoolFull { .. }));
        Readiness::of(self.inner.once.spool_failure(), is_full, now)
    }

    pub(crate) fn meters(&self) -> &Arc<Meters> {
        &self.inner.meters
    }
}

/// The routes without axum's router, which boxes each request, body and future.
impl<P: Publisher + 'static> Answer for Gateway<P> {
    async fn answer(&self, client: &Client, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        let route = self.inner.routes.iter().position(|r| r.path == path);
        match route {
            Some(route) => self.inner.handle(route, client, request).await,
            None => self.inner.no_route(client, request),
        }
    }

    fn unreadable(&self) {
        self.inner.meters.unreadable();
    }
}
