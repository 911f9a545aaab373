//! `cargo xtask lowest-versions`: our libraries with the lowest versions of their dependencies that the manifests allow.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use fs_err as fs;

use crate::checks::PRE;
use crate::process::{cargo, cargo_tool, git, output, root, succeed, target};
use crate::tools;

/// Everything that other programs depend on.
pub(crate) const LIBRARIES: [&str; 5] = [
    "jetsink",
    "jetsink-serve",
    "cellos-sink-jetstream",
    "delivery-audit",
    "nats-local",
];

/// The tests that run: all unit tests, and a broker with logins, a spool, a gateway and the drop-in. The other tests
/// need no further dependency.
const TESTS: [(&str, &[&str]); 4] = [
    ("jetsink", &["--lib", "--test=broker", "--test=logins"]),
    ("jetsink-serve", &["--lib", "--test=listeners"]),
    ("cellos-sink-jetstream", &["--lib", "--test=broker"]),
    ("delivery-audit", &["--lib"]),
];

/// Resolves a copy of the project to the lowest versions, compiles the libraries, and runs their quick tests.
///
/// # Errors
/// A stated version is lower than what another dependency needs, a library does not compile, or a test fails.
pub(crate) fn run() -> Result<()> {
    let copy = copy()?;
    for manifest in ["Cargo.toml", PRE] {
        println!("lowest versions for {manifest}");
        let mut update = in_copy(&copy, &["update", "--quiet"]);
        update
            .args(["-Z", "direct-minimal-versions", "--manifest-path", manifest])
            // The option is unstable; everything below is built by the stable compiler.
            .env("RUSTC_BOOTSTRAP", "1");
        succeed(&mut update)?;
    }
    let packages = LIBRARIES.iter().flat_map(|library| ["--package", library]);
    // A build, whose dependencies the tests share; a check would compile them twice.
    succeed(in_copy(&copy, &["build", "--quiet", "--locked"]).args(packages))?;
    succeed(&mut in_copy(
        &copy,
        &["build", "--quiet", "--locked", "--manifest-path", PRE],
    ))?;
    let nextest = tools::nextest()?;
    for (package, tests) in TESTS {
        let mut run = cargo_tool(&nextest, &["nextest", "run", "--locked", "--package"]);
        run.arg(package).args(tests);
        succeed(with_settings(&mut run, &copy).env("JETSINK_TRIAL_COUNT", "1"))?;
    }
    Ok(())
}

/// Copies the files that git knows. Files of an earlier copy that are unchanged keep their times, so that cargo does
/// not compile them again.
fn copy() -> Result<PathBuf> {
    let copy = target().join("lowest-versions");
    // Sources that were moved or removed since: two files of one module don't compile.
    for folder in ["benches", "crates", "xtask"].map(|folder| copy.join(folder)) {
        if folder.is_dir() {
            remove_files_without_original(&folder, &copy)?;
        }
    }
    let listed = [
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ];
    let listed = output(&mut git(&root(), &listed))?;
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (root().join(name), copy.join(name));
        // Deleted, and not committed.
        let Ok(content) = fs::read(&from) else {
            continue;
        };
        if fs::read(&to).is_ok_and(|old| old == content) {
            continue;
        }
        let folder = to.parent().context("a file has a folder")?;
        fs::create_dir_all(folder)?;
        fs::write(&to, content)?;
    }
    Ok(copy)
}

fn remove_files_without_original(folder: &Path, copy: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_files_without_original(&path, copy)?;
        } else if !root().join(path.strip_prefix(copy)?).exists() {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn in_copy(copy: &Path, arguments: &[&str]) -> Command {
    let mut command = cargo(arguments);
    with_settings(&mut command, copy);
    command
}

/// Dependencies in common with other builds are compiled once.
fn with_settings<'a>(command: &'a mut Command, copy: &Path) -> &'a mut Command {
    command.current_dir(copy).env("CARGO_TARGET_DIR", target())
}
