//! What became of each mutant. cargo-mutants forgets at each pass what it does not try again.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::survivors::Survivor;

/// What cargo-mutants calls a mutant whose tests never end: nobody can miss it.
const TIMEOUT: &str = "Timeout";

/// What it calls a mutant that no test of a pass notices, and what that is called here after the last pass.
const MISSED: &str = "MissedMutant";
const SURVIVED: &str = "Survived";

/// Kept in a file, so that a run can go on where it was interrupted.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: PathBuf,
    /// By the mutant's name with its place.
    ends: BTreeMap<String, String>,
    /// In this run.
    tried: HashSet<String>,
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
        let tried = HashSet::new();
        Ok(Self { file, ends, tried })
    }

    /// Adds what cargo-mutants left in `folder`, where there is anything.
    pub(crate) fn take_from(&mut self, folder: &Path) -> Result<(), String> {
        let outcomes = folder.join("mutants.out/outcomes.json");
        if outcomes.exists() {
            self.add(&json(&outcomes)?);
        }
        self.save()
    }

    /// What is there is of earlier runs.
    pub(crate) fn begin_run(&mut self) {
        self.tried.clear();
    }

    /// How many only earlier runs have tried.
    pub(crate) fn of_earlier_runs(&self) -> usize {
        let names = self.ends.keys();
        names.filter(|name| !self.tried.contains(*name)).count()
    }

    /// What is still missed was missed by all tests.
    pub(crate) fn end_last_pass(&mut self) -> Result<(), String> {
        self.call_survivors_so();
        self.save()
    }

    fn call_survivors_so(&mut self) {
        for end in self.ends.values_mut().filter(|end| *end == MISSED) {
            SURVIVED.clone_into(end);
        }
    }

    fn save(&self) -> Result<(), String> {
        let text = serde_json::json!(self.ends).to_string();
        std::fs::write(&self.file, text).map_err(|e| format!("{}: {e}", self.file.display()))
    }

    /// Has cargo-mutants leave out what no test missed: it forgets that of a run that was interrupted, and
    /// would try what never ended again and again. And what survived an earlier run, if there is a reason.
    pub(crate) fn leave_out(&self, folder: &Path, listed: &[Survivor]) -> Result<(), String> {
        let file = folder.join("mutants.out/previously_caught.txt");
        let told = |e: std::io::Error| format!("{}: {e}", file.display());
        let lines: String = self
            .left_out(listed)
            .map(|name| format!("{name}\n"))
            .collect();
        std::fs::create_dir_all(folder.join("mutants.out")).map_err(told)?;
        std::fs::write(&file, lines).map_err(told)
    }

    fn left_out(&self, listed: &[Survivor]) -> impl Iterator<Item = &str> {
        let left_out = self.ends.iter().filter(|(name, end)| match end.as_str() {
            SURVIVED => listed.iter().any(|s| s.mutant == without_place(name)),
            end => Counts::of(end).missed == 0,
        });
        left_out.map(|(name, _)| name.as_str())
    }

    fn add(&mut self, outcomes: &Value) {
        for outcome in outcomes["outcomes"].as_array().into_iter().flatten() {
            let name = outcome["scenario"]["Mutant"]["name"].as_str();
            // What has no name is the run of the unchanged tree.
            let (Some(name), Some(end)) = (name, outcome["summary"].as_str()) else {
                continue;
            };
            self.tried.insert(name.to_owned());
            // It goes on surviving.
            if end != MISSED || self.ends.get(name).is_none_or(|before| before != SURVIVED) {
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

    fn empty() -> Ledger {
        Ledger {
            file: PathBuf::new(),
            ends: BTreeMap::new(),
            tried: HashSet::new(),
        }
    }

    fn outcome(name: &str, end: &str) -> Value {
        serde_json::json!({"scenario": {"Mutant": {"name": name}}, "summary": end})
    }

    #[test]
    fn the_last_end_of_a_mutant_counts_and_its_place_does_not() {
        let mut ledger = empty();
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

    #[test]
    fn what_survived_all_passes_is_tried_again_unless_there_is_a_reason() {
        let mut ledger = empty();
        let outcomes = serde_json::json!({"outcomes": [
            outcome("a.rs:1:1: a", MISSED),
            outcome("a.rs:2:1: b", MISSED),
            outcome("a.rs:3:1: c", "CaughtMutant"),
        ]});
        ledger.add(&outcomes);
        let listed = [Survivor {
            mutant: "a.rs: a".to_owned(),
            times: 1,
            reason: "equal".to_owned(),
        }];
        let left_out = |ledger: &Ledger| {
            let names = ledger.left_out(&listed);
            names.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(left_out(&ledger), ["a.rs:3:1: c"]);
        let before = ledger.total();
        ledger.call_survivors_so();
        // cargo-mutants' own file is still there, and read again.
        ledger.add(&outcomes);
        assert_eq!(left_out(&ledger), ["a.rs:1:1: a", "a.rs:3:1: c"]);
        assert_eq!(ledger.total(), before);
        assert_eq!(ledger.of_earlier_runs(), 0);
        ledger.begin_run();
        ledger.add(&serde_json::json!({"outcomes": [outcome("a.rs:2:1: b", MISSED)]}));
        assert_eq!(ledger.of_earlier_runs(), 2);
    }
}
