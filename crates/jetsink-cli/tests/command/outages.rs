//! Brokers that are away, and the way back in.

use std::path::Path;
use std::time::Duration;

use nats_local::{NatsServer, TlsFiles};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::*;

#[tokio::test]
async fn without_a_broker_it_ends_with_3_and_without_a_stream_with_1() {
    let mut server = server().await;
    let url = server.url();
    let output = run(&[
        "-s",
        &url,
        "--subject",
        "nowhere.a",
        "--max-failures",
        "5",
        SAMPLES,
    ]);
    assert_code(&output, 1);
    assert!(
        stderr(&output).contains("no stream captures the subject"),
        "{}",
        stderr(&output)
    );
    server.kill().unwrap();
    let to = ["-s", &url, "--subject", "events.a"];
    let output = run(&[&to[..], &["--max-outage", "0", SAMPLES]].concat());
    assert_code(&output, 3);
    assert!(
        stderr(&output).contains("nats connect to"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_restarted_broker_loses_no_event() {
    let mut server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let lines = lines(60_000);
    let input = file_of(&folder, "in.jsonl", &lines);
    let child = spawn(&[
        "-s",
        &server.url(),
        "--subject",
        "events.a",
        "--window",
        "64",
        as_text(&input),
    ]);
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        server.kill_for(Duration::from_millis(300)).await.unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert_code(&output, 0);
    let findings = findings(&lines, &there(&server).await);
    assert!(findings.is_clean(), "{findings}");
    let text = stderr(&output);
    let opened = text.matches("circuit opened").count();
    assert!(opened > 0, "{text}");
    let closed = text.matches("circuit closed").count();
    assert_eq!(
        closed, opened,
        "the end of each outage is in the log: {text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_outage_ends_the_command_with_3_and_a_line_to_resume_at() {
    let mut server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let lines = lines(60_000);
    let input = file_of(&folder, "in.jsonl", &lines);
    let url = server.url();
    let flags = [
        "-s",
        &url,
        "--subject",
        "events.a",
        "--id",
        "source-id",
        "--max-outage",
        "1s",
        "--window",
        "64",
    ];
    let child = spawn(&[&flags[..], &[as_text(&input)]].concat());
    tokio::time::sleep(Duration::from_millis(700)).await;
    server.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_code(&output, 3);
    let line = resume_line(&output);
    server.restart().await.unwrap();
    let rest = run(&[&flags[..], &["--from-line", &line, as_text(&input)]].concat());
    assert_code(&rest, 0);
    let findings = findings(&lines, &there(&server).await);
    assert!(findings.is_clean(), "{findings}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupt_finishes_events_in_flight_and_prints_the_line_to_resume_at() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let lines = lines(60_000);
    let input = file_of(&folder, "in.jsonl", &lines);
    let url = server.url();
    let flags = ["-s", &url, "--subject", "events.a", "--window", "32"];
    let child = spawn(&[&flags[..], &[as_text(&input)]].concat());
    // Once it is under way.
    while there(&server).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_code(&output, 130);
    let line = resume_line(&output);
    assert_eq!(
        there(&server).await.len() + 1,
        line.parse::<usize>().unwrap()
    );
    assert_code(
        &run(&[&flags[..], &["--from-line", &line, as_text(&input)]].concat()),
        0,
    );
    let findings = findings(&lines, &there(&server).await);
    assert!(findings.is_clean(), "{findings}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_that_is_away_at_the_start_is_tried_again_for_the_maximum_outage() {
    let mut server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let lines = lines(3);
    let input = file_of(&folder, "in.jsonl", &lines);
    let url = server.url();
    server.kill().unwrap();
    let publish = |max_outage| {
        let flags = ["-s", &url, "--subject", "events.a", "--json"];
        [&flags[..], &["--max-outage", max_outage, as_text(&input)]].concat()
    };
    let output = run(&publish("300ms"));
    assert_code(&output, 3);
    assert!(stderr(&output).contains("trying again"));
    assert_eq!(resume_line(&output), "1");
    let summary = json(&output);
    assert_eq!(summary["exit_code"], 3);
    assert_eq!(
        (&summary["read"], &summary["resume"]["line"]),
        (&0.into(), &1.into())
    );

    let child = spawn(&publish("1h"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.restart().await.unwrap();
    let output = ended(child);
    assert_code(&output, 0);
    assert_eq!(json(&output)["stored"], 3);
    let findings = findings(&lines, &there(&server).await);
    assert!(findings.is_clean(), "{findings}");
}

#[tokio::test]
async fn interrupt_while_the_broker_is_tried_at_the_start_prints_the_line_to_resume_at() {
    let mut server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let input = file_of(&folder, "in.jsonl", &lines(3));
    let url = server.url();
    server.kill().unwrap();
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let publish = |input: &Path| {
        let flags = ["-s", &url, "--subject", "events.a", "--json"];
        let at = ["--max-outage=1h", "--from-line=2", as_text(input)];
        spawn(&[&flags[..], &at].concat())
    };
    // Nothing writes to the FIFO: then the input is not open either.
    for input in [input, fifo] {
        let child = publish(&input);
        tokio::time::sleep(Duration::from_millis(700)).await;
        let output = end(child, Signal::SIGINT);
        assert_code(&output, 130);
        assert_eq!(resume_line(&output), "2", "{}", stderr(&output));
        let summary = json(&output);
        assert_eq!(
            (&summary["read"], &summary["resume"]["line"]),
            (&0.into(), &2.into())
        );
    }
}

#[tokio::test]
async fn certificate_that_is_not_accepted_ends_the_command_at_once() {
    let here = ["127.0.0.1", "localhost"];
    let ago = std::time::SystemTime::now() - Duration::from_secs(86_400);
    let of_client = TlsFiles::generate(true).unwrap();
    let other = TlsFiles::generate(true).unwrap();
    let (certificate, key) = (&other.client_certificate, &other.client_key);
    for (files, client) in [
        (
            TlsFiles::generate_for(&here, Some(ago), false).unwrap(),
            &[][..],
        ),
        (
            TlsFiles::generate_for(&["elsewhere"], None, false).unwrap(),
            &[],
        ),
        // No certificate of a client, and one that another authority has issued.
        (of_client.clone(), &[]),
        (
            of_client,
            &["--tlscert", as_text(certificate), "--tlskey", as_text(key)],
        ),
    ] {
        let server = NatsServer::builder().tls(&files).start().await.unwrap();
        let url = server.url();
        let to = ["-s", &url, "--subject", "events.a", "--max-outage=1h"];
        let trust = ["--json", "--tlsca", as_text(&files.root)];
        let output = ended(spawn(&[&to[..], &trust, client, &[SAMPLES]].concat()));
        assert_code(&output, 3);
        let text = stderr(&output);
        assert!(!text.contains("trying again"), "{text}");
        assert_eq!(json(&output)["resume"]["line"], 1);
    }
}
