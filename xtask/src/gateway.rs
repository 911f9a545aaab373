//! Checks of the gateway with programs of other projects: its status page in a browser, its OpenAPI documents, and the
//! first programs of its guides.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::clients::languages;
use crate::process::{jetsink_command, root, succeed, target};
use crate::tools;

const PLAYWRIGHT: &str = "playwright==1.65.2";
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// Loads the status page before, during and after an outage. Leaves pictures in `target/status-page`.
///
/// # Errors
/// The page fails a check, or a program can't be installed.
pub(crate) fn page() -> Result<()> {
    let chromium = chromium()?;
    let pictures = target().join("status-page");
    let mut check = script("page.py", PLAYWRIGHT)?;
    succeed(check.arg(chromium).arg(pictures))
}

/// Sends requests that are made from the OpenAPI documents, and compares the answers with them.
///
/// # Errors
/// An answer is not as documented, or a program can't be installed.
pub(crate) fn openapi() -> Result<()> {
    let documents = root().join("docs/serve/openapi");
    let mut check = script("openapi.py", SCHEMATHESIS)?;
    succeed(check.arg(documents))
}

/// Runs the programs of the pages for Python and JavaScript, and compares their output.
///
/// # Errors
/// A program prints something else, or a package can't be installed.
pub(crate) fn first_event() -> Result<()> {
    let python = languages::python()?;
    let (node, npm) = languages::node()?;
    let modules = languages::javascript(npm)?;
    let mut check = command("first_event.py")?;
    check
        .arg(python)
        .arg(node)
        .arg(modules.join("node_modules"));
    succeed(&mut check)
}

/// A script of `tests/gateway` with its package, and with the paths of the command and the nats-server.
fn script(name: &str, package: &str) -> Result<Command> {
    let mut command = command(name)?;
    command.env("PYTHONPATH", tools::from_pypi(package, true)?);
    Ok(command)
}

fn command(name: &str) -> Result<Command> {
    let jetsink = jetsink_command()?;
    let nats_server = nats_local::nats_server_binary().context("nats-server")?;
    let mut command = Command::new("python3");
    command
        .arg(root().join("tests/gateway").join(name))
        .arg(jetsink)
        .arg(nats_server);
    Ok(command)
}

/// Chromium of this machine, or Debian's, which is installed if it is missing.
fn chromium() -> Result<PathBuf> {
    if let Some(chromium) = tools::installed("chromium") {
        return Ok(chromium);
    }
    let install =
        "apt-get -qq update && apt-get -qq install --yes --no-install-recommends chromium";
    succeed(Command::new("sh").args(["-c", install]))?;
    tools::installed("chromium").context("no chromium: install it, or set CHROMIUM to its path")
}
