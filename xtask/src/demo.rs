//! The main job on real input: a broker from nothing, a stream, a file of events, and proof from the
//! stream itself.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use delivery_audit::{Event, Findings};
use nats_local::{NatsServer, stored};

use crate::checks::jetsink_command;
use crate::succeed;

const STREAM: &str = "CELLOS_EVENTS";
const SUBJECT: &str = "cellos.events.{tenantId}";

pub(crate) async fn run(file: &Path) -> Result<(), String> {
    let text = std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let lines: Vec<Bytes> = text
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.trim_ascii().is_empty())
        .map(Bytes::copy_from_slice)
        .collect();

    let jetsink = jetsink_command()?;
    let server = NatsServer::start().await.map_err(|e| e.to_string())?;
    let created = server.create_stream(STREAM, &["cellos.events.>"]).await;
    created.map_err(|e| e.to_string())?;
    println!(
        "nats-server at {}, stream {STREAM} over cellos.events.>",
        server.url()
    );
    println!("jetsink publish --subject '{SUBJECT}' {}", file.display());

    let published = succeed(
        std::process::Command::new(jetsink)
            .args([
                "publish",
                "--subject",
                SUBJECT,
                "--stream",
                STREAM,
                "--server",
            ])
            .arg(server.url())
            .arg(file),
    );

    let jetstream = server.jetstream().await.map_err(|e| e.to_string())?;
    let messages = stored(&jetstream, STREAM)
        .await
        .map_err(|e| e.to_string())?;
    let mut subjects: BTreeMap<&str, usize> = BTreeMap::new();
    for message in &messages {
        *subjects.entry(&message.subject).or_default() += 1;
    }
    println!("\nread back from the stream:");
    for (subject, count) in subjects {
        println!("{count:>8}  {subject}");
    }
    let events = lines.iter().cloned().map(Event::acknowledged);
    let stored = messages
        .iter()
        .map(|m| (m.subject.as_str(), m.payload.clone()));
    let findings = Findings::of(events, stored);
    println!(
        "{:>8}  messages for {} lines: {findings}",
        messages.len(),
        lines.len()
    );
    published?;
    if findings.is_clean() && messages.len() == lines.len() {
        println!("every line is stored once, byte for byte, in order");
        Ok(())
    } else {
        Err("the stream does not hold what was published".to_owned())
    }
}
