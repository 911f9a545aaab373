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
