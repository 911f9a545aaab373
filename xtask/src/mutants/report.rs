//! The outcomes of a run, and `docs/evidence/mutants.md`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use fs_err as fs;
use minijinja::value::Serde;
use minijinja::{Value as Values, context};
use serde::Serialize;
use serde_json::Value;

use super::VERSION;
use crate::page::{self, Tree};

const PAGE: &str = include_str!("mutants.md");

pub(super) const FILE: &str = "docs/evidence/mutants.md";

/// Left out of every name on the page.
const FOLDER: &str = "crates/jetsink/src/";

/// The end of each mutant, by its name.
#[derive(Debug, Default)]
pub(super) struct Outcomes(BTreeMap<String, End>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Caught,
    /// Its tests do not end, so it cannot be overlooked.
    TimedOut,
    DoesNotCompile,
    Missed,
}

#[derive(Debug, Default, Serialize)]
struct Counts {
    caught: usize,
    timed_out: usize,
    unviable: usize,
    missed: usize,
}

impl Counts {
    fn add(&mut self, end: End) {
        match end {
            End::Caught => self.caught += 1,
            End::TimedOut => self.timed_out += 1,
            End::DoesNotCompile => self.unviable += 1,
            End::Missed => self.missed += 1,
        }
    }
}

impl Outcomes {
    pub(super) fn read(file: &Path) -> Result<Self> {
        let outcomes: Value = serde_json::from_str(&fs::read_to_string(file)?)
            .with_context(|| file.display().to_string())?;
        Ok(Self::of(&outcomes))
    }

    fn of(outcomes: &Value) -> Self {
        let outcomes = outcomes["outcomes"].as_array().into_iter().flatten();
        // The run of the unchanged tree has no name.
        let named = outcomes.filter_map(|outcome| {
            let name = outcome["scenario"]["Mutant"]["name"].as_str()?;
            let end = match outcome["summary"].as_str()? {
                "CaughtMutant" => End::Caught,
                "Timeout" => End::TimedOut,
                "Unviable" => End::DoesNotCompile,
                // A failure of cargo-mutants itself included: no test caught it.
                _ => End::Missed,
            };
            Some((name.to_owned(), end))
        });
        Self(named.collect())
    }

    pub(super) fn missed(&self) -> Vec<&str> {
        let missed = self.0.iter().filter(|(_, end)| **end == End::Missed);
        missed.map(|(name, _)| name.as_str()).collect()
    }

    pub(super) fn caught(&self) -> Vec<&str> {
        let caught = |end: &End| matches!(end, End::Caught | End::TimedOut);
        let caught = self.0.iter().filter(|(_, end)| caught(end));
        caught.map(|(name, _)| name.as_str()).collect()
    }

    pub(super) fn summary(&self) -> String {
        let mut total = Counts::default();
        self.0.values().for_each(|end| total.add(*end));
        format!(
            "{} mutants: {} caught by a failing test, {} by a test that does not end, {} do not compile, {} missed",
            self.0.len(),
            total.caught,
            total.timed_out,
            total.unviable,
            total.missed
        )
    }

    fn by_file(&self) -> BTreeMap<&str, Counts> {
        let mut counts = BTreeMap::<&str, Counts>::new();
        for (name, end) in &self.0 {
            let name = name.trim_start_matches(FOLDER);
            let file = name.split(':').next().unwrap_or(name);
            counts.entry(file).or_default().add(*end);
        }
        counts
    }
}

/// Writes the page, with each excused mutant and its reason.
///
/// # Errors
/// As [`page::write`].
pub(super) fn write(outcomes: &Outcomes, excused: &[(&str, &str)], tree: &Tree) -> Result<()> {
    page::write(FILE, PAGE, values(outcomes, excused), tree)
}

fn values(outcomes: &Outcomes, excused: &[(&str, &str)]) -> Values {
    let row = |(name, reason): &(&str, &str)| {
        let name = without_place(name.trim_start_matches(FOLDER));
        context! { name, reason => *reason }
    };
    let files = outcomes.by_file();
    let files = files
        .iter()
        .map(|(file, counts)| context! { name => *file, counts => Serde(counts) });
    context! {
        version => VERSION,
        summary => outcomes.summary(),
        files => files.collect::<Vec<_>>(),
        excused => excused.iter().map(row).collect::<Vec<_>>(),
    }
}

/// `FILE:LINE:COLUMN: CHANGE` as `FILE: CHANGE`, so that the page does not change with lines elsewhere in the file.
fn without_place(name: &str) -> String {
    match name.splitn(4, ':').collect::<Vec<_>>().as_slice() {
        [file, _, _, change] => format!("{file}:{change}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
#[path = "tests/report.rs"]
mod tests;
