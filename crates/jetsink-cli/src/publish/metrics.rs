//! `--metrics-listen`: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever starts and
//! restarts the command.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use jetsink::circuit::State;
use jetsink::{Publisher, Sink};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::failure::Failure;

/// Who scrapes is one, or two for a moment.
const MAX_CONNECTIONS: usize = 16;

/// For a request's headers to come in.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often old observations are summed up while nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// From a loopback round trip to the longest deadline that anybody has.
const SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];

/// A place to be asked at, before there is a sink to ask about.
pub(crate) struct MetricsServer {
    listener: TcpListener,
    metrics: PrometheusHandle,
}

impl MetricsServer {
    /// Takes the address, and counts from now on: so before the sink is made.
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self, Failure> {
        let failed = |source: io::Error| Failure::MetricsListen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let metrics = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_duration_seconds".to_owned()), SECONDS)
            .map(PrometheusBuilder::install_recorder)
            .map_err(|error| failed(io::Error::other(error)))?
            .map_err(|error| failed(io::Error::other(error)))?;
        Ok(Self { listener, metrics })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until the runtime ends.
    pub(crate) async fn serve<P: Publisher + 'static>(self, sink: Arc<Sink<P>>) {
        let upkeep = self.metrics.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(UPKEEP).await;
                upkeep.run_upkeep();
            }
        });
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return; // never closed
            };
            let Ok((stream, _)) = self.listener.accept().await else {
                // Out of file descriptors: not a reason to spin.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (metrics, sink) = (self.metrics.clone(), Arc::clone(&sink));
            tokio::spawn(async move {
                let _place = place;
                let answering = service_fn(|request: Request<Incoming>| {
                    let response = answer(&request, &metrics, &sink);
                    async { Ok::<_, Infallible>(response) }
                });
                // A client that breaks off is its own affair.
                let _ = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(PATIENCE)
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), answering)
                    .await;
            });
        }
    }
}

fn answer<P: Publisher>(
    request: &Request<Incoming>,
    metrics: &PrometheusHandle,
    sink: &Sink<P>,
) -> Response<Full<Bytes>> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".to_owned());
    }
    match request.uri().path() {
        "/metrics" => text(StatusCode::OK, metrics.render()),
        "/healthz" => text(StatusCode::OK, "the process is there\n".to_owned()),
        "/readyz" => {
            let status = sink.status();
            let takes = status.broker == State::Connected
                || status
                    .spool
                    .is_some_and(|spool| spool.used_bytes < spool.limit_bytes);
            let code = if takes {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            text(code, format!("{status}\n"))
        }
        _ => text(
            StatusCode::NOT_FOUND,
            "/metrics, /healthz and /readyz are here\n".to_owned(),
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
