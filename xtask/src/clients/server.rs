//! The published `cellos-server` rebuilds its view from what a sink stored.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nats_local::stored;
use serde_json::Value;

use super::install::Whose;
use super::stage::{STREAM, Stage, Subjects, command};

/// What the server showed of the cells that were run.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) whose: Whose,
    pub(crate) cells: usize,
    /// Shown from their start to their end, with their run and their exit code.
    pub(crate) complete: usize,
    /// Messages in the stream.
    pub(crate) stored: usize,
    /// Those that it lists as they are in the stream.
    pub(crate) listed: usize,
}

impl View {
    pub(crate) fn is_complete(&self) -> bool {
        self.cells > 0 && self.complete == self.cells && self.listed == self.stored
    }
}

const TOKEN: &str = "for-this-test-only";

/// Many times what it takes.
const TOO_LONG: Duration = Duration::from_secs(30);

/// Runs cells, with ours also through an outage; then starts the server, which reads the stream from its
/// beginning; then runs one more, which it must see as it happens.
///
/// # Errors
/// What could not be run.
pub(crate) async fn view(whose: Whose, supervisor: &Path, server: &Path) -> Result<View, String> {
    let name = format!("{}-server", whose.name());
    let mut stage = Stage::new(&name, supervisor, Subjects::TenantOfEach).await?;
    stage.run(4)?;
    match whose {
        Whose::Ours => {
            stage.set_folder("CELLOS_JETSTREAM_SPOOL_DIR")?;
            stage.kill_broker()?;
            stage.run(3)?;
            stage.start_broker().await?;
        }
        Whose::Published => stage.run(3)?,
    }
    // Long enough for what waits to be sent in front of its own.
    let running = stage.start("sleep 3")?;
    stage.end(running)?;

    let address = {
        let free = TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
        free.local_addr().map_err(|e| e.to_string())?.to_string()
    };
    let log = stage.folder.join("server.log");
    let output = File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    let child = command(server)
        .env("CELLOS_SERVER_BIND", &address)
        .env("CELLOS_NATS_URL", stage.server.url())
        .env("CELLOS_SERVER_API_TOKEN", TOKEN)
        .stdout(output)
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("{}: {e}", server.display()))?;
    let _server = Ended(child);
    until(|| get(&address, "/v1/version").is_ok())
        .ok_or_else(|| format!("cellos-server does not answer; see {}", log.display()))?;
    // It listens once it has read the stream: what it shows now is what it rebuilt.
    let rebuilt = complete(&get(&address, "/v1/cells")?, 8);

    stage.run(1)?;
    let cells = 9;
    let _ =
        until(|| get(&address, "/v1/cells").is_ok_and(|shown| complete(&shown, cells) > rebuilt));
    let complete = complete(&get(&address, "/v1/cells")?, cells);

    let jetstream = stage.server.jetstream().await.map_err(|e| e.to_string())?;
    let messages = stored(&jetstream, STREAM)
        .await
        .map_err(|e| e.to_string())?;
    let page = get(&address, "/v1/events?since=0&limit=1000")?;
    let events = page["events"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let same = messages.iter().zip(events).filter(|(message, listed)| {
        let stored = serde_json::from_slice::<Value>(&message.payload).ok();
        listed["seq"] == message.sequence && stored.as_ref() == Some(&listed["event"])
    });
    Ok(View {
        whose,
        cells,
        complete,
        stored: messages.len(),
        listed: same.count(),
    })
}

/// How many of the cells 1 to `cells` are shown as run from their start to their end.
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

/// Ends the process that we started.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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

/// As much of HTTP as one answer of this server takes.
fn get(address: &str, path: &str) -> Result<Value, String> {
    let failed = |error: std::io::Error| format!("GET {path}: {error}");
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    stream.set_read_timeout(Some(TOO_LONG)).map_err(failed)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if !head.starts_with("HTTP/1.1 200") {
        return Err(format!("GET {path}: {}", head.lines().next().unwrap_or("")));
    }
    serde_json::from_str(body).map_err(|e| format!("GET {path}: {e}: {body}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_without_its_start_its_end_or_its_exit_code_is_not_complete() {
        let cell = serde_json::json!({
            "id": "cell-1", "run_id": "run-1", "state": "destroyed", "outcome": "succeeded",
            "exit_code": 0, "started_at": "t", "destroyed_at": "t",
        });
        assert_eq!(complete(&serde_json::json!([cell]), 1), 1);
        for missing in ["started_at", "destroyed_at", "exit_code", "run_id"] {
            let mut cell = cell.clone();
            cell[missing] = Value::Null;
            assert_eq!(complete(&serde_json::json!([cell]), 1), 0, "{missing}");
        }
        assert_eq!(complete(&serde_json::json!([]), 1), 0);
    }
}
