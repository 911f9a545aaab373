//! The main job on real input: a broker, a stream, a file of events, and a comparison of the file with the stream.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use bytes::Bytes;
use delivery_audit::{Event, Findings};
use fs_err as fs;
use nats_local::{NatsServer, stored};

use crate::process::{jetsink_command, succeed};

const STREAM: &str = "CELLOS_EVENTS";
const SUBJECT: &str = "cellos.events.{tenantId}";

/// # Errors
/// The file is not stored line by line, byte for byte, in order.
pub(crate) async fn run(file: &Path) -> Result<()> {
    let text = fs::read(file)?;
    let lines: Vec<Bytes> = text
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.trim_ascii().is_empty())
        .map(Bytes::copy_from_slice)
        .collect();

    let jetsink = jetsink_command()?;
    let server = NatsServer::start().await?;
    server.create_stream(STREAM, &["cellos.events.>"]).await?;
    println!(
        "nats-server at {}, stream {STREAM} over cellos.events.>",
        server.url()
    );
    println!("jetsink publish --subject '{SUBJECT}' {}", file.display());

    let mut publish = Command::new(jetsink);
    publish
        .args(["publish", "--subject", SUBJECT, "--stream", STREAM])
        .args(["--server", &server.url()])
        .arg(file);
    let published = succeed(&mut publish);

    let messages = stored(&server.jetstream().await?, STREAM).await?;
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
        .map(|message| (message.subject.as_str(), message.payload.clone()));
    let findings = Findings::of(events, stored);
    println!(
        "{:>8}  messages for {} lines: {findings}",
        messages.len(),
        lines.len()
    );
    published?;
    if !findings.is_clean() || messages.len() != lines.len() {
        bail!("the stream does not match the file");
    }
    println!("every line is stored once, byte for byte, in order");
    Ok(())
}
