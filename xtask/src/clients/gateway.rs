//! Events that the CloudEvents SDKs of Python, JavaScript and Rust send to `jetsink serve`, each into a stream of its own.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use nats_local::NatsServer;

use crate::checks::RUST_CLIENT;
use crate::process::{cargo, root, succeed, target};

const MODES: [&str; 3] = ["structured", "binary", "batched"];

/// A sender: an interpreter with a script and its first arguments.
pub(crate) struct Sender<'a> {
    /// Names its streams.
    pub(crate) name: &'a str,
    pub(crate) interpreter: &'a Path,
    pub(crate) script: &'a str,
    pub(crate) arguments: &'a [&'a str],
    pub(crate) variables: &'a [(&'a str, PathBuf)],
}

/// A running gateway; killed with its handle.
struct Gateway {
    child: Child,
    address: String,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Gateway {
    async fn start_with_stream(jetsink: &Path, server: &NatsServer, stream: &str) -> Result<Self> {
        let subjects = format!("{stream}.>");
        server.create_stream(stream, &[&subjects]).await?;
        Self::start(jetsink, server, stream)
    }

    fn start(jetsink: &Path, server: &NatsServer, stream: &str) -> Result<Self> {
        let mut child = Command::new(jetsink)
            .args(["serve", "--listen", "127.0.0.1:0", "--stream", stream])
            .args(["--subject", &format!("{stream}.{{tenantId}}"), "--server"])
            .arg(server.url())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().context("stderr is piped")?;
        let mut lines = BufReader::new(stderr).lines();
        let address = loop {
            let line = lines.next().context("the gateway ended")??;
            if let Some((_, address)) = line.split_once("listening on ") {
                break address.to_owned();
            }
        };
        Ok(Self { child, address })
    }
}

/// Has the sender in Rust send the events of the files in each mode, and `read.py` compare the stream with the events that
/// it made.
///
/// # Errors
/// It does not build, an event is refused, or the stream has anything but the events that were sent.
pub(crate) async fn send_by_rust(
    jetsink: &Path,
    server: &NatsServer,
    python: &Path,
    files: &[PathBuf],
) -> Result<()> {
    let folder = target().join("clients/rust");
    let manifest = root().join(RUST_CLIENT);
    succeed(
        cargo(&["build", "--quiet", "--locked", "--manifest-path"])
            .arg(manifest)
            .arg("--target-dir")
            .arg(&folder),
    )?;
    for mode in MODES {
        let stream = format!("rust-{mode}");
        let gateway = Gateway::start_with_stream(jetsink, server, &stream).await?;
        let sent = folder.join(format!("{mode}.jsonl"));
        succeed(
            Command::new(folder.join("debug/client-rust"))
                .args([&gateway.address, mode])
                .arg(&sent)
                .args(files),
        )?;
        succeed(
            Command::new(python)
                .arg(root().join("tests/clients/python/read.py"))
                .args([&server.url(), &stream, mode])
                .arg(&sent),
        )?;
    }
    Ok(())
}

/// Has a sender send the events of the files in each mode.
///
/// # Errors
/// An event is refused, or the stream has anything but the events that were sent.
pub(crate) async fn send(
    jetsink: &Path,
    server: &NatsServer,
    sender: &Sender<'_>,
    files: &[PathBuf],
) -> Result<()> {
    for mode in MODES {
        let stream = format!("{}-{mode}", sender.name);
        let gateway = Gateway::start_with_stream(jetsink, server, &stream).await?;
        let mut script = Command::new(sender.interpreter);
        script
            .arg(root().join("tests/clients").join(sender.script))
            .args([&gateway.address, &server.url(), &stream])
            .args(sender.arguments)
            .arg(mode)
            .args(files)
            .envs(sender.variables.iter().map(|(name, value)| (name, value)));
        succeed(&mut script)?;
    }
    Ok(())
}
