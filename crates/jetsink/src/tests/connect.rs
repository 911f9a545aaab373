use nats_local::TlsFiles;

use super::*;

#[test]
fn login_in_a_url_is_removed_from_it() {
    let settings =
        ConnectSettings::new("nats://us%40er:p%3Ass@127.0.0.1, tls://127.0.0.2:1").unwrap();
    assert!(matches!(&settings.login, Login::UserPassword(u, p) if u == "us@er" && p == "p:ss"));
    assert_eq!(settings.server_list(), "nats://127.0.0.1,tls://127.0.0.2:1");
    let token = ConnectSettings::new("nats://t0ken@127.0.0.1").unwrap();
    assert!(matches!(&token.login, Login::Token(t) if t == "t0ken"));
    assert!(ConnectSettings::new("nats://a:b@h1,nats://c:d@h2").is_err());
}

#[test]
fn a_bad_url_is_named_by_its_place_and_never_shown() {
    for bad in [
        "",
        "nats://ok,",
        "http://u:hunter2@h",
        "nats://u:hunter2@h:99999",
        "nats://u:hunter2@",
        "nats://",
    ] {
        let error = ConnectSettings::new(bad).unwrap_err();
        assert!(matches!(error, ConnectError::Server { .. }), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn connect_timeout_is_from_a_millisecond_to_an_hour() {
    let set = |timeout| {
        let settings = ConnectSettings::new("127.0.0.1:4222").unwrap();
        settings.connect_timeout(timeout).map(drop)
    };
    for timeout in [Duration::ZERO, Duration::from_secs(3_601), Duration::MAX] {
        assert!(matches!(set(timeout), Err(ConnectError::Setting { .. })));
    }
    for timeout in [Duration::from_millis(1), Duration::from_secs(3_600)] {
        assert!(set(timeout).is_ok());
    }
}

#[test]
fn ping_interval_is_above_zero_and_at_most_a_day() {
    let with = |interval| {
        let settings = ConnectSettings::new(DEFAULT_SERVER).unwrap();
        settings.ping_interval(interval).map(drop)
    };
    for wrong in [Duration::ZERO, Duration::MAX] {
        assert!(matches!(with(wrong), Err(ConnectError::Setting { .. })));
    }
    assert!(with(Duration::from_secs(86_400)).is_ok());
}

// A user's finding: a file without certificates was ignored, and the errors for broken ones did not name them.
#[tokio::test]
async fn tls_file_that_cannot_be_used_is_named_and_not_quoted() {
    let files = TlsFiles::generate(false).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let key_text = std::fs::read_to_string(&files.client_key).unwrap();
    let secret = &key_text.lines().nth(1).unwrap()[..30];
    let empty = write("empty.pem", "");
    let cut = write("cut.pem", "-----BEGIN CERTIFICATE-----\nMIIB");
    let garbage = write(
        "garbage.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let cut_key = write("cut-key.pem", &key_text[..80]);
    let a_folder = folder.path().to_owned();
    let settings = || ConnectSettings::new(DEFAULT_SERVER).unwrap();
    let trust = |path: &PathBuf| settings().root_certificates(path);
    let present = |certificate: &PathBuf, key: &PathBuf| {
        settings()
            .root_certificates(&files.root)
            .client_certificate(certificate, key)
    };
    let (certificate, key) = (&files.client_certificate, &files.client_key);
    for (settings, named) in [
        (trust(&files.server_key), &files.server_key),
        (trust(&empty), &empty),
        (trust(&cut), &cut),
        (trust(&garbage), &garbage),
        (trust(&a_folder), &a_folder),
        (present(&empty, key), &empty),
        (present(&cut, key), &cut),
        (present(&garbage, key), &garbage),
        (present(certificate, certificate), certificate),
        (present(certificate, &empty), &empty),
        (present(certificate, &cut_key), &cut_key),
        (present(certificate, &files.server_key), &files.server_key),
    ] {
        let error = settings.options().await.err();
        let Some(ConnectError::File { path, .. }) = &error else {
            panic!("{named:?}: {error:?}");
        };
        assert_eq!(path, named, "{error:?}");
        let text = error.unwrap().to_string();
        assert!(
            !text.contains(secret) && text.lines().count() == 1,
            "{text}"
        );
    }
    let client_only = settings().client_certificate(certificate, key);
    for settings in [trust(&files.root), present(certificate, key), client_only] {
        assert!(settings.options().await.is_ok());
    }
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let settings = ConnectSettings::new(DEFAULT_SERVER)
        .unwrap()
        .credentials_file("/no/such.creds");
    let error = settings.options().await.err().unwrap();
    let ConnectError::File { path, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(path.to_str(), Some("/no/such.creds"));
}
