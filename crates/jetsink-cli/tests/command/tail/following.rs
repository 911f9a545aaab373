//! Following: over a broker restart, a lost broker, a stream that is created again, a closed pipe.

use super::*;

#[tokio::test]
async fn follower_shows_new_events_and_leaves_no_consumer_after_ctrl_c() {
    let server = server().await;
    store(&server, "events.a", &[], &event(1)).await;
    let mut running = Running::start(tail_command(&server, &["--json"]));
    await_consumer(&server).await;
    store(&server, "events.a", &[], &event(2)).await;
    assert_eq!(running.event()["event"]["id"], "2");
    running.interrupt();
    assert_eq!(running.code(), Some(0));
    assert_eq!(running.note(), "");
    assert_eq!(consumers(&server).await, 0, "deleted, not timed out");
}

#[tokio::test]
async fn a_restarted_broker_is_gone_on_with_and_nothing_is_shown_twice() {
    let mut server = server().await;
    store(&server, "events.a", &[], &event(1)).await;
    let mut running = Running::start(tail_command(&server, &["--all", "--json"]));
    assert_eq!(running.event()["sequence"], 1);
    server.kill().unwrap();
    let note = running.note();
    assert!(note.contains("resuming after message 1"), "{note}");
    server.restart().await.unwrap();
    for number in 2..5 {
        store(&server, "events.a", &[], &event(number)).await;
    }
    for sequence in 2..5 {
        assert_eq!(running.event()["sequence"], sequence);
    }
    running.interrupt();
    assert_eq!(running.code(), Some(0));
    assert_eq!(consumers(&server).await, 0);
}

/// Regression: it waited for the broker for ever, with an end or without one.
#[tokio::test]
async fn tail_until_a_time_ends_then_without_a_broker() {
    let mut server = server().await;
    let until = (jiff::Timestamp::now() + Duration::from_secs(4)).to_string();
    let mut running = Running::start(tail_command(&server, &["--until", &until]));
    await_consumer(&server).await;
    server.kill().unwrap();
    let note = running.note();
    assert!(note.contains("resuming from the beginning once"), "{note}");
    assert_eq!(running.code_soon().await, Some(3));
    let mut notes = String::new();
    running.notes.read_to_string(&mut notes).unwrap();
    assert!(notes.contains("stream EVENTS: no connection"), "{notes}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tail_without_following_does_not_wait_for_a_lost_broker() {
    let mut server = server().await;
    let large = "x".repeat(100_000);
    for _ in 0..60 {
        store(&server, "events.a", &[], &large).await;
    }
    let proxy = TcpProxy::to(server.port()).await.unwrap();
    // So that the broker is gone before all of it has come.
    proxy.impair(Impairment::Slow(Duration::from_millis(50)));
    let url = format!("nats://127.0.0.1:{}", proxy.port());
    let arguments = ["--stream", "EVENTS", "-s", &url, "--all", "--no-follow"];
    let mut running = Running::start(command("tail", &arguments));
    let mut line = String::new();
    running.lines.read_line(&mut line).unwrap();
    server.kill().unwrap();
    proxy.impair(Impairment::Reset);
    assert_eq!(running.code_soon().await, Some(3));
    let note = running.note();
    assert!(note.contains("not all of it was read"), "{note}");
}

#[tokio::test]
async fn a_stream_that_was_made_anew_is_shown_from_its_first_message() {
    let mut server = server().await;
    for number in 1..4 {
        store(&server, "events.a", &[], &event(number)).await;
    }
    let mut running = Running::start(tail_command(&server, &["--all", "--json"]));
    for number in 1..4 {
        assert_eq!(running.event()["event"]["id"], number.to_string());
    }
    let pid = Pid::from_raw(running.child.id().try_into().unwrap());
    stop(&running.child);
    let jetstream = server.jetstream().await.unwrap();
    jetstream.delete_stream("EVENTS").await.unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    store(&server, "events.a", &[], &event(9)).await;
    server.kill().unwrap();
    server.restart().await.unwrap();
    kill(pid, Signal::SIGCONT).unwrap();
    assert_eq!(running.event()["event"]["id"], "9");
    let notes: Vec<String> = (0..2).map(|_| running.note()).collect();
    assert!(
        notes
            .iter()
            .any(|note| note.contains("was deleted and created again")),
        "{notes:?}"
    );
}

#[tokio::test]
async fn closed_pipe_ends_the_command_at_once_without_an_error() {
    let server = mixed().await;
    let mut running = Running::start(tail_command(&server, &["--all"]));
    let mut line = String::new();
    running.lines.read_line(&mut line).unwrap();
    // No more events are stored: the command has to notice the closed pipe.
    let (_, mut notes) = (
        std::mem::replace(&mut running.lines, no_lines()),
        String::new(),
    );
    assert_eq!(running.code(), Some(0));
    running.notes.read_to_string(&mut notes).unwrap();
    assert_eq!(notes, "");
    assert_eq!(consumers(&server).await, 0);
}

/// The output of a command that has none.
fn no_lines() -> BufReader<ChildStdout> {
    let mut child = Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
    let output = child.stdout.take().unwrap();
    child.wait().unwrap();
    BufReader::new(output)
}
