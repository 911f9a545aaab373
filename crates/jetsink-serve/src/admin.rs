//! The pages for operators: `/metrics`, `/healthz`, `/readyz`. Serve them on an address of their own.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use jetsink::Publisher;

use crate::access::host;
use crate::gateway::{Gateway, Readiness};
use crate::listen::Client;

impl<P: Publisher + 'static> Gateway<P> {
    /// The router of the pages for operators. `metrics` returns the text of `/metrics`, from the recorder of the
    /// process. `/healthz` depends on nothing: a restart would not repair a broker. `/readyz` answers 503 as
    /// [`readiness`](Self::readiness) says, with the sink's status as text.
    pub fn admin_router(&self, metrics: impl Fn() -> String + Send + Sync + 'static) -> Router {
        let metrics = Arc::new(metrics);
        let gateway = self.clone();
        let hosts = gateway.hosts().to_vec();
        Router::new()
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
                    let readiness = gateway.readiness();
                    let text = format!("{readiness}; {}\n", gateway.sink().status());
                    let code = match readiness {
                        Readiness::Ready => StatusCode::OK,
                        _ => StatusCode::SERVICE_UNAVAILABLE,
                    };
                    async move { page(code, text) }
                }),
            )
            .layer(from_fn(move |request: Request, next: Next| {
                let hosts = hosts.clone();
                async move { checked(request, next, &hosts).await }
            }))
    }
}

/// Checks the host on loopback, as for events: a web page must not read the metrics either.
async fn checked(request: Request, next: Next, hosts: &[String]) -> Response {
    let (parts, body) = request.into_parts();
    let is_loopback = parts
        .extensions
        .get::<Client>()
        .is_some_and(|client| client.is_loopback);
    if is_loopback && let Err(problem) = host::check(&parts, hosts) {
        return problem.response(&[]);
    }
    next.run(Request::from_parts(parts, body)).await
}

fn page(code: StatusCode, text: String) -> Response {
    let plain = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    (code, [(CONTENT_TYPE, plain)], text).into_response()
}
