//! Gateways with a listener, and their clients.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jetsink_serve::{
    Access, Gateway, GatewaySettings, Listener, NewToken, Route, ServerSettings, TlsSettings,
};
use nats_local::{NatsServer, TlsFiles};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::common::*;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn access_file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

pub(crate) async fn gateway_of(broker: &NatsServer, settings: GatewaySettings) -> NatsGateway {
    let route = Route::new("/", "events.{tenantId}".parse().unwrap()).unwrap();
    Gateway::new(sink(broker, None).await, vec![route], settings).unwrap()
}

pub(crate) async fn tcp(tls: Option<TlsSettings>) -> Listener {
    Listener::tcp("127.0.0.1:0".parse().unwrap(), tls)
        .await
        .unwrap()
}

pub(crate) fn bearer(token: &NewToken) -> String {
    format!("Bearer {}", token.secret())
}

pub(crate) async fn tls_client(
    address: SocketAddr,
    files: &TlsFiles,
    certificate: Option<(&Path, &Path)>,
    protocol: &[u8],
) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&files.root).unwrap())
        .unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = CertificateDer::pem_file_iter(certificate)
                .unwrap()
                .map(Result::unwrap);
            let key = PrivateKeyDer::from_pem_file(key).unwrap();
            builder.with_client_auth_cert(chain.collect(), key).unwrap()
        }
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = "localhost".try_into().unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap()
}

pub(crate) async fn tls_server(settings: ServerSettings) -> (NatsServer, TlsFiles, Running) {
    let broker = broker().await;
    let files = TlsFiles::generate(false).unwrap();
    let tls = TlsSettings::load(&files.server_certificate, &files.server_key, None).unwrap();
    let file = access_file("");
    let access = Access::from_file(file.path()).unwrap();
    let gateway = gateway_of(&broker, GatewaySettings::default().access(access)).await;
    let running = serving(gateway, tcp(Some(tls)).await, settings);
    (broker, files, running)
}

/// A client of HTTP/2 that takes this many bytes of each answer.
pub(crate) async fn taking(
    running: &Running,
    files: &TlsFiles,
    window: u32,
) -> (SendRequest<Full<bytes::Bytes>>, JoinHandle<()>) {
    let stream = tls_client(running.address, files, None, b"h2").await;
    let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let ended = tokio::spawn(async move {
        let _ = connection.await;
    });
    (sender, ended)
}

pub(crate) fn of_method(method: &str) -> Request<Full<bytes::Bytes>> {
    let request = Request::builder().method(method).uri("https://localhost/");
    request.body(Full::default()).unwrap()
}

/// A request without a credential whose body is awaited: the gateway asks for it once the request has its place.
pub(crate) async fn in_flight(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n\
                expect: 100-continue\r\ncontent-length: 100\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut asked = [0; 25];
    let read = timeout(PATIENCE, stream.read_exact(&mut asked)).await;
    read.expect("no answer").unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}
