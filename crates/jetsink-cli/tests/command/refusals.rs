//! Unusual refusals of the server: the command's output names each, with and without a spool.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use async_nats::jetstream::stream::{Config, DiscardPolicy};
use nats_local::{JwtAccount, NatsServer, nats_server_binary};
use serde_json::json;

use crate::doctor::doctor;
use crate::support::*;

/// Publishes `count` events, with and without a spool; the output contains the reason each time.
fn is_named(arguments: &[&str], count: usize, reasons: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let input = file_of(&folder, "in.jsonl", &lines(count));
    let spool = folder.path().join("spool");
    let common = ["--max-outage", "2s", "--deadline", "1s", as_text(&input)];
    for spooling in [&[][..], &["--spool", as_text(&spool)]] {
        let output = run(&[arguments, spooling, &common].concat());
        let text = stderr(&output);
        assert_ne!(output.status.code(), Some(0), "{spooling:?}: {text}");
        for reason in reasons {
            assert!(text.contains(reason), "{spooling:?} no {reason:?}: {text}");
        }
    }
}

#[tokio::test]
async fn limit_of_the_account_is_named() {
    let config = "accounts: { APP: { jetstream: { max_file: 20480 }, users: [{ user: app, password: p }] } }";
    let server = NatsServer::builder().config(config).start().await.unwrap();
    let login = async_nats::ConnectOptions::with_user_and_password("app".into(), "p".into());
    let client = login.connect(server.url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let stream = Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        ..Config::default()
    };
    jetstream.create_stream(stream).await.unwrap();
    let url = server.url();
    let arguments = [
        "-s",
        &url,
        "--user",
        "app",
        "--password",
        "p",
        "--subject",
        "events.a",
    ];
    let reasons = ["resource limits exceeded for account (code 10002)"];
    is_named(&arguments, 400, &reasons);
}

#[tokio::test]
async fn storage_limit_of_the_server_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path();
    let config = format!("jetstream {{ store_dir: {store:?}, max_file_store: 20KB }}");
    let server = NatsServer::builder().without_jetstream().config(&config);
    let server = server.start().await.unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    let url = server.url();
    is_named(
        &["-s", &url, "--subject", "events.a"],
        400,
        &["insufficient"],
    );
}

/// A nats-server whose store is a full file system of its own; `None` if this user may not make one.
fn server_on_a_small_disk(folder: &tempfile::TempDir) -> Option<std::path::PathBuf> {
    let unshare = "unshare --user --map-root-user --mount";
    let may = std::process::Command::new("sh")
        .args([
            "-c",
            &format!("{unshare} sh -c 'mount -t tmpfs -o size=1m tmpfs /mnt'"),
        ])
        .output();
    if !may.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let script = folder.path().join("nats-server");
    let binary = nats_server_binary().unwrap();
    let text = format!(
        "#!/bin/sh\nstore=\"$(dirname \"$2\")/store\"\nmkdir -p \"$store\"\nexport store\n\
         exec {unshare} sh -c 'mount -t tmpfs -o size=1m tmpfs \"$store\" && exec \"$0\" \"$@\"' {binary:?} \"$@\"\n"
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    Some(script)
}

#[tokio::test]
async fn full_disk_of_the_server_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let Some(binary) = server_on_a_small_disk(&folder) else {
        return println!("this user may not mount a file system");
    };
    let server = NatsServer::builder().binary(binary).start().await.unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    let url = server.url();
    is_named(
        &["-s", &url, "--subject", "events.a"],
        20_000,
        &["full disk"],
    );
}

#[tokio::test]
async fn control_line_limit_is_named() {
    let server = NatsServer::builder().config("max_control_line: 512");
    let server = server.start().await.unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    let subject = format!("events.{}", "x".repeat(600));
    let url = server.url();
    let arguments = ["-s", &url, "--subject", &subject, "--max-failures", "1"];
    is_named(&arguments, 2, &["max_control_line"]);
}

#[tokio::test]
async fn counter_stream_is_named() {
    let server = NatsServer::start().await.unwrap();
    let counter = Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        allow_message_counter: true,
        ..Config::default()
    };
    let jetstream = server.jetstream().await.unwrap();
    let created = jetstream.create_stream(counter).await.unwrap();
    if !created.cached_info().config.allow_message_counter {
        return println!("this server has no counters");
    }
    let url = server.url();
    let arguments = ["-s", &url, "--subject", "events.a"];
    is_named(&arguments, 2, &["counter", "code 10169"]);
}

#[tokio::test]
async fn expired_login_is_named() {
    let account = JwtAccount::generate();
    let config = account.server_config(&[]).unwrap();
    let server = NatsServer::builder().config(&config).start().await.unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(3_600);
    let user = account.user_until("app", long_ago).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let creds = folder.path().join("app.creds");
    std::fs::write(&creds, &user.credentials).unwrap();
    let url = server.url();
    let arguments = [
        "-s",
        &url,
        "--subject",
        "events.a",
        "--creds",
        as_text(&creds),
    ];
    is_named(&arguments, 1, &["expired at 20"]);
}

#[tokio::test]
async fn asynchronous_writes_of_a_stream_are_named_by_doctor() {
    let server = NatsServer::start().await.unwrap();
    let client = server.client().await.unwrap();
    let config = json!({ "name": "EVENTS", "subjects": ["events.>"], "storage": "file", "persist_mode": "async" });
    let created = client.request("$JS.API.STREAM.CREATE.EVENTS", config.to_string().into());
    let created: serde_json::Value =
        serde_json::from_slice(&created.await.unwrap().payload).unwrap();
    if created["config"]["persist_mode"] != "async" {
        return println!("this server has no persist_mode: {created}");
    }
    let diagnosis = doctor(&server.url(), &["--subject", "events.a"]);
    diagnosis.has("warning", "stream.persist-async");
}

#[tokio::test]
async fn limits_below_the_retention_floor_are_found_by_stream_check() {
    for (config, field) in [
        (
            Config {
                max_messages: 1_000,
                ..Config::default()
            },
            "discard",
        ),
        (
            Config {
                max_bytes: 1_000_000,
                ..Config::default()
            },
            "discard",
        ),
        (
            Config {
                max_messages_per_subject: 3,
                ..Config::default()
            },
            "max_msgs_per_subject",
        ),
    ] {
        let server = NatsServer::start().await.unwrap();
        let config = Config {
            name: "EVENTS".to_owned(),
            subjects: vec!["events.>".to_owned()],
            max_age: Duration::from_secs(90 * 86_400),
            discard: DiscardPolicy::Old,
            ..config
        };
        let jetstream = server.jetstream().await.unwrap();
        jetstream.create_stream(config).await.unwrap();
        let url = server.url();
        let stream = |verb: &str| {
            let arguments = [
                verb,
                "--name",
                "EVENTS",
                "--subject",
                "events.>",
                "-s",
                &url,
            ];
            command("stream", &arguments).output().unwrap()
        };
        let check = stream("check");
        assert_code(&check, 1);
        let text = String::from_utf8_lossy(&check.stdout).into_owned();
        assert!(text.contains(&format!("~ {field}: ")), "{text}");
        assert_code(&stream("apply"), 0);
        assert_code(&stream("check"), 0);
    }
}
