//! The command as one file that needs nothing of the system it runs on.

use std::process::Command;

use crate::checks::target;
use crate::{cargo, succeed};

const TARGET: &str = "x86_64-unknown-linux-musl";

/// Rust links its own copy of musl; the one C library in the tree (ring's assembly and big numbers)
/// needs no headers of it, so the system's compiler will do.
pub(crate) fn static_build() -> Result<(), String> {
    succeed(Command::new("rustup").args(["target", "add", TARGET]))?;
    succeed(
        cargo(&[
            "build",
            "--locked",
            "--profile",
            "dist",
            "--package",
            "jetsink-cli",
        ])
        .args(["--target", TARGET])
        .env("CC_x86_64_unknown_linux_musl", "cc")
        // glibc's checked versions of memcpy and the like are not in musl.
        .env("CFLAGS_x86_64_unknown_linux_musl", "-U_FORTIFY_SOURCE"),
    )?;
    let binary = target().join(TARGET).join("dist/jetsink");
    succeed(Command::new(&binary).arg("--version"))?;
    let bytes = std::fs::read(&binary).map_err(|e| format!("{}: {e}", binary.display()))?;
    // A dynamic one names the loader that it needs.
    if bytes
        .windows(8)
        .any(|some| some == b"/ld-musl" || some == b"/ld-linu")
    {
        return Err(format!("{} is not static", binary.display()));
    }
    println!("{}, {} bytes", binary.display(), bytes.len());
    Ok(())
}
