//! Pictures by matplotlib, which pip puts into `target/tools`.

use std::path::PathBuf;
use std::process::Command;

use crate::checks::target;
use crate::succeed;

/// Pinned, for pictures that stay.
const MATPLOTLIB: &str = "matplotlib==3.10.*";

/// Python, with matplotlib to be found.
pub(crate) fn python() -> Result<Command, String> {
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", matplotlib()?);
    Ok(python)
}

fn matplotlib() -> Result<PathBuf, String> {
    let folder = target().join("tools/matplotlib");
    if !folder.join("matplotlib").is_dir() {
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-warn-conflicts",
            "--target",
        ]);
        succeed(pip.arg(&folder).arg(MATPLOTLIB))?;
    }
    Ok(folder)
}
