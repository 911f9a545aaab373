//! The command as one file that needs no library of the system it runs on.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
use fs_err as fs;

use crate::process::{cargo, succeed, target};

const TARGET: &str = "x86_64-unknown-linux-musl";

/// Builds the file, runs it, and returns its path. Rust links its own copy of musl; the one C library in the tree (ring's assembly and
/// big numbers) needs no headers of it, so the system's compiler is enough.
///
/// # Errors
/// It does not build, does not run, or needs a loader.
pub(crate) fn build() -> Result<PathBuf> {
    succeed(Command::new("rustup").args(["target", "add", TARGET]))?;
    let mut build = cargo(&["build", "--locked", "--profile", "dist"]);
    build
        .args(["--package", "jetsink-cli", "--target", TARGET])
        .env("CC_x86_64_unknown_linux_musl", "cc")
        // musl does not have glibc's checked versions of memcpy and the like.
        .env("CFLAGS_x86_64_unknown_linux_musl", "-U_FORTIFY_SOURCE");
    succeed(&mut build)?;
    let binary = target().join(TARGET).join("dist/jetsink");
    succeed(Command::new(&binary).arg("--version"))?;
    let bytes = fs::read(&binary)?;
    // A dynamic program names its loader.
    let names_a_loader = bytes
        .windows(8)
        .any(|some| some == b"/ld-musl" || some == b"/ld-linu");
    if names_a_loader {
        bail!("{} is not static", binary.display());
    }
    println!("{}, {} bytes", binary.display(), bytes.len());
    Ok(binary)
}
