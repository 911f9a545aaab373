//! A crate's examples, as programs to run.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::FixtureError;

/// The program of an example of the package in `package` (`env!("CARGO_MANIFEST_DIR")`).
///
/// `cargo test` builds the examples beside the tests. `cargo test --test NAME` doesn't, so one that is
/// missing, or older than its source, is built here.
///
/// # Errors
/// [`FixtureError::Io`], and [`FixtureError::Example`] where it does not build.
pub fn example(package: &str, name: &str) -> Result<PathBuf, FixtureError> {
    let what = || format!("example {name}");
    let test = std::env::current_exe().map_err(FixtureError::io(what()))?;
    // target/PROFILE/deps/TEST
    let folder = test.ancestors().nth(2).unwrap_or(Path::new("."));
    let program = folder.join("examples").join(name);
    let source = Path::new(package)
        .join("examples")
        .join(format!("{name}.rs"));
    let changed = source.metadata().and_then(|m| m.modified());
    let changed = changed.map_err(FixtureError::io(source.display().to_string()))?;
    let built = program.metadata().and_then(|m| m.modified());
    if built.is_ok_and(|built| built >= changed) {
        return Ok(program);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let mut build = Command::new(cargo);
    build
        .args(["build", "--quiet", "--example", name])
        .current_dir(package);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let status = build.status().map_err(FixtureError::io(what()))?;
    if !status.success() || !program.exists() {
        return Err(FixtureError::Example(name.to_owned()));
    }
    Ok(program)
}
