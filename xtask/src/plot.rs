//! Pictures by matplotlib.

use std::process::Command;

use anyhow::Result;

use crate::tools;

/// Pinned, so that a picture changes only with its figures.
const MATPLOTLIB: &str = "matplotlib==3.10.*";

/// Python, with matplotlib in its path.
///
/// # Errors
/// pip fails.
pub(crate) fn python() -> Result<Command> {
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", tools::from_pypi(MATPLOTLIB, true)?);
    Ok(python)
}
