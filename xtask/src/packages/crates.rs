//! The crates as crates.io takes them, and the command installed from its crate.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use fs_err as fs;

use super::folder;
use crate::checks::PRE;
use crate::lowest_versions::LIBRARIES;
use crate::process::{self, cargo, empty, root, succeed, target};

const COMMAND: &str = "jetsink-cli";

/// The profile of the packed command, for those who install it from crates.io.
const PROFILE: &str = "\
[profile.release]
opt-level = \"s\"
lto = true
codegen-units = 1
strip = true
";

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
    pack_command()?;
    pack_pre()
}

/// Packs the command again, with a profile: a package takes along only the profiles of its own manifest, and a manifest
/// in a workspace can't have any. `target/packages/jetsink-cli` is the folder to publish from.
fn pack_command() -> Result<()> {
    let folder = folder().join(COMMAND);
    empty(&folder)?;
    unpack(COMMAND, &folder, true)?;
    // Cargo writes both.
    for own in ["Cargo.toml.orig", ".cargo_vcs_info.json"] {
        let own = folder.join(own);
        if own.is_file() {
            fs::remove_file(own)?;
        }
    }
    let manifest = folder.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)?;
    // The folder is in our workspace, to which it does not belong. Cargo leaves the line out of the package.
    fs::write(&manifest, format!("{text}\n[workspace]\n\n{PROFILE}"))?;
    // `install_packed_command` compiles it.
    let mut pack = cargo(&["package", "--quiet", "--allow-dirty", "--no-verify"]);
    for library in dependencies_of_command() {
        pack.arg("--config").arg(patch_of_ours(library));
    }
    pack.current_dir(&folder).env("CARGO_TARGET_DIR", target());
    succeed(&mut pack)
}

/// Our libraries that the command depends on.
fn dependencies_of_command() -> impl Iterator<Item = &'static str> {
    let libraries = LIBRARIES.into_iter();
    libraries.filter(|name| *name != "cellos-sink-jetstream")
}

/// Unpacks a package into a folder, or what its own folder contains.
fn unpack(name: &str, folder: &Path, is_bare: bool) -> Result<PathBuf> {
    let name = format!("{name}-{}", env!("CARGO_PKG_VERSION"));
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--gzip", "--file"])
        .arg(target().join(format!("package/{name}.crate")))
        .arg("--directory")
        .arg(folder);
    if is_bare {
        tar.arg("--strip-components=1");
    }
    succeed(&mut tar)?;
    Ok(folder.join(name))
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
        process::copy(&above.join(part), &copy.join(part))?;
    }
    let manifest = fs::read_to_string(original.join("Cargo.toml"))?;
    let manifest = manifest
        .replace(
            "path = \"../../",
            &format!("path = \"{}/crates/", root().display()),
        )
        .replace("\"../", "\"");
    fs::write(copy.join("Cargo.toml"), manifest)?;
    let mut pack = cargo(&["package", "--quiet", "--allow-dirty"]);
    for library in ["jetsink", "nats-local"] {
        pack.arg("--config").arg(patch_of_ours(library));
    }
    pack.current_dir(&copy).env("CARGO_TARGET_DIR", target());
    succeed(&mut pack)
}

/// Puts a library of the workspace in the place of crates.io.
fn patch_of_ours(library: &str) -> String {
    patch(library, &root().join("crates").join(library))
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
    let mut install = cargo(&["install", "--quiet", "--path"]);
    install
        .arg(unpack(COMMAND, outside, false)?)
        .current_dir(outside);
    for library in dependencies_of_command() {
        let path = unpack(library, outside, false)?;
        install.arg("--config").arg(patch(library, &path));
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
