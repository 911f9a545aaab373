//! One connection: its handshake, its client, and its requests.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use metrics::Gauge;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::idle::Activity;
use super::sent::AnswerBody;
use super::server_settings::ServerSettings;
use super::stop::StopSignal;
use super::tls::{TlsSettings, names};
use super::{Answer, Client};

/// Streams of one HTTP/2 connection.
const MAX_STREAMS: u32 = 100;

/// The time without an answer to a ping of HTTP/2, after which the connection is dead.
const PONG: Duration = Duration::from_secs(20);

/// The time that a connection without a request has at a stop, for headers and answers that are on their way.
const LINGER: Duration = Duration::from_secs(1);

/// The two versions of HTTP. HTTP/2 is chosen by ALPN only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

/// A connection that was accepted.
pub(crate) struct Connection<A> {
    pub(crate) answers: A,
    pub(crate) settings: ServerSettings,
    pub(super) stop: StopSignal,
    pub(crate) client: Client,
    pub(crate) _open: Open,
}

/// The slot of an open connection, and its count in the metrics.
pub(crate) struct Open {
    pub(crate) gauge: Gauge,
    pub(crate) _slot: OwnedSemaphorePermit,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauge.decrement(1);
    }
}

/// The parts that the requests of one connection share.
struct Requests<A> {
    answers: A,
    client: Client,
    activity: Arc<Activity>,
}

impl<A: Answer> Connection<A> {
    /// Serves a TCP connection, with TLS or without.
    pub(crate) async fn tcp(mut self, stream: TcpStream, tls: Option<TlsSettings>) {
        // Answers are small: waiting for more would only delay them.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else {
            return self.serve(stream, Version::Http1).await;
        };
        let handshake = TlsAcceptor::from(tls.current()).accept(stream);
        let handshake = tokio::select! {
            shaken = timeout(self.settings.handshake_time, handshake) => shaken,
            () = self.stop.stopping() => return,
        };
        let stream = match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return debug!(%error, "a TLS handshake failed"),
            Err(_) => return debug!("a TLS handshake took too long"),
        };
        let (_, session) = stream.get_ref();
        let version = match session.alpn_protocol() {
            Some(b"h2") => Version::Http2,
            _ => Version::Http1,
        };
        if let Some(certificate) = session.peer_certificates().and_then(<[_]>::first) {
            self.client.names = names(certificate).into();
        }
        self.serve(stream, version).await;
    }

    /// Serves a connection of a Unix socket.
    pub(crate) async fn unix(mut self, stream: UnixStream) {
        self.client.uid = stream.peer_cred().ok().map(|credentials| credentials.uid());
        self.serve(stream, Version::Http1).await;
    }

    /// Serves requests until the client or a graceful stop ends the connection. A client's failure is not an error
    /// here.
    async fn serve<S>(self, stream: S, version: Version)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Arc::new(Activity::new());
        let requests = Arc::new(Requests {
            answers: self.answers,
            client: self.client,
            activity: Arc::clone(&activity),
        });
        let in_service = Arc::clone(&requests);
        let service = service_fn(move |request: Request<Incoming>| {
            let requests = Arc::clone(&in_service);
            async move {
                let _active = requests.activity.begin();
                let answer = requests.answers.answer(&requests.client, request).await;
                Ok::<_, Infallible>(answer.map(|body| AnswerBody::new(body, &requests.activity)))
            }
        });
        let stream = TokioIo::new(stream);
        let settings = self.settings;
        let ended = match version {
            Version::Http1 => {
                let connection = http1::Builder::new()
                    .max_buf_size(settings.max_header_bytes)
                    .serve_connection(stream, service);
                run(pin!(connection), &activity, settings.header_time, self.stop).await
            }
            Version::Http2 => {
                let list_size = u32::try_from(settings.max_header_bytes).unwrap_or(u32::MAX);
                let connection = http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .max_concurrent_streams(MAX_STREAMS)
                    .max_header_list_size(list_size)
                    .keep_alive_interval(settings.header_time)
                    .keep_alive_timeout(PONG)
                    .serve_connection(stream, service);
                run(pin!(connection), &activity, settings.header_time, self.stop).await
            }
        };
        if let Err(error) = ended
            && error.is_parse()
        {
            debug!(%error, "the head of a request cannot be parsed");
            requests.answers.unreadable();
        }
    }
}

/// Runs a connection to its end, or until it is stalled. At a stop it ends once it has no request in flight.
async fn run<C: GracefulConnection<Error = hyper::Error>>(
    mut connection: Pin<&mut C>,
    activity: &Activity,
    limit: Duration,
    mut stop: StopSignal,
) -> hyper::Result<()> {
    tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        () = activity.stalled(limit) => return Ok(()),
        () = stop.stopping() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        biased;
        ended = connection => ended,
        () = activity.idle(Instant::now(), LINGER) => Ok(()),
        () = stop.ended() => {
            if activity.has_requests() {
                stop.cut_off();
            }
            Ok(())
        }
    }
}
