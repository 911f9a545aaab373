//! How cost grows, measured and drawn: one picture for each series of the benchmark.

use std::path::Path;

use crate::checks::target;
use crate::{cargo, plot, root, succeed};

/// Runs the benchmark, and draws its figures into `output`.
pub(crate) fn pictures(output: &Path) -> Result<(), String> {
    let figures = target().join("growth.csv");
    let mut bench = cargo(&["bench", "--locked", "--package", "jetsink"]);
    bench.args(["--bench", "growth"]);
    succeed(bench.env("JETSINK_GROWTH_CSV", &figures))?;
    draw(&figures, output)
}

/// Draws figures that were measured before.
pub(crate) fn draw(figures: &Path, output: &Path) -> Result<(), String> {
    std::fs::create_dir_all(output).map_err(|e| format!("{}: {e}", output.display()))?;
    let mut python = plot::python()?;
    python.arg(root().join("xtask/growth.py"));
    succeed(python.args([figures, output]))?;
    println!("{}", output.display());
    Ok(())
}
