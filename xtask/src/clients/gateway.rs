//! Events that the CloudEvents SDKs of Python and JavaScript send to `jetsink serve`, each into a stream of its own.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use nats_local::NatsServer;

use crate::process::{root, succeed};

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
        server
            .create_stream(&stream, &[&format!("{stream}.>")])
            .await?;
        let gateway = Gateway::start(jetsink, server, &stream)?;
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
