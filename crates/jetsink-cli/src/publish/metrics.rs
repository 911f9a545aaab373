//! `--metrics-listen`: `/metrics` for Prometheus, `/healthz` and `/readyz` for a service manager.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use jetsink::{NatsPublisher, Sink};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::failure::Failure;
use crate::recorder;

/// One or two scrapers are expected.
const MAX_CONNECTIONS: usize = 16;

/// The longest wait for the headers of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// The sink of the run, once it is open.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServedSink(Arc<OnceLock<Arc<Sink<NatsPublisher>>>>);

impl ServedSink {
    /// Call it once.
    pub(crate) fn show(&self, sink: &Arc<Sink<NatsPublisher>>) {
        let _ = self.0.set(Arc::clone(sink));
    }

    /// The answer to `/readyz`.
    fn readiness(&self) -> (StatusCode, String) {
        let Some(sink) = self.0.get() else {
            let text = "starting: the input, the broker or the spool is not open yet\n";
            return (StatusCode::SERVICE_UNAVAILABLE, text.to_owned());
        };
        match sink.accepts() {
            Ok(()) => (StatusCode::OK, format!("{}\n", sink.status())),
            Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        }
    }
}

/// A bound listener.
pub(crate) struct MetricsServer {
    listener: TcpListener,
    metrics: PrometheusHandle,
}

impl MetricsServer {
    /// Binds the address and installs the recorder. Call it before the sink is created.
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self, Failure> {
        let failed = |source: io::Error| Failure::MetricsListen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let metrics = recorder::install().map_err(|error| failed(io::Error::other(error)))?;
        Ok(Self { listener, metrics })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves requests; never returns.
    pub(crate) async fn serve(self, sink: ServedSink) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return; // never closed
            };
            let Ok((stream, _)) = self.listener.accept().await else {
                // Out of file descriptors: not a reason to spin.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (metrics, sink) = (self.metrics.clone(), sink.clone());
            tokio::spawn(async move {
                let _slot = slot;
                let answering = service_fn(|request: Request<Incoming>| {
                    let response = answer(&request, &metrics, &sink);
                    async { Ok::<_, Infallible>(response) }
                });
                // A client that disconnects is not an error.
                let _ = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIMEOUT)
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), answering)
                    .await;
            });
        }
    }
}

fn answer(
    request: &Request<Incoming>,
    metrics: &PrometheusHandle,
    sink: &ServedSink,
) -> Response<Full<Bytes>> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".to_owned());
    }
    match request.uri().path() {
        "/metrics" => text(StatusCode::OK, metrics.render()),
        "/healthz" => text(StatusCode::OK, "the process is running\n".to_owned()),
        "/readyz" => {
            let (code, status) = sink.readiness();
            text(code, status)
        }
        _ => text(
            StatusCode::NOT_FOUND,
            "use /metrics, /healthz or /readyz\n".to_owned(),
        ),
    }
}

fn text(code: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = code;
    let plain = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}
