//! The supervisor's loop, run as its first lines say, with and without a broker.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use nats_local::{NatsServer, example, stored};
use tokio::process::Command;
use tokio::time::timeout;

fn supervisor(broker: &NatsServer, file: &Path, spool: Option<&Path>) -> Command {
    let path = example(env!("CARGO_MANIFEST_DIR"), "supervisor").unwrap();
    let mut command = Command::new(path);
    command
        .env_clear() // without the developer's login
        .env("NATS_URL", broker.url())
        .envs(spool.map(|folder| ("CELLOS_JETSTREAM_SPOOL_DIR", folder)))
        .arg(file)
        .kill_on_drop(true);
    command
}

async fn printed(mut command: Command) -> String {
    let output = timeout(Duration::from_secs(25), command.output());
    let output = output.await.unwrap().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn the_cells_run_whatever_the_broker_does_and_each_event_is_stored_kept_or_spooled() {
    let mut broker = NatsServer::start().await.unwrap();
    broker
        .create_stream("CELLOS_EVENTS", &["cellos.events.>"])
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (file, spool) = (folder.path().join("kept"), folder.path().join("spool"));
    let kept = |file: &Path| std::fs::read_to_string(file).unwrap().lines().count();
    let ended = |printed: &str, reported: u32, kept: u32| {
        let last = format!(
            "3 cells ran; {reported} events reported, {kept} kept in {}\n",
            file.display()
        );
        assert!(printed.ends_with(&last), "{printed}");
    };

    let with = printed(supervisor(&broker, &file, None)).await;
    assert!(with.starts_with("cell-1: started reported\ncell-1: destroyed reported\n"));
    ended(&with, 6, 0);
    assert_eq!(kept(&file), 0);

    let without = supervisor(&broker, &file, None);
    let spooling = supervisor(&broker, &file, Some(&spool));
    broker.kill().unwrap();
    let without = printed(without).await;
    ended(&without, 0, 6);
    assert_eq!(without.matches(" kept: event sink: not sent: ").count(), 6);
    assert_eq!(kept(&file), 6);
    ended(&printed(spooling).await, 6, 0);

    broker.restart().await.unwrap();
    ended(
        &printed(supervisor(&broker, &file, Some(&spool))).await,
        6,
        0,
    );
    let jetstream = broker.jetstream().await.unwrap();
    let ids: Vec<_> = stored(&jetstream, "CELLOS_EVENTS")
        .await
        .unwrap()
        .iter()
        .map(|event| {
            let event: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
            event["id"].as_str().unwrap().to_owned()
        })
        .collect();
    // The last run ends at once: some of its events may still be in the spool, behind earlier ones.
    assert!((12..=18).contains(&ids.len()), "{ids:?}");
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
}
