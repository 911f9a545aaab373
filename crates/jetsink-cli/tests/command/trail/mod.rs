//! `--format cellos-audit-trail`: the file of CellOS' own spool, recorded from the published supervisor.

mod positions;
mod rotation;
mod spool_folder;
mod verification;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Output};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nats_local::{NatsServer, StoredMessage};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::support::*;

const FORMAT: [&str; 4] = ["--subject", "events.a", "--format", "cellos-audit-trail"];
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/audit-trail");

/// A row of the recorded trail.
#[derive(serde::Deserialize)]
struct Row {
    body: Box<RawValue>,
    row_hash: String,
}

fn rows() -> Vec<String> {
    let text = fs::read_to_string(Path::new(RECORDED).join("audit-trail.jsonl")).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The first row of a new trail.
fn first_row(event: &str) -> String {
    next_row(&"0".repeat(64), event)
}

/// A row behind the one with a hash.
fn next_row(previous: &str, event: &str) -> String {
    let at = "2026-11-30T15:00:00+00:00";
    let members = format!(r#""at":"{at}","body":{event},"event":"t","prev_hash":"{previous}""#);
    let content = format!(r#"{{{members},"schema":"axiom.audit.v1","seq":0"#);
    let hash = blake3::hash(format!("{content}}}").as_bytes());
    format!(r#"{content},"row_hash":"{hash}"}}"#)
}

fn hash_of(row: &str) -> String {
    serde_json::from_str::<Row>(row).unwrap().row_hash
}

/// Writes rows as CellOS does, without the saved hash of the last one.
fn trail(folder: &TempDir, rows: &[String]) -> PathBuf {
    let path = folder.path().join("audit-trail.jsonl");
    fs::write(&path, rows.join("\n") + "\n").unwrap();
    path
}

fn append(path: &Path, rows: &[String]) {
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    file.write_all((rows.join("\n") + "\n").as_bytes()).unwrap();
}

/// The documented message id.
fn message_id(row: &Row) -> String {
    let mut parts = Vec::new();
    for part in ["events.a", &row.row_hash] {
        parts.extend((part.len() as u64).to_be_bytes());
        parts.extend(part.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(Sha256::digest(parts))
}

/// Checks that the stream has the events of these rows, each once, with a message id of subject and hash.
#[track_caller]
fn assert_stored(there: &[StoredMessage], rows: &[String]) {
    let stored: Vec<_> = there
        .iter()
        .map(|m| {
            (
                m.payload.as_ref(),
                m.message_id.as_deref().unwrap_or_default(),
            )
        })
        .collect();
    let rows: Vec<Row> = rows
        .iter()
        .map(|row| serde_json::from_str(row).unwrap())
        .collect();
    let ids: Vec<_> = rows.iter().map(message_id).collect();
    let expected: Vec<_> = rows
        .iter()
        .zip(&ids)
        .map(|(row, id)| (row.body.get().as_bytes(), id.as_str()))
        .collect();
    assert!(stored == expected, "{} of {}", stored.len(), expected.len());
}

fn publish(server: &NatsServer, arguments: &[&str]) -> Output {
    let url = server.url();
    run(&[&["-s", &url], &FORMAT[..], arguments].concat())
}

fn follow(server: &NatsServer, folder: &TempDir, more: &[&str]) -> Child {
    let url = server.url();
    let path = |name: &str| as_text(&folder.path().join(name)).to_owned();
    let position = format!("--position={}", path("position"));
    let spool = format!("--spool={}", path("spool"));
    let file = path("audit-trail.jsonl");
    let own = ["-s", &url, "--follow", &position, &spool, &file];
    spawn(&[&own, &FORMAT[..], more].concat())
}

/// Waits until the saved position contains a text.
async fn until_position(folder: &TempDir, text: &str) {
    let position = folder.path().join("position");
    let started = Instant::now();
    while !fs::read_to_string(&position).is_ok_and(|saved| saved.contains(text)) {
        assert!(started.elapsed() < LONG, "the position has no {text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
