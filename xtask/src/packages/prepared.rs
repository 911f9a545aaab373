//! The other contents of a package: manual pages, completions, and the list of its components (SBOM).

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use fs_err as fs;
use serde_json::Value;

use super::folder;
use crate::process::{cargo_tool, empty, git, output, root, succeed};
use crate::tools;

const CYCLONEDX: (&str, &str) = ("cargo-cyclonedx", "0.5.9");

/// Fills the folder from which the packages are made.
///
/// # Errors
/// The program does not write its files, or the list of components lacks one.
pub(super) fn prepare(program: &Path) -> Result<()> {
    let folder = folder();
    for part in ["bin", "man", "completions"] {
        empty(&folder.join(part))?;
    }
    fs::copy(program, folder.join("bin/jetsink"))?;
    let man = folder.join("man");
    succeed(Command::new(program).args(["man", "--directory"]).arg(&man))?;
    for page in fs::read_dir(&man)? {
        // Without a time in it, so that the same page is the same file.
        succeed(Command::new("gzip").args(["-9", "-n"]).arg(page?.path()))?;
    }
    for (shell, file) in [
        ("bash", "jetsink"),
        ("zsh", "_jetsink"),
        ("fish", "jetsink.fish"),
    ] {
        let script = output(Command::new(program).args(["completions", shell]))?;
        fs::write(folder.join("completions").join(file), script + "\n")?;
    }
    components()
}

/// Writes the SBOM of the command, in CycloneDX.
fn components() -> Result<()> {
    let (name, version) = CYCLONEDX;
    let tool = tools::from_crates_io(name, version)?;
    let package = root().join("crates/jetsink-cli");
    let mut list = cargo_tool(
        &tool,
        &[
            "cyclonedx",
            "--quiet",
            "--format",
            "json",
            "--describe",
            "binaries",
        ],
    );
    list.args([
        "--target",
        "x86_64-unknown-linux-musl",
        "--spec-version",
        "1.5",
        "--manifest-path",
    ])
    .arg(package.join("Cargo.toml"));
    succeed(&mut list)?;
    let written = package.join("jetsink_bin.cdx.json");
    let text = fs::read_to_string(&written)?;
    remove_lists()?;
    let list: Value = serde_json::from_str(&text)?;
    let components = list["components"].as_array().context("no components")?;
    for needed in ["jetsink", "async-nats", "tokio", "rustls", "ring"] {
        let found = components
            .iter()
            .any(|component| component["name"] == needed);
        ensure!(found, "the list of components lacks {needed}");
    }
    fs::write(folder().join("jetsink.cdx.json"), text)?;
    println!("{} components", components.len());
    Ok(())
}

/// The tool writes a list into the folder of each package.
fn remove_lists() -> Result<()> {
    let lists = [
        "ls-files",
        "-z",
        "--others",
        "--exclude-standard",
        "*.cdx.json",
    ];
    let lists = output(&mut git(&root(), &lists))?;
    for list in lists.split('\0').filter(|list| !list.is_empty()) {
        fs::remove_file(root().join(list))?;
    }
    Ok(())
}
