//! What operators get in `deploy/`: the alert rules do what they say, and every metric that a rule or
//! the dashboard asks for is one that there is.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use crate::{root, succeed, tools};

pub(crate) fn check() -> Result<(), String> {
    let promtool = prometheus("promtool")?;
    let folder = root().join("deploy/prometheus");
    let run =
        |arguments: &[&str]| succeed(Command::new(&promtool).current_dir(&folder).args(arguments));
    run(&["check", "rules", "jetsink.rules.yml"])?;
    run(&["test", "rules", "jetsink.rules.test.yml"])?;
    // The test `signals` holds the guide against the metrics that there are.
    let guide = metrics_in("docs/operating.md")?;
    for file in [
        "deploy/prometheus/jetsink.rules.yml",
        "deploy/grafana/jetsink.json",
    ] {
        let asked = metrics_in(file)?;
        let unknown: Vec<&String> = asked.difference(&guide).collect();
        if asked.is_empty() || !unknown.is_empty() {
            return Err(format!(
                "{file} asks for metrics that there are not: {unknown:?}"
            ));
        }
        println!("{file}: {} metrics, all of them known", asked.len());
    }
    Ok(())
}

fn metrics_in(file: &str) -> Result<BTreeSet<String>, String> {
    let text = std::fs::read_to_string(root().join(file)).map_err(|e| format!("{file}: {e}"))?;
    let of_a_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let names = text.split(|c: char| !of_a_name(c));
    let metrics = names.filter(|name| name.starts_with("jetsink_"));
    Ok(metrics
        .map(|name| {
            name.trim_end_matches("_bucket")
                .trim_end_matches("_count")
                .to_owned()
        })
        .collect())
}

/// A program of Prometheus: from the variable of its name (`PROMTOOL`, `PROMETHEUS`), else `PATH`, else
/// out of Debian's package, without installing it.
pub(crate) fn prometheus(program: &str) -> Result<PathBuf, String> {
    match tools::here(program) {
        Some(binary) => Ok(binary),
        None => tools::unpacked("prometheus", program).map(|(binary, _)| binary),
    }
}
