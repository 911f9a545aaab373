//! The pages for operators: `/metrics`, `/healthz`, `/readyz`. Serve them on an address of their own.

use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use jetsink::Publisher;

use crate::gateway::{Gateway, Readiness};

impl<P: Publisher + 'static> Gateway<P> {
    /// The router of the pages for operators. `metrics` returns the text of `/metrics`, from the recorder of the
    /// process. `/healthz` depends on nothing: a restart would not repair a broker. `/readyz` answers 503 as
    /// [`readiness`](Self::readiness) says, with the sink's status as text.
    pub fn admin_router(&self, metrics: impl Fn() -> String + Send + Sync + 'static) -> Router {
        let metrics = Arc::new(metrics);
        let gateway = self.clone();
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
    }
}

fn page(code: StatusCode, text: String) -> Response {
    let plain = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    (code, [(CONTENT_TYPE, plain)], text).into_response()
}
