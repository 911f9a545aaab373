//! HTTPS, and certificates of clients.

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jetsink_serve::{Access, GatewaySettings, ServerSettings, TlsSettings};
use nats_local::TlsFiles;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::common::*;
use crate::support::*;

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
