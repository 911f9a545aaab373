//! What we publish, read by the NATS clients and CloudEvents SDKs of Python and JavaScript.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nats_local::NatsServer;

use crate::checks::{jetsink_command, target};
use crate::{root, succeed, tools};

/// A stream for each mode, so that a reader meets only the one that it is told of.
const MODES: [(&str, &str); 2] = [("structured", "STRUCTURED"), ("binary", "BINARY")];

/// The oldest that the CloudEvents SDK runs on.
const OLDEST_NODE: u32 = 20;

/// Publishes real and hand-made events in both modes, and has each client read them back.
///
/// # Errors
/// What could not be installed or run, or a client that read anything else than was emitted.
pub(crate) async fn run() -> Result<(), String> {
    let files = ["samples/cellos-events.jsonl", "tests/clients/events.jsonl"];
    let files = files.map(|file| root().join(file));
    let jetsink = jetsink_command()?;
    let server = NatsServer::start().await.map_err(|e| e.to_string())?;
    for (mode, stream) in MODES {
        let subjects = format!("{mode}.>");
        let created = server.create_stream(stream, &[&subjects]).await;
        created.map_err(|e| e.to_string())?;
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
    match javascript()? {
        Ok((node, modules)) => {
            let variables = [("CLIENT_MODULES", modules)];
            read(&node, "javascript/read.mjs", &server, &files, &variables)
        }
        Err(why) => {
            eprintln!("SKIPPED: nothing was read by JavaScript: {why}");
            Ok(())
        }
    }
}

fn read(
    interpreter: &Path,
    script: &str,
    server: &NatsServer,
    files: &[PathBuf],
    variables: &[(&str, PathBuf)],
) -> Result<(), String> {
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

/// A virtual environment in the target folder, with the pinned packages.
fn python() -> Result<PathBuf, String> {
    let folder = target().join("clients/python");
    let python = folder.join("bin/python");
    if !python.is_file() {
        succeed(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    let install = ["-m", "pip", "install", "--quiet", "--require-hashes"];
    let requirements = root().join("tests/clients/python/requirements.txt");
    succeed(
        Command::new(&python)
            .args(install)
            .args(["--disable-pip-version-check", "--requirement"])
            .arg(requirements),
    )?;
    Ok(python)
}

/// Node, and the folder in which the locked packages are; or why there is none, which is no error of
/// ours: Rust and Python are what this project asks of a machine.
fn javascript() -> Result<Result<(PathBuf, PathBuf), String>, String> {
    let (Some(node), Some(npm)) = (tools::here("node"), tools::here("npm")) else {
        return Ok(Err("there is no node or no npm on this machine".to_owned()));
    };
    let version = Command::new(&node).arg("--version").output();
    let version = version.map_err(|e| format!("{}: {e}", node.display()))?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let major = version.trim_start_matches('v').split('.').next();
    if major.and_then(|major| major.parse().ok()) < Some(OLDEST_NODE) {
        return Ok(Err(format!("node is {version}, older than {OLDEST_NODE}")));
    }
    let folder = target().join("clients/javascript");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for file in ["package.json", "package-lock.json"] {
        let from = root().join("tests/clients/javascript").join(file);
        fs::copy(&from, folder.join(file)).map_err(|e| format!("{}: {e}", from.display()))?;
    }
    let install = ["ci", "--silent", "--no-audit", "--no-fund"];
    succeed(
        Command::new(npm)
            .args(install)
            .arg("--ignore-scripts")
            .current_dir(&folder),
    )?;
    Ok(Ok((node, folder)))
}
