//! What operators get in `deploy/`: the alert rules do what they say, and every metric that a rule or
//! the dashboard asks for is one that there is.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use crate::checks::target;
use crate::{root, succeed};

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
    if let Some(path) = std::env::var_os(program.to_uppercase()) {
        return Ok(PathBuf::from(path));
    }
    let on_path = std::env::var_os("PATH").and_then(|path| {
        let mut found = std::env::split_paths(&path).map(|folder| folder.join(program));
        found.find(|candidate| candidate.is_file())
    });
    if let Some(path) = on_path {
        return Ok(path);
    }
    let folder = target().join("tools/prometheus");
    let binary = folder.join("usr/bin").join(program);
    if binary.is_file() {
        return Ok(binary);
    }
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let script = "apt-get -qq download prometheus 2>/dev/null \
                  || { apt-get -qq update && apt-get -qq download prometheus; } \
                  && dpkg -x prometheus_*.deb .";
    let fetched = succeed(Command::new("sh").current_dir(&folder).args(["-c", script]));
    match fetched {
        Ok(()) if binary.is_file() => Ok(binary),
        _ => Err(format!(
            "there is no {program}: install Prometheus, or name it in {}",
            program.to_uppercase()
        )),
    }
}
