//! The crates as crates.io takes them, and the command installed from its crate.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use fs_err as fs;

use super::folder;
use crate::checks::PRE;
use crate::lowest_versions::LIBRARIES;
use crate::process::{cargo, empty, root, succeed, target};

const COMMAND: &str = "jetsink-cli";

/// A program that was installed from the packed command has to be smaller.
const MAX_BYTES: u64 = 15_000_000;

/// Packs each crate and compiles the packed files. The CellOS sink is packed for both versions of cellos-core; its
/// name on crates.io belongs to others, so its manifests forbid to publish it.
///
/// # Errors
/// A package lacks a file or a field, or does not compile.
pub(super) fn pack() -> Result<()> {
    let packages = LIBRARIES.iter().chain([&COMMAND]);
    let packages = packages.flat_map(|package| ["--package", package]);
    let mut pack = cargo(&["package", "--quiet", "--locked", "--allow-dirty"]);
    succeed(pack.args(packages).env("CARGO_TARGET_DIR", target()))?;
    pack_pre()
}

/// The manifest for cellos-core 0.8.0-pre has its files in the folder above, which no package can contain: it is packed
/// from a copy.
fn pack_pre() -> Result<()> {
    let original = root().join(PRE);
    let original = original.parent().context("a manifest has a folder")?;
    let above = original.parent().context("pre is in the sink's folder")?;
    let copy = folder().join("pre");
    empty(&copy)?;
    for part in [
        "src",
        "examples",
        "tests",
        "README.md",
        "build.rs",
        "LICENSE-MIT",
        "LICENSE-APACHE",
    ] {
        let mut command = Command::new("cp");
        succeed(
            command
                .args(["--recursive", "--dereference"])
                .arg(above.join(part))
                .arg(&copy),
        )?;
    }
    let manifest = fs::read_to_string(original.join("Cargo.toml"))?;
    let jetsink = root().join("crates/jetsink");
    let manifest = manifest
        .replace(
            "path = \"../../",
            &format!("path = \"{}/crates/", root().display()),
        )
        .replace("\"../", "\"");
    fs::write(copy.join("Cargo.toml"), manifest)?;
    let mut pack = cargo(&["package", "--quiet", "--allow-dirty", "--config"]);
    pack.arg(patch("jetsink", &jetsink))
        .current_dir(&copy)
        .env("CARGO_TARGET_DIR", target());
    succeed(&mut pack)
}

fn patch(name: &str, path: &Path) -> String {
    format!("patch.crates-io.{name}.path={path:?}")
}

/// Installs the command from its package, outside of the workspace, as a user does. The other packages take the place of
/// crates.io.
///
/// # Errors
/// It does not build or run, or is too large.
pub(super) fn install_packed_command() -> Result<()> {
    let outside = std::env::temp_dir().join(format!("jetsink-packed-{}", std::process::id()));
    let installed = installed_size(&outside);
    fs::remove_dir_all(&outside)?;
    let bytes = installed?;
    println!("the command from its package: {bytes} bytes");
    ensure!(bytes < MAX_BYTES, "{bytes} bytes are not below {MAX_BYTES}");
    Ok(())
}

fn installed_size(outside: &Path) -> Result<u64> {
    fs::create_dir_all(outside)?;
    let unpack = |name: &str| -> Result<PathBuf> {
        let name = format!("{name}-{}", env!("CARGO_PKG_VERSION"));
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--gzip", "--file"])
            .arg(target().join(format!("package/{name}.crate")))
            .arg("--directory")
            .arg(outside);
        succeed(&mut tar)?;
        Ok(outside.join(name))
    };
    let mut install = cargo(&["install", "--quiet", "--path"]);
    install.arg(unpack(COMMAND)?).current_dir(outside);
    let needed = LIBRARIES
        .iter()
        .filter(|name| **name != "cellos-sink-jetstream");
    for library in needed {
        install
            .arg("--config")
            .arg(patch(library, &unpack(library)?));
    }
    install
        .arg("--root")
        .arg(outside.join("installed"))
        // Settings of this build are no settings of the user's.
        .env("CARGO_TARGET_DIR", outside.join("target"));
    succeed(&mut install)?;
    let binary = outside.join("installed/bin/jetsink");
    succeed(Command::new(&binary).arg("--version"))?;
    Ok(fs::metadata(&binary)?.len())
}
