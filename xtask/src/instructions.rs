//! Instructions per event, counted by valgrind and compared with `benches/instructions.json`.
//!
//! Why not by a library: docs/decisions/0011-counted-instructions.md.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use fs_err as fs;
use serde_json::{Value, json};

use crate::process::{cargo, output, root, succeed, target};
use crate::tools;

const FIGURES: &str = "benches/instructions.json";

const WORKLOADS: [&str; 7] = [
    "envelope",
    "rejected",
    "drop-in-rejected",
    "emit",
    "pipeline",
    // Through the client, against a real nats-server, whose own instructions are not counted.
    "nats-emit",
    "nats-pipeline",
];

/// The numbers of events of the two runs of a workload; both prepare the larger number. Random differences (hash
/// seeds, reads from a socket) are then less than a thousandth per event.
const FEW: u64 = 1_000;
const MANY: u64 = 3_000;

/// The allowed difference from the file, in percent.
const ALLOWED: f64 = 5.0;

type Figures = BTreeMap<String, u64>;

/// # Errors
/// An event costs over 5 % more than in the file, or valgrind can't be fetched.
pub(crate) fn check() -> Result<()> {
    let text = fs::read_to_string(root().join(FIGURES))?;
    let file: Value = serde_json::from_str(&text).context(FIGURES)?;
    let counted = count()?;
    let (mut more, mut less) = (Vec::new(), Vec::new());
    println!(
        "instructions per event\n{:<18} {:>9} {:>9}",
        "", "counted", "file"
    );
    for (workload, instructions) in &counted {
        let Some(expected) = file["instructions_per_event"][workload].as_u64() else {
            bail!("{FIGURES} has no {workload:?}: cargo xtask instructions --write");
        };
        let change = percent(*instructions, expected);
        let verdict = if change > ALLOWED {
            more.push(workload.as_str());
            "MORE"
        } else if change < -ALLOWED {
            less.push(workload.as_str());
            "less"
        } else {
            ""
        };
        let line =
            format!("{workload:<18} {instructions:>9} {expected:>9} {change:>+7.1} % {verdict}");
        println!("{}", line.trim_end());
    }
    if !less.is_empty() {
        println!(
            "{}: update the file: cargo xtask instructions --write",
            less.join(", ")
        );
    }
    if more.is_empty() {
        return Ok(());
    }
    let (then, now) = (&file["rustc"], rustc()?);
    let mut compilers = String::new();
    if *then != now.as_str() {
        compilers = format!(
            "; the file's figures come from {then}, these from {now:?}: if the compiler is the cause, \
             cargo xtask instructions --write"
        );
    }
    let more = more.join(", ");
    bail!("{more} cost over {ALLOWED} % more than in {FIGURES}{compilers}");
}

/// Counts, and writes the file.
///
/// # Errors
/// A workload does not run, or valgrind can't be fetched.
pub(crate) fn write() -> Result<()> {
    let figures = json!({ "rustc": rustc()?, "instructions_per_event": count()? });
    let text = format!("{figures:#}\n");
    fs::write(root().join(FIGURES), &text)?;
    print!("{text}");
    Ok(())
}

#[allow(clippy::cast_precision_loss)]
fn percent(counted: u64, expected: u64) -> f64 {
    100.0 * (counted as f64 / expected.max(1) as f64 - 1.0)
}

fn count() -> Result<Figures> {
    let valgrind = Valgrind::find()?;
    let build = ["build", "--quiet", "--release", "--locked", "--package"];
    succeed(cargo(&build).arg("instructions"))?;
    let program = target().join("release/instructions");
    let mut figures = Figures::new();
    for workload in WORKLOADS {
        let few = valgrind.count(&program, workload, FEW)?;
        let many = valgrind.count(&program, workload, MANY)?;
        let per_event = many.saturating_sub(few) / (MANY - FEW);
        figures.insert(workload.to_owned(), per_event);
    }
    Ok(figures)
}

fn rustc() -> Result<String> {
    output(Command::new("rustc").arg("--version").current_dir(root()))
}

struct Valgrind {
    program: PathBuf,
    /// The folder of its tools, unless they are in their usual place.
    library: Option<PathBuf>,
}

impl Valgrind {
    /// From the variable `VALGRIND`, else `PATH`, else from Debian's package.
    fn find() -> Result<Self> {
        if let Some(program) = tools::installed("valgrind") {
            return Ok(Self {
                program,
                library: None,
            });
        }
        let (program, folder) = tools::from_debian("valgrind", "valgrind")?;
        let folders = ["usr/libexec/valgrind", "usr/lib/x86_64-linux-gnu/valgrind"];
        let mut folders = folders.iter().map(|within| folder.join(within));
        let library = folders.find(|library| library.is_dir());
        Ok(Self { program, library })
    }

    /// The instructions of one run. Cachegrind without its caches only counts: all threads, no children.
    fn count(&self, program: &Path, workload: &str, done: u64) -> Result<u64> {
        let log = target().join("instructions.log");
        let mut command = Command::new(&self.program);
        if let Some(library) = &self.library {
            command.env("VALGRIND_LIB", library);
        }
        command
            .args(["--tool=cachegrind", "--cache-sim=no"])
            .args(["--cachegrind-out-file=/dev/null"])
            .args(["--child-silent-after-fork=yes"])
            .arg(format!("--log-file={}", log.display()))
            .arg(program)
            .args([workload, &MANY.to_string(), &done.to_string()]);
        let status = command.status();
        let status = status.with_context(|| self.program.display().to_string())?;
        let text = fs::read_to_string(&log).unwrap_or_default();
        let counted = status.success().then(|| instructions(&text)).flatten();
        counted.with_context(|| format!("valgrind, {workload}: {status}\n{text}"))
    }
}

/// The figure of the line `==7== I   refs:      1,234,567`.
fn instructions(log: &str) -> Option<u64> {
    let mut lines = log.lines().filter(|line| line.contains("refs:"));
    let figure = lines.find_map(|line| line.split("I ").nth(1)?.split("refs:").nth(1))?;
    figure.trim().replace(',', "").parse().ok()
}

#[cfg(test)]
#[path = "tests/instructions.rs"]
mod tests;
