//! A small HTTP client: one request per connection.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Sends a request and reads the whole answer, at most `max_bytes` of body. `None` for a longer one, and if the
/// connection ends before.
pub(crate) async fn exchange(
    stream: TcpStream,
    request: Request<Full<Bytes>>,
    max_bytes: usize,
) -> Option<Response<Bytes>> {
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.ok()?;
    let mut exchange = std::pin::pin!(async {
        let (head, body) = sender.send_request(request).await.ok()?.into_parts();
        let body = Limited::new(body, max_bytes).collect().await.ok()?;
        Some(Response::from_parts(head, body.to_bytes()))
    });
    tokio::select! {
        answer = &mut exchange => answer,
        // The server may close the connection behind its answer.
        _ = connection => exchange.await,
    }
}
