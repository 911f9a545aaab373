//! The pages for operators: `/metrics`, `/healthz`, `/readyz`. Serve them on an address of their own.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Request, Response, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::get;
use hyper::body::Incoming;
use jetsink::Publisher;
use tower_service::Service as _;

use crate::access::host;
use crate::gateway::{Gateway, Readiness};
use crate::listen::{Answer, Client, Listener, serve_pages};
use crate::meters::Meters;

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
///     pages.show(gateway);
///     Ok(())
/// }
/// ```
pub struct AdminPages<P> {
    router: Router,
    hosts: Arc<[String]>,
    gateway: Arc<OnceLock<Gateway<P>>>,
}

impl<P> Clone for AdminPages<P> {
    fn clone(&self) -> Self {
        Self {
            router: self.router.clone(),
            hosts: Arc::clone(&self.hosts),
            gateway: Arc::clone(&self.gateway),
        }
    }
}

impl<P: Publisher + 'static> AdminPages<P> {
    /// Pages without a gateway. `metrics` returns the text of `/metrics`, from the recorder of the process. `hosts` are
    /// further names that the `Host` header may have over loopback.
    #[must_use]
    pub fn new(hosts: Vec<String>, metrics: impl Fn() -> String + Send + Sync + 'static) -> Self {
        let metrics = Arc::new(metrics);
        let gateway = Arc::new(OnceLock::new());
        let of_ready = Arc::clone(&gateway);
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
            );
        Self {
            router,
            hosts: hosts.into(),
            gateway,
        }
    }

    /// Shows this gateway from now on. A second call changes nothing.
    pub fn show(&self, gateway: Gateway<P>) {
        let _ = self.gateway.set(gateway);
    }

    /// The router of the pages. `/healthz` depends on nothing: a restart would not repair a broker. `/readyz` answers
    /// 503 as [`Gateway::readiness`] says, with the sink's status as text.
    #[must_use]
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Serves the pages on a listener of their own, with few connections and short waits. Never returns; a drop of the
    /// future closes the listener.
    pub async fn serve(self, listener: Listener) {
        serve_pages(self, Arc::new(Meters::new()), listener).await;
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

fn ready<P: Publisher + 'static>(gateway: Option<&Gateway<P>>) -> (StatusCode, String) {
    let Some(gateway) = gateway else {
        let text = "starting; the spool is not open yet\n".to_owned();
        return (StatusCode::SERVICE_UNAVAILABLE, text);
    };
    let readiness = gateway.readiness();
    let code = match readiness {
        Readiness::Ready => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, format!("{readiness}; {}\n", gateway.sink().status()))
}

fn page(code: StatusCode, text: String) -> Response<Body> {
    let plain = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    (code, [(CONTENT_TYPE, plain)], text).into_response()
}
