//! Other programs, and the folders of this project.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context as _, Result, bail};
use fs_err as fs;

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    folder.parent().unwrap_or(folder).to_owned()
}

/// The folder of everything that is built or fetched.
pub(crate) fn target() -> PathBuf {
    // Programs run in other folders than this one.
    let variable = std::env::var_os("CARGO_TARGET_DIR").map(std::path::absolute);
    variable
        .and_then(Result::ok)
        .unwrap_or_else(|| root().join("target"))
}

/// Cargo, in the root of the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    cargo_tool(Path::new(env!("CARGO")), arguments)
}

/// A program that runs cargo, in the root of the workspace.
pub(crate) fn cargo_tool(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    if std::env::var_os("CARGO_TARGET_DIR").is_some() {
        command.env("CARGO_TARGET_DIR", target());
    }
    // The variables of the package xtask: a build script that reads one of them would run again, and its
    // dependents would be compiled again.
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&variable);
        }
    }
    command
}

/// `PATH` with the folder of a program first.
///
/// # Errors
/// A folder's name contains a colon.
pub(crate) fn path_with(program: &Path) -> Result<OsString> {
    let folder = program.parent().map(Path::to_owned);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = folder.into_iter().chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(folders)?)
}

/// Makes a folder empty; creates it if it is missing.
///
/// # Errors
/// The folder can't be removed or created.
pub(crate) fn empty(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        fs::remove_dir_all(folder)?;
    }
    Ok(fs::create_dir_all(folder)?)
}

/// Copies a file, or a folder with everything in it. A link is copied as the file that it leads to.
///
/// # Errors
/// Something can't be read or written.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        fs::copy(from, to)?;
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Git, in a folder.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.current_dir(folder).args(arguments);
    command
}

/// Runs a command with its output shown.
///
/// # Errors
/// The command can't be run, or fails.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| shown.clone())?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// The standard output of a command, without white space around it.
///
/// # Errors
/// The command can't be run, or fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command.output().with_context(|| shown.clone())?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{shown}: {}\n{}", output.status, errors.trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The program and its arguments, for messages.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// A child process that is killed when this value is dropped.
pub(crate) struct Guarded(pub(crate) Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The `jetsink` command from the build of the tests. A release build would take minutes more.
///
/// # Errors
/// It does not build.
pub(crate) fn jetsink_command() -> Result<PathBuf> {
    let build = ["build", "--quiet", "--locked", "--package", "jetsink-cli"];
    succeed(&mut cargo(&build))?;
    Ok(target().join("debug/jetsink"))
}
