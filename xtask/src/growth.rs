//! How cost grows, measured and drawn: one picture for each series of the benchmark.

use std::path::Path;

use anyhow::Result;
use fs_err as fs;

use crate::plot;
use crate::process::{cargo, root, succeed, target};

/// Runs the benchmark, and draws its figures into `output`.
///
/// # Errors
/// The benchmark or the drawing fails.
pub(crate) fn pictures(output: &Path) -> Result<()> {
    let figures = target().join("growth.csv");
    let mut bench = cargo(&["bench", "--locked", "--package", "jetsink"]);
    bench.args(["--bench", "growth"]);
    succeed(bench.env("JETSINK_GROWTH_CSV", &figures))?;
    draw(&figures, output)
}

/// Draws figures of an earlier run.
///
/// # Errors
/// The drawing fails.
pub(crate) fn draw(figures: &Path, output: &Path) -> Result<()> {
    fs::create_dir_all(output)?;
    let mut python = plot::python()?;
    python.arg(root().join("xtask/growth.py"));
    succeed(python.args([figures, output]))?;
    println!("{}", output.display());
    Ok(())
}
