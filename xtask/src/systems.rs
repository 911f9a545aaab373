//! `cargo xtask systems`: the code compiles for other systems than this one.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::checks::PRE;
use crate::process::{cargo_tool, path_with, succeed, target};
use crate::tools;

/// Compiles the C code of ring for any system; it comes with zig, whose compiler has the headers of all of them.
const ZIGBUILD: &str = "cargo-zigbuild==0.24.0";

/// The packages that compile for every system: the libraries, and the command. The gateway and the local servers are for Unix only.
const EVERYWHERE: [&str; 4] = [
    "jetsink",
    "cellos-sink-jetstream",
    "delivery-audit",
    "jetsink-cli",
];
const ON_UNIX: [&str; 2] = ["jetsink-serve", "nats-local"];

const TARGETS: [&str; 3] = [
    "x86_64-pc-windows-gnu",
    "aarch64-apple-darwin",
    "x86_64-apple-darwin",
];

/// # Errors
/// A crate does not compile, or a tool or target can't be fetched.
pub(crate) fn run() -> Result<()> {
    let tools = tools::from_pypi(ZIGBUILD, true)?;
    for system in TARGETS {
        println!("{system}");
        succeed(Command::new("rustup").args(["target", "add", system]))?;
        let unix: &[&str] = if system.contains("windows") {
            &[]
        } else {
            &ON_UNIX
        };
        let packages = EVERYWHERE.iter().chain(unix);
        let packages: Vec<&str> = packages
            .flat_map(|package| ["--package", package])
            .collect();
        succeed(check(&tools, system)?.args(packages))?;
        succeed(check(&tools, system)?.args(["--manifest-path", PRE]))?;
    }
    Ok(())
}

fn check(tools: &Path, system: &str) -> Result<Command> {
    let program = tools.join("bin/cargo-zigbuild");
    let mut check = cargo_tool(
        &program,
        &["check", "--quiet", "--locked", "--target", system],
    );
    check
        .env("PATH", path_with(&program)?)
        // The package ziglang is a module, too.
        .env("PYTHONPATH", tools)
        .env("CARGO_TARGET_DIR", target());
    Ok(check)
}
