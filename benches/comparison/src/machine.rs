//! The machine of a run: versions, processors, load, commit.

use std::process::Command;

use serde::{Deserialize, Serialize};

/// The machine and the versions of a run.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) command: String,
    pub(crate) commit: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) rustc: String,
    pub(crate) nats_server: String,
    /// Packages of Cargo.lock, as "name version".
    pub(crate) packages: Vec<String>,
    /// Over the last minute, before the first scenario and after each.
    pub(crate) loads: Vec<f64>,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        Self {
            date: said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            command: arguments.join(" "),
            commit: commit(),
            processor: processor(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            rustc: said("rustc", &["--version"]),
            nats_server: nats_server(),
            packages: packages(include_str!("../Cargo.lock")),
            loads: load().into_iter().collect(),
        }
    }

    pub(crate) fn note_load(&mut self) {
        self.loads.extend(load());
    }
}

/// The first line that a command prints; empty if it can't be run.
fn said(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).output();
    let text = output.map_or_else(|_| Vec::new(), |output| output.stdout);
    let text = String::from_utf8_lossy(&text);
    text.lines().next().unwrap_or_default().trim().to_owned()
}

fn commit() -> String {
    let folder = env!("CARGO_MANIFEST_DIR");
    let commit = said("git", &["-C", folder, "rev-parse", "--short=10", "HEAD"]);
    let code = [
        "status",
        "--porcelain",
        "--",
        "../../crates",
        "src",
        "Cargo.lock",
    ];
    let changed = said("git", &[&["-C", folder], &code[..]].concat());
    if changed.is_empty() {
        commit
    } else {
        format!("{commit} with changes")
    }
}

fn nats_server() -> String {
    match nats_local::nats_server_binary() {
        Ok(binary) => said(&binary.to_string_lossy(), &["--version"]),
        Err(_) => String::new(),
    }
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find(|line| line.starts_with("model name"));
    let name = model.and_then(|line| line.split_once(':'));
    name.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

fn load() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// The packages whose versions matter to a reader, from a lock file.
fn packages(lock: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines: Vec<&str> = lock.lines().collect();
    for pair in lines.windows(2) {
        let value = |line: &str, key: &str| {
            let value = line.strip_prefix(key)?.strip_prefix(" = \"")?;
            Some(value.strip_suffix('"')?.to_owned())
        };
        if let (Some(name), Some(version)) = (value(pair[0], "name"), value(pair[1], "version"))
            && [
                "jetsink",
                "cellos-sink-jetstream",
                "cellos-core",
                "async-nats",
            ]
            .contains(&&*name)
        {
            found.push(format!("{name} {version}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_holds_both_sinks_and_both_clients() {
        let packages = packages(include_str!("../Cargo.lock"));
        for package in [
            "async-nats 0.48.0",
            "async-nats 0.51.0",
            "cellos-sink-jetstream 0.5.1",
            "cellos-sink-jetstream 0.5.2",
        ] {
            assert!(
                packages.iter().any(|found| found == package),
                "{package}: {packages:?}"
            );
        }
    }
}
