//! What became of each mutant. cargo-mutants forgets at each pass what it does not try again.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// What cargo-mutants calls a mutant whose tests never end: nobody can miss it.
const TIMEOUT: &str = "Timeout";

/// Kept in a file, so that a run can go on where it was interrupted.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: PathBuf,
    /// By the mutant's name with its place.
    ends: BTreeMap<String, String>,
}

/// How many ended so.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) caught: usize,
    pub(crate) timed_out: usize,
    /// Those that do not compile.
    pub(crate) unviable: usize,
    pub(crate) missed: usize,
}

impl Counts {
    fn of(end: &str) -> Self {
        let mut one = Self::default();
        one.add(end);
        one
    }

    fn add(&mut self, end: &str) {
        match end {
            "CaughtMutant" => self.caught += 1,
            TIMEOUT => self.timed_out += 1,
            "Unviable" => self.unviable += 1,
            // Whatever else it is called, nobody caught it.
            _ => self.missed += 1,
        }
    }
}

impl Ledger {
    pub(crate) fn open(file: PathBuf) -> Result<Self, String> {
        let ends = if file.exists() {
            serde_json::from_value(json(&file)?).map_err(|e| format!("{}: {e}", file.display()))?
        } else {
            BTreeMap::new()
        };
        Ok(Self { file, ends })
    }

    /// Adds what cargo-mutants left in `folder`, where there is anything.
    pub(crate) fn take_from(&mut self, folder: &Path) -> Result<(), String> {
        let outcomes = folder.join("mutants.out/outcomes.json");
        if outcomes.exists() {
            self.add(&json(&outcomes)?);
        }
        let text = serde_json::json!(self.ends).to_string();
        std::fs::write(&self.file, text).map_err(|e| format!("{}: {e}", self.file.display()))
    }

    /// Has cargo-mutants leave out what no test missed: it forgets that of a run that was interrupted, and
    /// would try what never ended again and again.
    pub(crate) fn leave_out(&self, folder: &Path) -> Result<(), String> {
        let file = folder.join("mutants.out/previously_caught.txt");
        let told = |e: std::io::Error| format!("{}: {e}", file.display());
        let noticed = self
            .ends
            .iter()
            .filter(|(_, end)| Counts::of(end).missed == 0);
        let lines: String = noticed.map(|(name, _)| format!("{name}\n")).collect();
        std::fs::create_dir_all(folder.join("mutants.out")).map_err(told)?;
        std::fs::write(&file, lines).map_err(told)
    }

    fn add(&mut self, outcomes: &Value) {
        for outcome in outcomes["outcomes"].as_array().into_iter().flatten() {
            let name = outcome["scenario"]["Mutant"]["name"].as_str();
            // What has no name is the run of the unchanged tree.
            if let (Some(name), Some(end)) = (name, outcome["summary"].as_str()) {
                self.ends.insert(name.to_owned(), end.to_owned());
            }
        }
    }

    /// Forgets what is no mutant of the tree any more.
    pub(crate) fn keep_only(&mut self, names: &HashSet<String>) {
        self.ends.retain(|name, _| names.contains(name));
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// By file.
    pub(crate) fn counts(&self) -> BTreeMap<&str, Counts> {
        let mut counts = BTreeMap::<&str, Counts>::new();
        for (name, end) in &self.ends {
            let file = name.split(':').next().unwrap_or(name);
            counts.entry(file).or_default().add(end);
        }
        counts
    }

    pub(crate) fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.ends.values().for_each(|end| total.add(end));
        total
    }

    pub(crate) fn summary(&self) -> String {
        let total = self.total();
        format!(
            "{} mutants: {} caught by a failing test, {} by one that does not end, {} do not compile, {} survived",
            self.ends.len(),
            total.caught,
            total.timed_out,
            total.unviable,
            total.missed
        )
    }

    /// Which of them no test noticed, without their places, each with how many are alike.
    pub(crate) fn survivors(&self) -> BTreeMap<String, usize> {
        let mut survivors = BTreeMap::new();
        for (name, end) in &self.ends {
            if Counts::of(end).missed > 0 {
                *survivors.entry(without_place(name)).or_default() += 1;
            }
        }
        survivors
    }
}

/// `file:line:column: change` as `file: change`, which other lines above it do not alter.
fn without_place(name: &str) -> String {
    match name.splitn(4, ':').collect::<Vec<_>>().as_slice() {
        [file, _, _, change] => format!("{file}:{change}"),
        _ => name.to_owned(),
    }
}

fn json(file: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    serde_json::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_end_of_a_mutant_counts_and_its_place_does_not() {
        let mut ledger = Ledger {
            file: PathBuf::new(),
            ends: BTreeMap::new(),
        };
        let outcome = |name: &str, end: &str| serde_json::json!({"scenario": {"Mutant": {"name": name}}, "summary": end});
        let change = "replace < with <= in A::b::<C>";
        let name = |line: u32| format!("src/a.rs:{line}:1: {change}");
        ledger.add(&serde_json::json!({"outcomes": [
            {"scenario": "Baseline", "summary": "Success"},
            outcome(&name(1), "MissedMutant"),
            outcome(&name(2), "MissedMutant"),
            outcome(&name(3), "CaughtMutant"),
            outcome("src/b.rs:1:1: replace b with ()", "Timeout"),
        ]}));
        let survivor = format!("src/a.rs: {change}");
        assert_eq!(ledger.survivors(), BTreeMap::from([(survivor.clone(), 2)]));
        ledger.add(&serde_json::json!({"outcomes": [outcome(&name(2), "CaughtMutant")]}));
        assert_eq!(ledger.survivors(), BTreeMap::from([(survivor, 1)]));
        let of_a = ledger.counts()["src/a.rs"];
        assert_eq!((of_a.caught, of_a.missed), (2, 1));
        assert_eq!(ledger.total().timed_out, 1);
        ledger.keep_only(&HashSet::from([name(3)]));
        assert_eq!((ledger.total().caught, ledger.len()), (1, 1));
    }
}
