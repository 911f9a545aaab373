//! The pages for operators: `/status`, `/metrics`, `/healthz`, `/readyz`. Serve them on an address of their own.

use std::fmt;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, Request, Response, StatusCode};
use axum::response::{Html, IntoResponse as _};
use axum::routing::get;
use hyper::body::Incoming;
use jetsink::{NatsPublisher, Publisher};
use tokio::time::Instant;
use tower_service::Service as _;

use crate::access::host;
use crate::gateway::Gateway;
use crate::listen::{Answer, Client, Listener, serve_pages};
use crate::readiness::Readiness;
use crate::status::{self, Snapshot};

/// The text of pages that need the gateway.
const STARTING: &str = "starting; the spool is not open yet\n";

/// The pages for operators. Clones share the gateway.
///
/// They can be served before the gateway exists, for example while a start waits for the spool: `/healthz` answers 200
/// then, and `/readyz` 503.
///
/// ```
/// use jetsink::NatsPublisher;
/// use jetsink_serve::{AdminPages, Gateway, Listener};
///
/// async fn start(gateway: Gateway<NatsPublisher>) -> Result<(), Box<dyn std::error::Error>> {
///     let pages = AdminPages::new(Vec::new(), || "# no metrics\n".to_owned());
///     let listener = Listener::tcp("127.0.0.1:9464".parse()?, None).await?;
///     tokio::spawn({
///         let pages = pages.clone();
///         async move { pages.serve(listener).await }
///     });
///     // Later, once there is a gateway:
///     let of_broker = gateway.clone();
///     pages.show(gateway, move || of_broker.sink().publisher().into());
///     Ok(())
/// }
/// ```
pub struct AdminPages<P> {
    router: Router,
    hosts: Arc<[String]>,
    shown: Arc<OnceLock<Shown<P>>>,
}

impl<P> fmt::Debug for AdminPages<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminPages")
            .field("hosts", &self.hosts)
            .field("has_gateway", &self.shown.get().is_some())
            .finish_non_exhaustive()
    }
}

/// The gateway that the pages are about.
struct Shown<P> {
    gateway: Gateway<P>,
    connection: Box<dyn Fn() -> BrokerConnection + Send + Sync>,
}

/// The gateway's connection to the broker, as the pages show it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerConnection {
    /// The version of the connected server; `None` without a connection.
    pub server_version: Option<String>,
    /// The reason why the last attempt to connect failed, without secrets; `None` while connected.
    pub connect_error: Option<String>,
}

impl From<&NatsPublisher> for BrokerConnection {
    fn from(publisher: &NatsPublisher) -> Self {
        Self {
            server_version: publisher.server_version(),
            connect_error: publisher.connect_error().map(|error| error.to_string()),
        }
    }
}

impl<P> Clone for AdminPages<P> {
    fn clone(&self) -> Self {
        Self {
            router: self.router.clone(),
            hosts: Arc::clone(&self.hosts),
            shown: Arc::clone(&self.shown),
        }
    }
}

impl<P: Publisher + 'static> AdminPages<P> {
    /// Pages without a gateway. `metrics` returns the text of `/metrics`, from the recorder of the process. `hosts` are
    /// further names that the `Host` header may have over loopback.
    #[must_use]
    pub fn new(hosts: Vec<String>, metrics: impl Fn() -> String + Send + Sync + 'static) -> Self {
        let metrics = Arc::new(metrics);
        let shown: Arc<OnceLock<Shown<P>>> = Arc::new(OnceLock::new());
        let of_ready = Arc::clone(&shown);
        let snapshot = {
            let shown = Arc::clone(&shown);
            Arc::new(move || shown.get().map(Shown::snapshot))
        };
        let for_programs = Arc::clone(&snapshot);
        let router = Router::new()
            .route(
                "/metrics",
                get(move || {
                    let text = metrics();
                    async move { page(StatusCode::OK, text) }
                }),
            )
            .route(
                "/healthz",
                get(|| async { page(StatusCode::OK, "the process is running\n".to_owned()) }),
            )
            .route(
                "/readyz",
                get(move || {
                    let (code, text) = ready(of_ready.get());
                    async move { page(code, text) }
                }),
            )
            .route(
                "/status",
                get(move || {
                    let snapshot = snapshot();
                    async move { snapshot.as_ref().map_or_else(starting, status_page) }
                }),
            )
            .route(
                "/status.json",
                get(move || {
                    let snapshot = for_programs();
                    async move { snapshot.as_ref().map_or_else(starting, status_json) }
                }),
            );
        Self {
            router,
            hosts: hosts.into(),
            shown,
        }
    }

    /// Shows this gateway from now on, with its connection from `connection`. A second call changes nothing.
    pub fn show(
        &self,
        gateway: Gateway<P>,
        connection: impl Fn() -> BrokerConnection + Send + Sync + 'static,
    ) {
        let _ = self.shown.set(Shown {
            gateway,
            connection: Box::new(connection),
        });
    }

    /// The router of the pages. `/healthz` depends on nothing: a restart would not repair a broker. `/readyz` answers
    /// 503 as [`Gateway::readiness`] says, with the sink's status and the reason of a missing connection as text. `/status` is a page for a browser;
    /// `/status.json` has the same for programs.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Serves the pages on a listener of their own, with few connections and short waits. Never returns; a drop of the
    /// future closes the listener.
    pub async fn serve(self, listener: Listener) {
        serve_pages(self, listener).await;
    }
}

impl<P: Publisher + 'static> Answer for AdminPages<P> {
    /// Checks the host as for events: a web page must not read the metrics either.
    async fn answer(&self, client: &Client, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if client.needs_own_host
            && let Err(problem) = host::check(&parts, &self.hosts)
        {
            return problem.response(&[]);
        }
        let answer = self.router.clone().call(Request::from_parts(parts, body));
        match answer.await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

impl<P: Publisher + 'static> Shown<P> {
    fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.gateway, (self.connection)(), Instant::now())
    }
}

fn ready<P: Publisher + 'static>(shown: Option<&Shown<P>>) -> (StatusCode, String) {
    let Some(Shown {
        gateway,
        connection,
    }) = shown
    else {
        return (StatusCode::SERVICE_UNAVAILABLE, STARTING.to_owned());
    };
    let readiness = gateway.readiness();
    let code = match readiness {
        Readiness::Ready => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut text = format!("{readiness}; {}", gateway.sink().status());
    if let Some(error) = connection().connect_error {
        text = format!("{text}; {error}");
    }
    (code, text + "\n")
}

fn starting() -> Response<Body> {
    page(StatusCode::SERVICE_UNAVAILABLE, STARTING.to_owned())
}

fn status_json(snapshot: &Snapshot) -> Response<Body> {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    // A snapshot has only strings, numbers and lists.
    let json = serde_json::to_string(snapshot).unwrap_or_default();
    (headers, json).into_response()
}

fn status_page(snapshot: &Snapshot) -> Response<Body> {
    let headers = [
        (CONTENT_SECURITY_POLICY, status::POLICY.as_str()),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Html(status::html(snapshot))).into_response()
}

fn page(code: StatusCode, text: String) -> Response<Body> {
    let plain = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    (code, [(CONTENT_TYPE, plain)], text).into_response()
}
