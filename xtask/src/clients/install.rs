//! CellOS's own programs from the registry, unchanged.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use fs_err as fs;

use crate::process::{cargo, root, target};

/// The version of all of them.
pub(crate) const VERSION: &str = "0.6.0-pre";

/// The sink of a supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SinkOf {
    Jetsink,
    Published,
}

impl SinkOf {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Jetsink => "ours",
            Self::Published => "published",
        }
    }
}

/// # Errors
/// It does not build, or not with our sink.
pub(crate) fn supervisor(sink_of: SinkOf) -> Result<PathBuf> {
    let sink = root().join("crates/cellos-sink-jetstream/pre");
    let patch = format!("patch.crates-io.cellos-sink-jetstream.path={sink:?}");
    let (arguments, shown) = match sink_of {
        SinkOf::Jetsink => (vec!["--config", &patch], sink.display().to_string()),
        SinkOf::Published => (vec![], "the published sink".to_owned()),
    };
    println!("building cellos-supervisor {VERSION} with {shown} …");
    let (binary, log) = install("cellos-supervisor", sink_of.name(), &arguments)?;
    // Cargo only warns of a patch that fits nothing.
    if log.contains("was not used in the crate graph") {
        bail!("the patch was not used:\n{log}");
    }
    Ok(binary)
}

/// # Errors
/// It does not build.
pub(crate) fn server() -> Result<PathBuf> {
    println!("building cellos-server {VERSION} …");
    install("cellos-server", "server", &[]).map(|(binary, _)| binary)
}

/// Builds a program in our target folder, so that dependencies in common with other builds are compiled once.
/// Returns cargo's log, too.
fn install(program: &str, name: &str, arguments: &[&str]) -> Result<(PathBuf, String)> {
    let folder = target().join("clients").join(name);
    fs::create_dir_all(&folder)?;
    let log = folder.join("build.log");
    // As in our Cargo.toml, which cargo install does not read, or as CI has it; otherwise nothing is shared.
    let debug = std::env::var_os("CARGO_PROFILE_DEV_DEBUG");
    let debug = debug.unwrap_or_else(|| "line-tables-only".into());
    let status = cargo(&["install", program, "--debug", "--force", "--version"])
        .arg(format!("={VERSION}"))
        .args(arguments)
        .arg("--root")
        .arg(&folder)
        .env("CARGO_TARGET_DIR", target())
        .env("CARGO_PROFILE_DEV_DEBUG", debug)
        .stderr(fs::File::create(&log)?.into_file())
        .status()
        .context("cargo install")?;
    if !status.success() {
        bail!("cargo install: {status}; see {}", log.display());
    }
    let text = fs::read_to_string(&log)?;
    Ok((folder.join("bin").join(program), text))
}
