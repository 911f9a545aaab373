//! `cargo xtask test`: all tests that need nothing but Rust, Python and a nats-server.

use anyhow::Result;
use nats_local::nats_server_binary;

use crate::checks::PRE;
use crate::process::{cargo, cargo_tool, succeed, target};
use crate::tools;

/// Each test may run servers of its own, and memory does not grow with the number of cores.
const MAX_TESTS: usize = 64;

/// Most tests wait for a clock or a server.
const TESTS_PER_CORE: usize = 8;

/// Runs the workspace's tests, and the drop-in's once more against cellos-core 0.8.0-pre. Both build into one
/// folder, so that common dependencies are compiled once.
///
/// # Errors
/// A test fails, or nextest or nats-server can't be fetched.
pub(crate) fn run() -> Result<()> {
    // Now, so that no test waits for the download.
    nats_server_binary()?;
    let nextest = tools::nextest()?;
    for workspace in [&["--workspace"][..], &["--manifest-path", PRE]] {
        let mut tests = cargo_tool(&nextest, &["nextest", "run", "--locked"]);
        tests.args(workspace);
        tests.args(["--test-threads", &threads().to_string()]);
        succeed(tests.env("CARGO_TARGET_DIR", target()))?;
        // nextest does not run the examples in the documentation.
        let mut documentation = cargo(&["test", "--quiet", "--doc", "--locked"]);
        documentation.args(workspace);
        succeed(documentation.env("CARGO_TARGET_DIR", target()))?;
    }
    Ok(())
}

/// The tests that run at a time.
pub(crate) fn threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (TESTS_PER_CORE * cores).min(MAX_TESTS)
}
