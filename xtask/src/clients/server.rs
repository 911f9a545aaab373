//! The published `cellos-server` rebuilds its view from the stream.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use fs_err as fs;
use nats_local::{ReservedPort, stored};
use serde_json::Value;

use super::install::SinkOf;
use super::stage::{STREAM, Stage, Subjects, command};
use crate::process::Guarded;

/// The server's view of the cells that were run.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) sink_of: SinkOf,
    pub(crate) cells: usize,
    /// Shown from their start to their end, with their run and their exit code.
    pub(crate) complete: usize,
    /// Messages in the stream.
    pub(crate) stored: usize,
    /// Messages that it lists with the content of the stream.
    pub(crate) listed: usize,
}

impl View {
    pub(crate) fn is_complete(&self) -> bool {
        self.cells > 0 && self.complete == self.cells && self.listed == self.stored
    }
}

const TOKEN: &str = "for-this-test-only";

/// Many times the usual time.
const TOO_LONG: Duration = Duration::from_secs(30);

/// Runs cells, with our sink also through an outage; then starts the server, which reads the stream from its
/// beginning; then runs one more, which it must see as it happens.
///
/// # Errors
/// A program does not run.
pub(crate) async fn view(sink_of: SinkOf, supervisor: &Path, server: &Path) -> Result<View> {
    let name = format!("{}-server", sink_of.name());
    let mut stage = Stage::new(&name, supervisor, Subjects::TenantOfEach).await?;
    stage.run(4)?;
    match sink_of {
        SinkOf::Jetsink => {
            stage.set_folder("CELLOS_JETSTREAM_SPOOL_DIR")?;
            stage.kill_broker()?;
            stage.run(3)?;
            stage.start_broker().await?;
        }
        SinkOf::Published => stage.run(3)?,
    }
    // Long enough to send the pending events before its own.
    let running = stage.start("sleep 3")?;
    stage.end(running)?;

    let port = ReservedPort::new()?;
    let address = port.address();
    let log = stage.folder.join("server.log");
    let child = command(server)
        .env("CELLOS_SERVER_BIND", address.to_string())
        .env("CELLOS_NATS_URL", stage.server.url())
        .env("CELLOS_SERVER_API_TOKEN", TOKEN)
        .stdout(fs::File::create(&log)?.into_file())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| server.display().to_string())?;
    let _server = Guarded(child);
    until(|| get(address, "/v1/version").is_ok())
        .with_context(|| format!("cellos-server does not answer; see {}", log.display()))?;
    // It listens only after it has read the stream, so this is the rebuilt view.
    let rebuilt = complete(&get(address, "/v1/cells")?, 8);

    stage.run(1)?;
    let cells = 9;
    let _ =
        until(|| get(address, "/v1/cells").is_ok_and(|shown| complete(&shown, cells) > rebuilt));
    let complete = complete(&get(address, "/v1/cells")?, cells);

    let messages = stored(&stage.server.jetstream().await?, STREAM).await?;
    let page = get(address, "/v1/events?since=0&limit=1000")?;
    let events = page["events"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let same = messages.iter().zip(events).filter(|(message, listed)| {
        let stored = serde_json::from_slice::<Value>(&message.payload).ok();
        listed["seq"] == message.sequence && stored.as_ref() == Some(&listed["event"])
    });
    Ok(View {
        sink_of,
        cells,
        complete,
        stored: messages.len(),
        listed: same.count(),
    })
}

/// Counts those of the cells 1 to `cells` that are shown from their start to their end.
fn complete(shown: &Value, cells: usize) -> usize {
    let shown = shown.as_array().map(Vec::as_slice).unwrap_or_default();
    let of_cell = |number: usize| {
        shown.iter().any(|cell| {
            cell["id"] == format!("cell-{number}")
                && cell["run_id"] == format!("run-{number}")
                && cell["state"] == "destroyed"
                && cell["outcome"] == "succeeded"
                && cell["exit_code"] == 0
                && cell["started_at"].is_string()
                && cell["destroyed_at"].is_string()
        })
    };
    (1..=cells).filter(|&number| of_cell(number)).count()
}

fn until(mut holds: impl FnMut() -> bool) -> Option<()> {
    let begun = Instant::now();
    while begun.elapsed() < TOO_LONG {
        if holds() {
            return Some(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    None
}

/// A minimal HTTP client: one request, one answer of JSON.
fn get(address: SocketAddr, path: &str) -> Result<Value> {
    let failed = || format!("GET {path}");
    let mut stream = TcpStream::connect(address).with_context(failed)?;
    stream.set_read_timeout(Some(TOO_LONG))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).with_context(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(failed)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if !head.starts_with("HTTP/1.1 200") {
        bail!("GET {path}: {}", head.lines().next().unwrap_or(""));
    }
    serde_json::from_str(body).with_context(|| format!("GET {path}: {body}"))
}

#[cfg(test)]
#[path = "tests/server.rs"]
mod tests;
