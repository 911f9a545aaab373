//! Instructions per event, counted by valgrind and held against `benches/instructions.json`.
//!
//! Why not by a library: docs/decisions/0011-counted-instructions.md.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::checks::target;
use crate::{cargo, root, succeed, tools};

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

/// Done in one run and in the other; both make ready the larger number. Enough that what differs by
/// chance (seeds of hash tables, how often a socket is read) is less than a thousandth for each event.
const FEW: u64 = 1_000;
const MANY: u64 = 3_000;

/// How far a count may be from the file's, in percent.
const ALLOWED: f64 = 5.0;

type Figures = BTreeMap<String, u64>;

/// Counts, and fails where an event costs more than the file says.
pub(crate) fn check() -> Result<(), String> {
    let text = std::fs::read_to_string(root().join(FIGURES));
    let text = text.map_err(|e| format!("{FIGURES}: {e}"))?;
    let file: Value = serde_json::from_str(&text).map_err(|e| format!("{FIGURES}: {e}"))?;
    let counted = count()?;
    let (mut more, mut less) = (Vec::new(), Vec::new());
    println!(
        "instructions per event\n{:<18} {:>9} {:>9}",
        "", "counted", "file"
    );
    for (workload, instructions) in &counted {
        let Some(expected) = file["instructions_per_event"][workload].as_u64() else {
            return Err(format!(
                "{FIGURES} has no {workload:?}: cargo xtask instructions --write"
            ));
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
            "{}: keep it, lower the file: cargo xtask instructions --write",
            less.join(", ")
        );
    }
    if more.is_empty() {
        return Ok(());
    }
    let mut reason = format!(
        "{} cost over {ALLOWED} % more than in {FIGURES}",
        more.join(", ")
    );
    let (then, now) = (&file["rustc"], rustc()?);
    if *then != now.as_str() {
        reason += &format!(
            "; that was taken with {then}, this is {now:?}: where the code is not the cause, \
             cargo xtask instructions --write"
        );
    }
    Err(reason)
}

/// Counts, and writes the file.
pub(crate) fn write() -> Result<(), String> {
    let figures = json!({ "rustc": rustc()?, "instructions_per_event": count()? });
    let text = format!("{figures:#}\n");
    std::fs::write(root().join(FIGURES), &text).map_err(|e| format!("{FIGURES}: {e}"))?;
    print!("{text}");
    Ok(())
}

#[allow(clippy::cast_precision_loss)]
fn percent(counted: u64, expected: u64) -> f64 {
    100.0 * (counted as f64 / expected.max(1) as f64 - 1.0)
}

fn count() -> Result<Figures, String> {
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

fn rustc() -> Result<String, String> {
    let output = Command::new("rustc")
        .arg("--version")
        .current_dir(root())
        .output();
    let output = output.map_err(|e| format!("rustc: {e}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

struct Valgrind {
    program: PathBuf,
    /// Where its tools are, if not where it was built for.
    library: Option<PathBuf>,
}

impl Valgrind {
    /// From the variable `VALGRIND`, else `PATH`, else out of Debian's package, without installing it.
    fn find() -> Result<Self, String> {
        if let Some(program) = tools::here("valgrind") {
            return Ok(Self {
                program,
                library: None,
            });
        }
        let (program, folder) = tools::unpacked("valgrind", "valgrind")?;
        let folders = ["usr/libexec/valgrind", "usr/lib/x86_64-linux-gnu/valgrind"];
        let mut folders = folders.iter().map(|within| folder.join(within));
        let library = folders.find(|library| library.is_dir());
        Ok(Self { program, library })
    }

    /// The instructions of one run. Cachegrind without its caches does nothing but count, all threads,
    /// no children.
    fn count(&self, program: &Path, workload: &str, done: u64) -> Result<u64, String> {
        let log = target().join("instructions.log");
        let mut command = Command::new(&self.program);
        if let Some(library) = &self.library {
            command.env("VALGRIND_LIB", library);
        }
        command
            .args([
                "--tool=cachegrind",
                "--cache-sim=no",
                "--cachegrind-out-file=/dev/null",
            ])
            .arg("--child-silent-after-fork=yes")
            .arg(format!("--log-file={}", log.display()))
            .arg(program)
            .args([workload, &MANY.to_string(), &done.to_string()]);
        let status = command.status();
        let status = status.map_err(|e| format!("{}: {e}", self.program.display()))?;
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let counted = status.success().then(|| instructions(&text)).flatten();
        counted.ok_or_else(|| format!("valgrind, {workload}: {status}\n{text}"))
    }
}

/// Out of the line `==7== I   refs:      1,234,567`.
fn instructions(log: &str) -> Option<u64> {
    let mut lines = log.lines().filter(|line| line.contains("refs:"));
    let figure = lines.find_map(|line| line.split("I ").nth(1)?.split("refs:").nth(1))?;
    figure.trim().replace(',', "").parse().ok()
}
