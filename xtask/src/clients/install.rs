//! CellOS's own programs, out of the registry, unchanged.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::checks::target;
use crate::{cargo, root};

/// The version of all of them.
pub(crate) const VERSION: &str = "0.6.0-pre";

/// Whose sink the supervisor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    Ours,
    Published,
}

impl Whose {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Published => "published",
        }
    }
}

/// # Errors
/// What could not be built; also where our sink was not taken.
pub(crate) fn supervisor(whose: Whose) -> Result<PathBuf, String> {
    let sink = root().join("crates/cellos-sink-jetstream/pre");
    let patch = format!("patch.crates-io.cellos-sink-jetstream.path={sink:?}");
    let (arguments, shown) = match whose {
        Whose::Ours => (vec!["--config", &patch], sink.display().to_string()),
        Whose::Published => (vec![], "the published sink".to_owned()),
    };
    println!("building cellos-supervisor {VERSION} with {shown} …");
    let (binary, log) = install("cellos-supervisor", whose.name(), &arguments)?;
    // Cargo only warns of a patch that fits nothing.
    if log.contains("was not used in the crate graph") {
        return Err(format!("the patch was not used:\n{log}"));
    }
    Ok(binary)
}

/// # Errors
/// What could not be built.
pub(crate) fn server() -> Result<PathBuf, String> {
    println!("building cellos-server {VERSION} …");
    install("cellos-server", "server", &[]).map(|(binary, _)| binary)
}

/// All build into our folder, so that what they share with each other and with our tests is compiled
/// once. Returns cargo's log, too.
fn install(program: &str, name: &str, arguments: &[&str]) -> Result<(PathBuf, String), String> {
    let at = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| format!("{path}: {error}")
    };
    let folder = target().join("clients").join(name);
    fs::create_dir_all(&folder).map_err(at(&folder))?;
    let log = folder.join("build.log");
    // As in our Cargo.toml, which is not looked at here, or as CI has it; otherwise nothing is shared.
    let debug = std::env::var_os("CARGO_PROFILE_DEV_DEBUG");
    let debug = debug.unwrap_or_else(|| "line-tables-only".into());
    let status = cargo(&["install", program, "--debug", "--force", "--version"])
        .arg(format!("={VERSION}"))
        .args(arguments)
        .arg("--root")
        .arg(&folder)
        .env("CARGO_TARGET_DIR", target())
        .env("CARGO_PROFILE_DEV_DEBUG", debug)
        .stderr(File::create(&log).map_err(at(&log))?)
        .status()
        .map_err(|error| format!("cargo install: {error}"))?;
    if !status.success() {
        return Err(format!("cargo install: {status}; see {}", log.display()));
    }
    let text = fs::read_to_string(&log).map_err(at(&log))?;
    Ok((folder.join("bin").join(program), text))
}
