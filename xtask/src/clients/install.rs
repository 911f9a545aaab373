//! CellOS's own programs from the registry, unchanged.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use fs_err as fs;
use serde_json::Value;

use super::lock_file;
use crate::process::{cargo, copy, output, root, target};

/// The version of all of them.
pub(crate) const VERSION: &str = "0.6.0-pre";

/// The package that ours replaces.
const SINK: &str = "cellos-sink-jetstream";

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

/// Builds the published supervisor with its own lock file, and with our sink in place of its own if that is asked for.
///
/// # Errors
/// It does not build, our sink is not used, or it changes the version of another package.
pub(crate) fn supervisor(sink_of: SinkOf) -> Result<PathBuf> {
    const NAME: &str = "cellos-supervisor";
    let folder = target().join("clients").join(sink_of.name());
    let source = published(NAME, &folder)?;
    let lock = source.join("Cargo.lock");
    let before = fs::read_to_string(&lock)?;
    let sink = root().join("crates/cellos-sink-jetstream/pre");
    let patch = format!("patch.crates-io.{SINK}.path={sink:?}");
    let (arguments, shown) = match sink_of {
        SinkOf::Jetsink => (vec!["--config", &patch], sink.display().to_string()),
        SinkOf::Published => (vec!["--locked"], "the published sink".to_owned()),
    };
    println!("building {NAME} {VERSION} with {shown} …");
    let mut build = cargo(&["build", "--bin", NAME]);
    build.current_dir(&source).args(arguments);
    run(&mut build, &folder)?;
    if sink_of == SinkOf::Jetsink {
        let changes = lock_file::compare(&before, &fs::read_to_string(&lock)?)?;
        lock_file::only_replaces(&changes, SINK)?;
        for package in &changes.added {
            println!("in its lock file: + {} {}", package.name, package.version);
        }
    }
    // The next build of the other one replaces the file in the target folder.
    let binary = folder.join(NAME);
    fs::copy(target().join("debug").join(NAME), &binary)?;
    Ok(binary)
}

/// # Errors
/// It does not build.
pub(crate) fn server() -> Result<PathBuf> {
    const NAME: &str = "cellos-server";
    println!("building {NAME} {VERSION} …");
    let folder = target().join("clients/server");
    fs::create_dir_all(&folder)?;
    let mut install = cargo(&["install", NAME, "--debug", "--force", "--version"]);
    install
        .arg(format!("={VERSION}"))
        .arg("--root")
        .arg(&folder);
    run(&mut install, &folder)?;
    Ok(folder.join("bin").join(NAME))
}

/// Unpacks a published package, as it is, into a folder of its own.
fn published(name: &str, folder: &Path) -> Result<PathBuf> {
    // Cargo fetches only what something depends on.
    let dependent = folder.join("dependent");
    fs::create_dir_all(dependent.join("src"))?;
    fs::write(dependent.join("src/lib.rs"), "")?;
    let manifest = dependent.join("Cargo.toml");
    let text = format!(
        "[package]\nname = \"dependent\"\nedition = \"2024\"\n\n\
         [dependencies]\n{name} = \"={VERSION}\"\n\n[workspace]\n"
    );
    fs::write(&manifest, text)?;
    let mut metadata = cargo(&["metadata", "--format-version", "1", "--manifest-path"]);
    let metadata = output(metadata.arg(&manifest))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array();
    let found = packages
        .into_iter()
        .flatten()
        .find(|package| package["name"] == name);
    let found = found.and_then(|package| package["manifest_path"].as_str());
    let cached = Path::new(found.context("cargo metadata does not list it")?);
    let cached = cached.parent().context("a manifest has a folder")?;
    let source = folder.join("source");
    if source.is_dir() {
        fs::remove_dir_all(&source)?;
    }
    copy(cached, &source)?;
    // The folder lies in our workspace, to which it does not belong.
    let manifest = source.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)?;
    fs::write(&manifest, format!("{text}\n[workspace]\n"))?;
    Ok(source)
}

/// Builds in our target folder, so that dependencies in common with other builds are compiled once, with the log in
/// `folder`.
fn run(build: &mut Command, folder: &Path) -> Result<()> {
    let log = folder.join("build.log");
    // As in our Cargo.toml, which cargo does not read here, or as CI has it; otherwise nothing is shared.
    let debug = std::env::var_os("CARGO_PROFILE_DEV_DEBUG");
    let debug = debug.unwrap_or_else(|| "line-tables-only".into());
    let status = build
        .env("CARGO_TARGET_DIR", target())
        .env("CARGO_PROFILE_DEV_DEBUG", debug)
        .stderr(fs::File::create(&log)?.into_file())
        .status()
        .context("cargo")?;
    if !status.success() {
        bail!("cargo: {status}; see {}", log.display());
    }
    Ok(())
}
