//! Logging in, by flags, variables and contexts.

use nats_local::NatsServer;

use crate::support::*;

#[tokio::test]
async fn logins_come_from_flags_and_variables_and_are_never_shown() {
    let server = NatsServer::builder()
        .user_and_password("app", "hunter2")
        .start()
        .await
        .unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    let url = server.url();
    let flags = ["-s", &url, "--subject", "events.a", SAMPLES];
    let by_variable = jetsink(&flags)
        .env("NATS_USER", "app")
        .env("NATS_PASSWORD", "hunter2")
        .output()
        .unwrap();
    assert_code(&by_variable, 0);
    let logged = run(&[
        &flags[..],
        &["--user", "app", "--password", "hunter2", "-vvv"],
    ]
    .concat());
    assert_code(&logged, 0);
    let wrong = run(&[
        &flags[..],
        &["--user", "app", "--password", "sw0rdfish", "-vvv", "--json"],
    ]
    .concat());
    assert_code(&wrong, 3);
    assert_eq!(json(&wrong)["exit_code"], 3);
    assert!(!stderr(&wrong).contains("trying again"));
    assert!(
        stderr(&wrong).contains("authorization violation"),
        "{}",
        stderr(&wrong)
    );
    let in_url = format!("nats://app:sw0rdfish@127.0.0.1:{}", server.port());
    let wrong_url = run(&["-s", &in_url, "--subject", "events.a", "-vvv", SAMPLES]);
    assert_code(&wrong_url, 3);
    for output in [by_variable, logged, wrong, wrong_url] {
        let text = stderr(&output);
        assert!(
            !text.contains("hunter2") && !text.contains("sw0rdfish"),
            "{text}"
        );
    }
}

/// A trusted authority implies TLS: a password must not be sent without it.
#[tokio::test]
async fn with_root_certificates_nothing_is_said_to_a_server_without_tls() {
    let files = nats_local::TlsFiles::generate(false).unwrap();
    let server = server().await;
    let root = as_text(&files.root);
    let output = run(&[
        "-s",
        &server.url(),
        "--tlsca",
        root,
        "--subject",
        "events.a",
        "--max-outage",
        "0",
        SAMPLES,
    ]);
    assert_code(&output, 3);
}

#[tokio::test]
async fn the_selected_context_counts_where_no_server_is_named() {
    let server = NatsServer::builder()
        .config("authorization { token: hunter2 }")
        .start()
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let contexts = folder.path().join("nats/context");
    std::fs::create_dir_all(&contexts).unwrap();
    let context = format!(r#"{{"url":"{}","token":"hunter2"}}"#, server.url());
    std::fs::write(contexts.join("prod.json"), context).unwrap();
    std::fs::write(folder.path().join("nats/context.txt"), "prod\n").unwrap();
    let publish = |flags: &[&str]| {
        jetsink(&[&["--subject", "nowhere.a", SAMPLES], flags].concat())
            .env("XDG_CONFIG_HOME", folder.path())
            .output()
            .unwrap()
    };
    // The error of a missing stream comes after the login.
    let url = server.url();
    assert_code(&publish(&[]), 1);
    assert_code(&publish(&["--context", "prod"]), 1);
    assert_code(&publish(&["-s", &url, "--token", "hunter2"]), 1);
    assert_code(&publish(&["-s", &url]), 3);
    assert_code(&publish(&["--context", "none"]), 2);
}
