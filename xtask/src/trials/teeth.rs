//! Teeth: planted bugs, kept as patches. A trial must catch each. They are applied to a copy of the tree, one
//! at a time.
//!
//! A patch in `tests/teeth` begins with lines of its own, before its first `diff`:
//!
//! ```text
//! bug: Ok before the ack
//! trial: whole-sink
//! count: 200
//! ```

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use fs_err as fs;
use serde::Serialize;

use super::list::TRIALS;
use super::run::{Build, Place};
use super::trial::Trial;
use crate::page::thousands;
use crate::process::{git, root, succeed, target};

/// The name of all planted bugs for `--only`.
pub(crate) const NAME: &str = "teeth";

pub(crate) const PASSES: &str =
    "each planted bug of tests/teeth is caught by the trial that it names";

/// The same in every run.
const SEED: u64 = 1;

/// A bug that is found only by waiting is not caught.
const MAX_TIME: Duration = Duration::from_secs(5 * 60);

/// A planted bug.
#[derive(Debug)]
struct Planted {
    file: PathBuf,
    bug: String,
    trial: Trial,
    count: u64,
}

/// The result of one planted bug.
#[derive(Debug, Serialize)]
pub(crate) struct Bite {
    bug: String,
    trial: &'static str,
    count: u64,
    caught: bool,
    seconds: f64,
}

/// The results of all.
#[derive(Debug, Default)]
pub(crate) struct Bites(Vec<Bite>);

impl Bites {
    pub(crate) fn all_caught(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|bite| bite.caught)
    }

    pub(crate) fn plain(&self) -> String {
        let mut text = format!("{}\n", self.summary());
        for bite in &self.0 {
            let verdict = if bite.caught { "caught" } else { "MISSED" };
            text.push_str(&format!(
                "{verdict}  {} by {} (of {}, {:.0} s)\n",
                bite.bug,
                bite.trial,
                thousands(bite.count),
                bite.seconds
            ));
        }
        text
    }

    pub(crate) fn rows(&self) -> &[Bite] {
        &self.0
    }

    pub(crate) fn summary(&self) -> String {
        let caught = self.0.iter().filter(|bite| bite.caught).count();
        format!("{caught} of {} planted bugs caught", self.0.len())
    }
}

/// The folder of the patches.
pub(crate) fn folder() -> PathBuf {
    root().join("tests/teeth")
}

/// Plants each bug, or the one of this name, and runs its trial.
///
/// # Errors
/// No such bug; a patch does not apply or does not compile; a trial fails without a bug.
pub(crate) fn run(only: Option<&str>) -> Result<Bites> {
    let mut planted = planted()?;
    planted.retain(|bug| only.is_none_or(|name| bug.file.file_stem().is_some_and(|s| s == name)));
    ensure!(
        !planted.is_empty(),
        "no planted bug; see tests/teeth/*.patch"
    );
    let tree = target().join("teeth");
    copy_of_the_tree(&tree)?;
    let place = Place {
        tree: tree.clone(),
        // A bug then is compiled into one package only.
        build: Build::Alone,
        max_time: MAX_TIME,
        target: target().join("teeth-target"),
        logs: "teeth-",
    };
    let bites = without_bugs(&planted, &place)
        .and_then(|()| planted.iter().map(|bug| bite(bug, &place)).collect());
    if remove(&tree).is_err() {
        eprintln!("{} is left behind: git worktree prune", tree.display());
    }
    bites.map(Bites)
}

/// Runs the trials without a bug: a trial that fails anyway catches nothing.
fn without_bugs(planted: &[Planted], place: &Place) -> Result<()> {
    for trial in TRIALS {
        let by_it = planted.iter().filter(|bug| bug.trial.name == trial.name);
        let Some(count) = by_it.map(|bug| bug.count).max() else {
            continue;
        };
        println!("{} without a bug …", trial.name);
        place.build(&trial.test)?;
        if !place.run(trial, SEED, count, 1)?.is_passed() {
            bail!(
                "{} of {count} from seed {SEED} fails without a bug",
                trial.name
            );
        }
    }
    Ok(())
}

fn bite(bug: &Planted, place: &Place) -> Result<Bite> {
    println!("{} …", bug.bug);
    let tree = &place.tree;
    succeed(&mut git(tree, &["checkout", "--quiet", "--force", "HEAD"]))?;
    succeed(git(tree, &["apply"]).arg(&bug.file))?;
    place.build(&bug.trial.test)?;
    let started = Instant::now();
    let run = place.run(&bug.trial, SEED, bug.count, 1)?;
    Ok(Bite {
        bug: bug.bug.clone(),
        trial: bug.trial.name,
        count: bug.count,
        caught: run.outcome().is_some_and(|outcome| outcome.failures > 0),
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Checks the last commit out into a folder.
fn copy_of_the_tree(tree: &Path) -> Result<()> {
    if tree.exists() {
        remove(tree)?;
    }
    succeed(&mut git(&root(), &["worktree", "prune"]))?;
    let add = ["worktree", "add", "--quiet", "--detach"];
    succeed(git(&root(), &add).arg(tree).arg("HEAD"))
}

fn remove(tree: &Path) -> Result<()> {
    succeed(git(&root(), &["worktree", "remove", "--force"]).arg(tree))
}

/// Reads all patches.
fn planted() -> Result<Vec<Planted>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder())? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "patch") {
            files.push(path);
        }
    }
    files.sort();
    files.into_iter().map(read).collect()
}

fn read(file: PathBuf) -> Result<Planted> {
    let text = fs::read_to_string(&file)?;
    let shown = file.display();
    let (bug, name, count) = head(&text)
        .with_context(|| format!("{shown}: lines for bug, trial and count are missing"))?;
    let trial = TRIALS.iter().find(|trial| trial.name == name);
    let trial = trial.with_context(|| format!("{shown}: unknown trial {name:?}"))?;
    Ok(Planted {
        bug: bug.to_owned(),
        trial: *trial,
        count,
        file,
    })
}

/// Reads bug, trial and count from the first lines.
fn head(text: &str) -> Option<(&str, &str, u64)> {
    let lines = || text.lines().take_while(|line| !line.starts_with("diff "));
    let value = |name: &str| {
        lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::trim))
    };
    let count = value("count")?.replace('_', "");
    Some((value("bug")?, value("trial")?, count.parse().ok()?))
}

#[cfg(test)]
#[path = "tests/teeth.rs"]
mod tests;
