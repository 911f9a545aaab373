//! `docs/reliability.md`, from a full run and from nothing else.

use std::process::Command;
use std::time::Duration;

use super::run::Run;
use super::table;
use super::teeth::Bites;
use crate::page::{self, Tree, said};
use crate::{root, succeed};

const TEXT: &str = include_str!("reliability.md");

/// Where it goes.
pub(super) const FILE: &str = "docs/reliability.md";

pub(crate) fn write(
    runs: &[Run],
    teeth: &Bites,
    took: Duration,
    tree: &Tree,
) -> Result<(), String> {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).map_err(|e| e.to_string())?;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let server = nats_local::nats_server_binary().map_err(|e| e.to_string())?;
    let server = said(Command::new(server).arg("--version"))?;
    let values = [
        ("minutes", format!("{:.0}", took.as_secs_f64() / 60.0)),
        ("cores", cores.to_string()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("rustc", said(Command::new("rustc").arg("--version"))?),
        ("nats_server", server.replace("nats-server: ", "")),
        ("async_nats", locked(&lock, "async-nats")?),
        ("table", table::markdown(runs)),
        ("teeth_summary", teeth.summary()),
        ("teeth", teeth.markdown()),
    ];
    page::write(FILE, TEXT, &values, tree)?;
    succeed(
        Command::new("git")
            .current_dir(root())
            .args(["diff", "--stat", "--", FILE]),
    )
}

/// The version of a package in the lock file.
fn locked(lock: &str, package: &str) -> Result<String, String> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name).skip(1);
    let version = lines
        .next()
        .and_then(|line| line.strip_prefix("version = \""));
    let version = version.ok_or_else(|| format!("Cargo.lock has no {package}"))?;
    Ok(version.trim_end_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_comes_from_the_lock_file() {
        let lock = "[[package]]\nname = \"tokio-x\"\nversion = \"1\"\n\n[[package]]\nname = \"tokio\"\nversion = \"4.6.0\"\n";
        assert_eq!(locked(lock, "tokio"), Ok("4.6.0".to_owned()));
        assert!(locked(lock, "toki").is_err());
    }
}
