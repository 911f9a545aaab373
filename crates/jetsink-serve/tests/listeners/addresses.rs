//! Unix sockets, and the protection of other addresses.

use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use jetsink_serve::{
    Access, GatewaySettings, ListenError, Listener, NewToken, Server, ServerSettings, TlsSettings,
};
use nats_local::TlsFiles;
use tokio::net::UnixStream;

use crate::common::*;
use crate::support::*;

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
        try_it(&closed, None, settings().allow_plaintext(true))
            .await
            .is_ok()
    );
    assert!(
        try_it(&open, Some(tls), settings().allow_anonymous(true))
            .await
            .is_ok()
    );
    let one = settings().allow_plaintext(true);
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
        .allow_plaintext(true)
        .allow_anonymous(true);
    let all = GatewaySettings::default;
    for (bound, settings, status) in [
        ("0.0.0.0:0", all(), 421),
        ("[::]:0", all(), 421),
        ("0.0.0.0:0", all().access(access()), 202),
        (
            "0.0.0.0:0",
            all().access(access().allow_anonymous(true)),
            421,
        ),
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
