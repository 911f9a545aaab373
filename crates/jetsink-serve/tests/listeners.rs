//! Listeners, credentials, limits, and the orderly stop.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod common;

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use common::*;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jetsink_serve::{
    Access, Gateway, GatewaySettings, ListenError, Listener, NewToken, Readiness, Reloader, Route,
    Server, ServerSettings, TlsSettings,
};
use nats_local::{NatsServer, TlsFiles};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
use tower_service::Service as _;

const PATIENCE: Duration = Duration::from_secs(20);

fn access_file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

async fn gateway_of(broker: &NatsServer, settings: GatewaySettings) -> NatsGateway {
    let route = Route::new("/", "events.{tenantId}".parse().unwrap()).unwrap();
    Gateway::new(sink(broker, None).await, vec![route], settings).unwrap()
}

async fn tcp(tls: Option<TlsSettings>) -> Listener {
    Listener::tcp("127.0.0.1:0".parse().unwrap(), tls)
        .await
        .unwrap()
}

fn bearer(token: &NewToken) -> String {
    format!("Bearer {}", token.secret())
}

async fn tls_client(
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

#[tokio::test]
async fn https_speaks_http_2_by_alpn_and_http_1_otherwise() {
    let broker = broker().await;
    let files = TlsFiles::generate(false).unwrap();
    let tls = TlsSettings::load(&files.server_certificate, &files.server_key, None).unwrap();
    let gateway = gateway_of(&broker, GatewaySettings::default()).await;
    let running = serving(gateway, tcp(Some(tls)).await, ServerSettings::default());

    let stream = tls_client(running.address, &files, None, b"h2").await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    for id in ["1", "1"] {
        let request = Request::post("https://localhost/")
            .header("content-type", "application/cloudevents+json")
            .body(Full::new(bytes::Bytes::from(event(id, ""))))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 202);
        assert!(
            answer
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .is_empty()
        );
    }
    let mut stream = tls_client(running.address, &files, None, b"http/1.1").await;
    let reply = exchange(
        &mut stream,
        "POST",
        "/",
        &[STRUCTURED],
        event("2", "").as_bytes(),
    )
    .await;
    assert_eq!(reply.status, 202);
    assert_eq!(messages(&broker).await.len(), 2);
}

#[tokio::test]
async fn client_certificate_is_a_credential_by_its_name() {
    let broker = broker().await;
    let files = TlsFiles::generate(true).unwrap();
    let strangers = TlsFiles::generate(true).unwrap();
    let file = access_file(
        "[[certificate]]\nname = \"app\"\nsan = \"dns:localhost\"\nsubjects = [\"events.acme\"]\ntenants = [\"acme\"]\n",
    );
    let access = Access::from_file(file.path()).unwrap();
    let tls = TlsSettings::load(
        &files.server_certificate,
        &files.server_key,
        Some(files.root.clone()),
    )
    .unwrap();
    let gateway = gateway_of(&broker, GatewaySettings::default().access(access)).await;
    let running = serving(gateway, tcp(Some(tls)).await, ServerSettings::default());
    let post = async |certificate| {
        let mut stream = tls_client(running.address, &files, certificate, b"http/1.1").await;
        exchange(
            &mut stream,
            "POST",
            "/",
            &[STRUCTURED],
            event("1", "").as_bytes(),
        )
        .await
    };
    assert_eq!(post(None).await.status, 401);
    let ours = (
        files.client_certificate.as_path(),
        files.client_key.as_path(),
    );
    assert_eq!(post(Some(ours)).await.status, 202);
    assert_eq!(
        messages(&broker).await[0].subject,
        "events.acme",
        "the credential's tenant"
    );
    let theirs = (
        strangers.client_certificate.as_path(),
        strangers.client_key.as_path(),
    );
    let mut stream = tls_client(running.address, &files, Some(theirs), b"http/1.1").await;
    // With TLS 1.3 a client learns of the refusal when it reads.
    let _ = stream.write_all(b"POST / HTTP/1.1\r\n\r\n").await;
    assert!(stream.read_u8().await.is_err());
}

#[tokio::test]
async fn tokens_bound_subjects_and_tenants_and_a_changed_file_takes_effect() {
    let broker = broker().await;
    let acme = NewToken::random().unwrap();
    let any = NewToken::random().unwrap();
    let subjects = ["events.>".to_owned()];
    let text = acme.entry("acme", &subjects, &["acme".to_owned()])
        + &any.entry("any", &["events.single".to_owned()], &[]);
    let file = access_file(&text);
    let access = Access::from_file(file.path()).unwrap();
    let gateway = gateway_of(&broker, GatewaySettings::default().access(access.clone())).await;
    let running = serving(gateway, tcp(None).await, ServerSettings::default());
    let post = async |token: &NewToken, id: &str, rest: &str| {
        let authorization = bearer(token);
        running
            .post(
                &[STRUCTURED, ("authorization", &authorization)],
                event(id, rest),
            )
            .await
    };
    assert_eq!(
        running.post(&[STRUCTURED], event("1", "")).await.problem(),
        "unauthenticated"
    );
    let unknown = NewToken::random().unwrap();
    assert_eq!(
        post(&unknown, "1", "").await.header("www-authenticate"),
        "Bearer"
    );
    assert_eq!(post(&acme, "1", "").await.status, 202);
    assert_eq!(
        post(&acme, "2", r#","data":{"tenantId":"other"}"#)
            .await
            .problem(),
        "forbidden"
    );
    assert_eq!(
        post(&any, "3", r#","data":{"tenantId":"other"}"#)
            .await
            .problem(),
        "forbidden"
    );
    assert_eq!(post(&any, "4", "").await.status, 202);
    assert_eq!(
        post(&any, "5", r#","data_base64":"aGk=""#).await.problem(),
        "event-refused"
    );
    let stored = messages(&broker).await;
    let subjects: Vec<&str> = stored
        .iter()
        .map(|message| message.subject.as_str())
        .collect();
    assert_eq!(subjects, ["events.acme", "events.single"]);

    let reloader = Reloader::new(access, None);
    let watching = tokio::spawn(async move { reloader.watch().await });
    sleep(Duration::from_millis(50)).await;
    std::fs::write(
        file.path(),
        any.entry("any", &["events.single".to_owned()], &[]),
    )
    .unwrap();
    let started = Instant::now();
    while post(&acme, "6", "").await.status != 401 {
        assert!(
            started.elapsed() < PATIENCE,
            "the removed token is still accepted"
        );
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(post(&any, "7", "").await.status, 202);
    watching.abort();
}

#[tokio::test]
async fn sender_is_refused_before_its_body_is_read() {
    let broker = broker().await;
    let file = access_file("");
    let access = Access::from_file(file.path()).unwrap();
    let gateway = gateway_of(&broker, GatewaySettings::default().access(access)).await;
    let running = serving(gateway, tcp(None).await, ServerSettings::default());
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n\
                expect: 100-continue\r\ncontent-length: 100000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut start))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        &start, b"HTTP/1.1 401",
        "no 100 Continue, and no wait for the body"
    );
}

// A reviewer's finding: the gateway read the body that it had refused.
#[tokio::test]
async fn too_large_body_that_its_client_holds_back_is_not_asked_for() {
    let broker = broker().await;
    let gateway = gateway_of(&broker, GatewaySettings::default()).await;
    for (held_back, expected) in [(true, false), (false, true)] {
        let is_read = Arc::new(AtomicBool::new(false));
        let read = Arc::clone(&is_read);
        let body = futures_util::stream::poll_fn(move |_| {
            read.store(true, Ordering::Relaxed);
            Poll::Ready(None::<Result<Bytes, Infallible>>)
        });
        let mut request = Request::post("/")
            .header("content-type", "application/cloudevents+json")
            .header("content-length", "100000000");
        if held_back {
            request = request.header("expect", "100-continue");
        }
        let request = request.body(Body::from_stream(body)).unwrap();
        let answer = gateway.router().call(request).await.unwrap();
        assert_eq!(answer.status(), 413);
        let started = Instant::now();
        while Arc::strong_count(&is_read) > 1 {
            assert!(started.elapsed() < PATIENCE, "the body is not dropped");
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(is_read.load(Ordering::Relaxed), expected);
    }
}

// A user's finding: curl reported an error of the stream instead of the answer, and httpx waited for its timeout.
#[tokio::test]
async fn early_answer_over_http_2_lets_the_client_send_its_body() {
    const FRAMES: usize = 64;
    let broker = broker().await;
    let files = TlsFiles::generate(false).unwrap();
    let tls = TlsSettings::load(&files.server_certificate, &files.server_key, None).unwrap();
    let gateway = gateway_of(&broker, GatewaySettings::default()).await;
    let running = serving(gateway, tcp(Some(tls)).await, ServerSettings::default());
    let stream = tls_client(running.address, &files, None, b"h2").await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let frames = (0..FRAMES).map(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; 64 << 10])))
    });
    let request = Request::post("https://localhost/")
        .header("content-type", "application/cloudevents+json")
        .body(StreamBody::new(futures_util::stream::iter(frames)))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 413);
    let all_sent = async {
        while sent.load(Ordering::Relaxed) < FRAMES {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = timeout(PATIENCE, all_sent).await;
    in_time.expect("the stream was reset while its body was sent");
}

#[tokio::test]
async fn unix_socket_has_its_mode_and_knows_its_user() {
    let broker = broker().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.sock");
    let uid = std::fs::metadata(folder.path()).unwrap().uid();
    let other = uid + 1;
    for (allowed, status) in [(other, 401), (uid, 202)] {
        let file = access_file(&format!(
            "[[user]]\nname = \"me\"\nuid = {allowed}\nsubjects = [\">\"]\n"
        ));
        let access = Access::from_file(file.path()).unwrap();
        let gateway = gateway_of(&broker, GatewaySettings::default().access(access)).await;
        let listener = Listener::unix(&path, 0o640).await.unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        let running = serving(gateway, listener, ServerSettings::default());
        let mut stream = UnixStream::connect(&path).await.unwrap();
        // No Host check: a web page cannot reach it.
        let headers = [STRUCTURED, ("host", "anything")];
        let reply = exchange(
            &mut stream,
            "POST",
            "/",
            &headers,
            event("1", "").as_bytes(),
        )
        .await;
        assert_eq!(reply.status, status);
        assert!(running.stop().await);
        assert!(!path.exists(), "the file is removed with its listener");
    }
}

#[tokio::test]
async fn off_loopback_tls_and_credentials_are_required_unless_waived() {
    let broker = broker().await;
    let everywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let files = TlsFiles::generate(false).unwrap();
    let tls = TlsSettings::load(&files.server_certificate, &files.server_key, None).unwrap();
    let file = access_file("");
    let required = GatewaySettings::default().access(Access::from_file(file.path()).unwrap());
    let open = gateway_of(&broker, GatewaySettings::default()).await;
    let closed = gateway_of(&broker, required).await;
    let try_it =
        async |gateway: &NatsGateway, tls: Option<TlsSettings>, settings: ServerSettings| {
            let listener = Listener::tcp(everywhere, tls).await.unwrap();
            Server::new(gateway, vec![listener], settings).map(|_| ())
        };
    let settings = ServerSettings::default;
    assert!(matches!(
        try_it(&closed, None, settings()).await,
        Err(ListenError::Plaintext(_))
    ));
    assert!(matches!(
        try_it(&open, Some(tls.clone()), settings()).await,
        Err(ListenError::Anonymous(_))
    ));
    assert!(try_it(&closed, Some(tls.clone()), settings()).await.is_ok());
    assert!(
        try_it(&closed, None, settings().allow_plaintext())
            .await
            .is_ok()
    );
    assert!(
        try_it(&open, Some(tls), settings().allow_anonymous())
            .await
            .is_ok()
    );
    let one = settings().allow_plaintext();
    assert!(matches!(
        try_it(&open, None, one).await,
        Err(ListenError::Anonymous(_))
    ));
}

// A reviewer's finding: a web page could send to a listener of all addresses over loopback (DNS rebinding).
#[tokio::test]
async fn host_is_checked_over_loopback_unless_a_credential_is_needed() {
    let broker = broker().await;
    let token = NewToken::random().unwrap();
    let file = access_file(&token.entry("one", &[">".to_owned()], &[]));
    let access = || Access::from_file(file.path()).unwrap();
    let authorization = bearer(&token);
    let open = ServerSettings::default()
        .allow_plaintext()
        .allow_anonymous();
    let all = GatewaySettings::default;
    for (bound, settings, status) in [
        ("0.0.0.0:0", all(), 421),
        ("[::]:0", all(), 421),
        ("0.0.0.0:0", all().access(access()), 202),
        ("0.0.0.0:0", all().access(access().allow_anonymous()), 421),
        (
            "0.0.0.0:0",
            all().hosts(vec!["evil.example".to_owned()]),
            202,
        ),
        ("127.0.0.1:0", all().access(access()), 421),
    ] {
        let listener = Listener::tcp(bound.parse().unwrap(), None).await.unwrap();
        let mut running = serving(gateway_of(&broker, settings).await, listener, open);
        running.address.set_ip("127.0.0.1".parse().unwrap());
        let headers = |host| {
            [
                STRUCTURED,
                ("host", host),
                ("authorization", &authorization),
            ]
        };
        let one = event("1", "");
        let reply = running.post(&headers("evil.example"), &one).await;
        assert_eq!(reply.status, status, "{bound}");
        let reply = running.post(&headers("localhost"), &one).await;
        assert_eq!(reply.status, 202, "{bound}");
        assert!(running.stop().await);
    }
}

// A reviewer's finding: each announced length took its bytes from the budget of all before any byte arrived.
#[tokio::test]
async fn slow_clients_that_announce_large_bodies_leave_the_budget_to_others() {
    let broker = broker().await;
    let settings = GatewaySettings::default()
        .max_bytes(1 << 20, 1 << 20, 4 << 20)
        .unwrap();
    let gateway = gateway_of(&broker, settings).await;
    let running = serving(gateway, tcp(None).await, ServerSettings::default());
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n\
                    content-length: 1000000\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    sleep(Duration::from_millis(200)).await;
    let large = event("1", &format!(r#","data":"{}""#, "x".repeat(900_000)));
    let reply = running.post(&[STRUCTURED], large).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    drop(slow);
}

// A reviewer's finding: a change between the first reading and the start of the watch was never seen.
#[tokio::test]
async fn change_before_the_watch_begins_takes_effect() {
    let broker = broker().await;
    let (old, new) = (NewToken::random().unwrap(), NewToken::random().unwrap());
    let entry = |token: &NewToken| token.entry("one", &[">".to_owned()], &[]);
    let file = access_file(&entry(&old));
    let access = Access::from_file(file.path()).unwrap();
    std::fs::write(file.path(), entry(&new)).unwrap();
    let reloader = Reloader::new(access.clone(), None);
    let watching = tokio::spawn(async move { reloader.watch().await });
    let gateway = gateway_of(&broker, GatewaySettings::default().access(access)).await;
    let running = serving(gateway, tcp(None).await, ServerSettings::default());
    let authorization = bearer(&new);
    let headers = [STRUCTURED, ("authorization", authorization.as_str())];
    let started = Instant::now();
    while running.post(&headers, event("1", "")).await.status != 202 {
        assert!(
            started.elapsed() < PATIENCE,
            "the new token is not accepted"
        );
        sleep(Duration::from_millis(50)).await;
    }
    watching.abort();
}

#[tokio::test]
async fn slow_headers_slow_bodies_and_long_headers_end() {
    let broker = broker().await;
    let settings = GatewaySettings::default()
        .body_time(Duration::from_millis(300))
        .unwrap();
    let gateway = gateway_of(&broker, settings).await;
    let server = ServerSettings::default()
        .header_time(Duration::from_millis(300))
        .and_then(|server| server.max_header_bytes(8 << 10))
        .unwrap();
    let running = serving(gateway, tcp(None).await, server);
    let connect = async |start: &[u8]| {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(start).await.unwrap();
        let mut answer = Vec::new();
        // A server that closes early may reset the connection.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("the connection stays open");
        answer
    };
    let idle = connect(b"").await;
    assert!(idle.is_empty() || parse(&idle).status == 408, "{idle:?}");
    let slow_head = connect(b"POST / HTTP/1.1\r\nhost: loc").await;
    assert!(
        slow_head.is_empty() || parse(&slow_head).status == 408,
        "{slow_head:?}"
    );
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\ncontent-length: 10\r\n\r\n{";
    let slow_body = parse(&connect(head.as_bytes()).await);
    assert_eq!(
        (slow_body.status, slow_body.problem().as_str()),
        (408, "slow-body")
    );
    let long = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
        "x".repeat(20_000)
    );
    assert_eq!(parse(&connect(long.as_bytes()).await).status, 431);
    for head in ["", "host: localhost\r\nhost: localhost\r\n"] {
        let head = format!("POST / HTTP/1.1\r\n{head}connection: close\r\n\r\n");
        let answer = parse(&connect(head.as_bytes()).await);
        assert_eq!(answer.problem(), "malformed-request", "{head}");
    }
}

// A user's finding: 45 KB of headers that arrived at once were accepted, because the parser's buffer had room for them.
#[tokio::test]
async fn headers_over_the_limit_are_refused_however_they_arrive() {
    let broker = broker().await;
    let gateway = gateway_of(&broker, GatewaySettings::default()).await;
    let running = serving(gateway, tcp(None).await, ServerSettings::default());
    for (lines, part, status) in [
        (58, usize::MAX, 202),
        (70, usize::MAX, 431),
        (90, usize::MAX, 431),
        (58, 9_000, 202),
        (70, 9_000, 431),
    ] {
        let body = event(&format!("{lines}-{part}"), "");
        let lines = format!("x: {}\r\n", "y".repeat(500)).repeat(lines);
        let request = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/cloudevents+json\r\ncontent-length: {}\r\n{lines}\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        for part in request.as_bytes().chunks(part) {
            // A server that refuses the request closes before all of it is written.
            let _ = stream.write_all(part).await;
            sleep(Duration::from_millis(20)).await;
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(parse(&answer).status, status, "{}", request.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_credential_has_half_of_the_places_and_the_stop_waits_for_requests_in_flight() {
    let broker = broker().await;
    let one = NewToken::random().unwrap();
    let other = NewToken::random().unwrap();
    let all = [">".to_owned()];
    let file = access_file(&(one.entry("one", &all, &[]) + &other.entry("other", &all, &[])));
    let access = Access::from_file(file.path()).unwrap();
    let settings = GatewaySettings::default()
        .access(access)
        .max_requests(4)
        .unwrap();
    let gateway = gateway_of(&broker, settings).await;
    let running = serving(gateway.clone(), tcp(None).await, ServerSettings::default());
    let address = running.address;
    let post = |token: &NewToken, id: &str| {
        let (authorization, body) = (bearer(token), event(id, ""));
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let headers = [STRUCTURED, ("authorization", authorization.as_str())];
            exchange(&mut stream, "POST", "/", &headers, body.as_bytes()).await
        })
    };
    assert_eq!(post(&one, "0").await.unwrap().status, 202);
    broker.freeze().unwrap();
    let waiting = [post(&one, "1"), post(&one, "2")];
    let started = Instant::now();
    while gateway.sink().status().in_flight < 2 {
        assert!(
            started.elapsed() < PATIENCE,
            "two requests are not in flight"
        );
        sleep(Duration::from_millis(5)).await;
    }
    let refused = post(&one, "3").await.unwrap();
    assert_eq!(
        (refused.status, refused.problem().as_str()),
        (429, "too-many-requests")
    );
    assert_eq!(refused.header("retry-after"), "1");
    let others = post(&other, "4");
    while gateway.sink().status().in_flight < 3 {
        assert!(
            started.elapsed() < PATIENCE,
            "the other credential has no place"
        );
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(gateway.readiness(), Readiness::Ready);
    gateway.begin_stop();
    assert_eq!(gateway.readiness(), Readiness::Stopping);
    let stopping = tokio::spawn(running.stop());
    sleep(Duration::from_millis(100)).await;
    assert!(
        TcpStream::connect(address).await.is_err(),
        "the listener is closed"
    );
    broker.thaw().unwrap();
    for reply in waiting.into_iter().chain([others]) {
        assert_eq!(reply.await.unwrap().status, 202);
    }
    assert!(stopping.await.unwrap(), "all requests have ended");
}

async fn tls_server(settings: ServerSettings) -> (NatsServer, TlsFiles, Running) {
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
async fn taking(
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

fn of_method(method: &str) -> Request<Full<bytes::Bytes>> {
    let request = Request::builder().method(method).uri("https://localhost/");
    request.body(Full::default()).unwrap()
}

// A reviewer's finding: `nc HOST PORT` and silence held the stop until --stop-time, and the exit code was 1.
#[tokio::test]
async fn connections_without_a_request_do_not_hold_the_stop() {
    let broker = broker().await;
    let gateway = gateway_of(&broker, GatewaySettings::default()).await;
    let plain = serving(gateway, tcp(None).await, ServerSettings::default());
    let mut half = TcpStream::connect(plain.address).await.unwrap();
    half.write_all(b"POST / HT").await.unwrap();

    let (_broker, files, secure) = tls_server(ServerSettings::default()).await;
    let _silent = TcpStream::connect(secure.address).await.unwrap();
    let (mut sender, _ended) = taking(&secure, &files, 0).await;
    let refused = sender.send_request(of_method("POST")).await.unwrap();
    assert_eq!(refused.status(), 401);
    sleep(Duration::from_millis(200)).await;

    let started = Instant::now();
    let (plain, secure) = tokio::join!(plain.stop(), secure.stop());
    assert!(plain && secure, "no request was in flight");
    assert!(started.elapsed() < Duration::from_secs(6));
}

/// A request without a credential whose body is awaited: the gateway asks for it once the request has its place.
async fn in_flight(address: SocketAddr) -> TcpStream {
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

#[tokio::test]
async fn stop_reports_a_request_that_it_cut_off() {
    let broker = broker().await;
    let gateway = gateway_of(&broker, GatewaySettings::default()).await;
    let listener = tcp(None).await;
    let address = listener.address().unwrap();
    let server = Server::new(&gateway, vec![listener], ServerSettings::default()).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let stop = async {
            let _ = stopped.await;
        };
        server
            .serve(&gateway, stop, Duration::from_millis(300))
            .await
    });
    let idle = TcpStream::connect(address).await.unwrap();
    let slow = in_flight(address).await;
    stop.send(()).unwrap();
    let all_ended = timeout(PATIENCE, serving).await.unwrap().unwrap();
    assert!(!all_ended, "the request had no answer");
    drop((idle, slow));
}

// A reviewer's finding: answers that a client never took stayed for ever, without a credential.
#[tokio::test]
async fn http_2_client_that_takes_no_answer_is_disconnected() {
    // With a window of a byte, the answer is in the buffers of h2.
    for window in [0, 1] {
        let settings = ServerSettings::default()
            .header_time(Duration::from_millis(500))
            .unwrap();
        let (_broker, files, running) = tls_server(settings).await;
        let (mut sender, ended) = taking(&running, &files, window).await;
        let mut answers = Vec::new();
        for _ in 0..20 {
            let answer = sender.send_request(of_method("POST")).await.unwrap();
            assert_eq!(answer.status(), 401);
            answers.push(answer);
        }
        let started = Instant::now();
        while !ended.is_finished() {
            assert!(started.elapsed() < PATIENCE, "window {window}: it stays");
            if sender.send_request(of_method("OPTIONS")).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        timeout(PATIENCE, ended).await.unwrap().unwrap();
        assert!(running.stop().await);
    }
}

/// Sends a body in small parts, then reads the answer.
async fn answer_after_body(address: SocketAddr, head: &str, bytes: usize) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let part = [b' '; 64 << 10];
    for _ in 0..bytes / part.len() {
        stream
            .write_all(&part)
            .await
            .expect("the connection was reset");
    }
    // The answer waits in the client's buffer meanwhile.
    sleep(Duration::from_millis(100)).await;
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .await
        .expect("the connection was reset");
    parse(&answer)
}

// A reviewer's finding: refusals before the body was read were lost to a reset, and senders repeat without an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_sends_a_large_body_first_gets_the_refusal() {
    // The limit of a body, and less than is read of an accepted sender's.
    const SMALL: usize = 1 << 20;
    const SIZE: usize = 15 << 20;
    let broker = broker().await;
    let token = NewToken::random().unwrap();
    let file = access_file(&token.entry("one", &[">".to_owned()], &[]));
    let access = Access::from_file(file.path()).unwrap();
    let gateway = gateway_of(&broker, GatewaySettings::default().access(access)).await;
    let running = serving(gateway, tcp(None).await, ServerSettings::default());
    let known = format!("authorization: {}\r\n", bearer(&token));
    let structured = "content-type: application/cloudevents+json\r\n";
    let text = known.clone() + "content-type: text/plain\r\n";
    let encoded = known.clone() + structured + "content-encoding: br\r\n";
    let evil = "host: evil.example\r\n".to_owned();
    for (method, path, status, headers, size) in [
        ("POST", "/", 401, structured.to_owned(), SMALL),
        ("POST", "/", 413, known.clone() + structured, SIZE),
        ("POST", "/", 415, text, SIZE),
        ("POST", "/", 415, encoded, SIZE),
        ("POST", "/", 421, evil, SMALL),
        ("PUT", "/", 405, known.clone(), SMALL),
        ("POST", "/other", 404, known.clone(), SMALL),
        ("OPTIONS", "/", 200, known.clone(), SMALL),
    ] {
        let host = if status == 421 {
            ""
        } else {
            "host: localhost\r\n"
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{host}{headers}connection: close\r\ncontent-length: {size}\r\n\r\n"
        );
        let answer = answer_after_body(running.address, &head, size).await;
        assert_eq!(answer.status, status);
    }
    // The size of a chunked body shows only while it is read.
    let head = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\n{known}{structured}connection: close\r\n\
         transfer-encoding: chunked\r\n\r\n{SIZE:x}\r\n"
    );
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; SIZE]).await.unwrap();
    stream.write_all(b"\r\n0\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(parse(&answer).status, 413);
}

#[tokio::test]
async fn body_that_stops_after_its_refusal_does_not_hold_the_connection() {
    let broker = broker().await;
    let running = without_spool(&broker, "events.all").await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let head = "PUT / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n ";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    // The end may be a reset, since a byte of the body may be unread.
    let _ = read.expect("the connection stays open");
    assert_eq!(parse(&answer).status, 405);
}

// A reviewer's finding: an event without a tenant was stored at events.shared by a credential without the tenant shared.
#[tokio::test]
async fn default_of_a_routes_tenant_is_checked_as_a_tenant_is() {
    let broker = broker().await;
    let (single, shared) = (NewToken::random().unwrap(), NewToken::random().unwrap());
    let all = [">".to_owned()];
    let tenants = |first: &str| [first.to_owned(), "b".to_owned()];
    let text = single.entry("single", &all, &tenants("single"))
        + &shared.entry("shared", &all, &tenants("shared"));
    let file = access_file(&text);
    let settings = GatewaySettings::default().access(Access::from_file(file.path()).unwrap());
    let routes = [
        ("/", "events.{tenantId|shared}"),
        ("/plain", "events.plain"),
    ];
    let routes = routes.map(|(path, subject)| Route::new(path, subject.parse().unwrap()).unwrap());
    let sink = sink(&broker, None).await;
    let gateway = Gateway::new(sink, routes.to_vec(), settings).unwrap();
    let running = serving(gateway, tcp(None).await, ServerSettings::default());
    for (token, path, rest, status) in [
        (&single, "/", "", 403),
        (&shared, "/", "", 202),
        (&shared, "/", r#","data":{"tenantId":"single"}"#, 403),
        (&single, "/plain", "", 202),
        (&single, "/plain", r#","data_base64":"aGk=""#, 202),
    ] {
        let authorization = bearer(token);
        let headers = [STRUCTURED, ("authorization", authorization.as_str())];
        let body = event(&format!("{status}{path}{rest}").replace('"', ""), rest);
        let reply = running.send("POST", path, &headers, body).await;
        assert_eq!(reply.status, status, "{path} {rest}");
    }
    let stored = messages(&broker).await;
    let subjects: Vec<&str> = stored
        .iter()
        .map(|message| message.subject.as_str())
        .collect();
    assert_eq!(subjects, ["events.shared", "events.plain", "events.plain"]);
}

// A reviewer's finding: a client's deadline began after the body, and a body that stalled was refused after 10 s.
#[tokio::test]
async fn deadline_of_a_client_includes_its_body() {
    let broker = broker().await;
    let running = without_spool(&broker, "events.all").await;
    for header in ["request-timeout: 0.3", "prefer: wait=1"] {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n\
             connection: close\r\n{header}\r\ncontent-length: 100\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .unwrap();
        let answer = parse(&answer);
        assert_eq!(answer.problem(), "slow-body");
        let detail = answer.json()["detail"].to_string();
        let time = if header.contains("0.3") {
            "300ms"
        } else {
            "1s"
        };
        assert!(detail.contains(time), "{detail}");
    }
    broker.freeze().unwrap();
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let body = event("1", "");
    let head = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n\
         connection: close\r\nrequest-timeout: 1\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    sleep(Duration::from_millis(200)).await;
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(parse(&answer).problem(), "outcome-unknown");
    broker.thaw().unwrap();
}

// A reviewer's finding: senders without a credential took all places, and those with a token got 429.
#[tokio::test]
async fn senders_without_a_credential_leave_half_of_the_places_to_others() {
    let broker = broker().await;
    let token = NewToken::random().unwrap();
    let file = access_file(&token.entry("one", &[">".to_owned()], &[]));
    let access = Access::from_file(file.path()).unwrap().allow_anonymous();
    let settings = GatewaySettings::default()
        .access(access)
        .max_requests(4)
        .unwrap();
    let gateway = gateway_of(&broker, settings).await;
    let running = serving(gateway, tcp(None).await, ServerSettings::default());
    let slow = [
        in_flight(running.address).await,
        in_flight(running.address).await,
    ];
    let refused = running.post(&[STRUCTURED], event("1", "")).await;
    assert_eq!(refused.problem(), "too-many-requests");
    let authorization = bearer(&token);
    let headers = [STRUCTURED, ("authorization", authorization.as_str())];
    assert_eq!(running.post(&headers, event("1", "")).await.status, 202);
    drop(slow);
}
