//! Checks of `deploy/`: the alert rules pass their tests, and every metric in a rule or in the dashboard exists.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
use fs_err as fs;

use crate::process::{root, succeed};
use crate::tools;

/// # Errors
/// A rule is wrong, fails its test, or uses an unknown metric; or promtool can't be fetched.
pub(crate) fn check() -> Result<()> {
    let promtool = prometheus("promtool")?;
    let folder = root().join("deploy/prometheus");
    let run =
        |arguments: &[&str]| succeed(Command::new(&promtool).current_dir(&folder).args(arguments));
    run(&["check", "rules", "jetsink.rules.yml"])?;
    run(&["test", "rules", "jetsink.rules.test.yml"])?;
    // The test `signals` compares the guide with the metrics of the code.
    let mut known = metrics_in("docs/operate/metrics.md")?;
    // A test of the gateway compares its page with its metrics.
    known.extend(metrics_in("docs/serve/README.md")?);
    for file in [
        "deploy/prometheus/jetsink.rules.yml",
        "deploy/grafana/jetsink.json",
    ] {
        let used = metrics_in(file)?;
        let unknown: Vec<&String> = used.difference(&known).collect();
        if used.is_empty() || !unknown.is_empty() {
            bail!("{file} uses metrics that do not exist: {unknown:?}");
        }
        println!("{file}: {} metrics, all of them known", used.len());
    }
    Ok(())
}

fn metrics_in(file: &str) -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(root().join(file))?;
    let in_a_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let names = text.split(|c: char| !in_a_name(c));
    let metrics = names.filter(|name| name.starts_with("jetsink_"));
    Ok(metrics
        .map(|name| {
            name.trim_end_matches("_bucket")
                .trim_end_matches("_count")
                .to_owned()
        })
        .collect())
}

/// A program of Prometheus: from the variable of its name (`PROMTOOL`, `PROMETHEUS`), else `PATH`, else from
/// Debian's package.
pub(crate) fn prometheus(program: &str) -> Result<PathBuf> {
    match tools::installed(program) {
        Some(binary) => Ok(binary),
        None => tools::from_debian("prometheus", program).map(|(binary, _)| binary),
    }
}
