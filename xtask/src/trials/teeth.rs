//! Teeth: bugs kept as patches, each of which a trial must catch. Applied to a copy of the tree, one at
//! a time.
//!
//! A patch in `tests/teeth` begins with lines of its own, before its first `diff`:
//!
//! ```text
//! bug: Ok before the ack
//! trial: whole-sink
//! count: 200
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::list::{TRIALS, Trial};
use super::run::Place;
use super::table::thousands;
use crate::checks::target;
use crate::{root, succeed};

pub(crate) const NAME: &str = "teeth";
pub(crate) const PASSES: &str = "each planted bug of tests/teeth is caught by the trial it names";

/// Every run of the teeth is the same.
const SEED: u64 = 1;

/// A bug that is found only by waiting is not caught.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// A planted bug.
#[derive(Debug)]
struct Planted {
    file: PathBuf,
    bug: String,
    trial: Trial,
    count: u64,
}

/// One that was tried.
#[derive(Debug)]
pub(crate) struct Bite {
    bug: String,
    trial: &'static str,
    count: u64,
    caught: bool,
    took: Duration,
}

/// All of them.
#[derive(Debug)]
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
                bite.took.as_secs_f64()
            ));
        }
        text
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text =
            "| planted bug | caught by | in so many |\n| --- | --- | ---: |\n".to_owned();
        for bite in &self.0 {
            let by = if bite.caught { bite.trial } else { "MISSED" };
            text.push_str(&format!(
                "| {} | {by} | {} |\n",
                bite.bug,
                thousands(bite.count)
            ));
        }
        text
    }

    pub(crate) fn summary(&self) -> String {
        let caught = self.0.iter().filter(|bite| bite.caught).count();
        format!("{caught} of {} planted bugs caught", self.0.len())
    }
}

/// Which of them is meant by `teeth` or `teeth/NAME`; `None` where a name means a trial.
pub(crate) fn named(name: &str) -> Option<&str> {
    let rest = name.strip_prefix(NAME)?;
    if rest.is_empty() {
        return Some(rest);
    }
    rest.strip_prefix('/')
}

/// Plants each bug, or the one of this name, and runs its trial.
pub(crate) fn run(only: &str) -> Result<Bites, String> {
    let mut planted = planted(&root().join("tests/teeth"))?;
    planted.retain(|bug| only.is_empty() || bug.file.file_stem().is_some_and(|stem| stem == only));
    if planted.is_empty() {
        return Err(format!(
            "there is no planted bug {only:?}: see tests/teeth/*.patch"
        ));
    }
    let tree = target().join("teeth");
    copy_of_the_tree(&tree)?;
    let place = Place {
        tree: tree.clone(),
        quick: true,
        longest: LONGEST,
        target: target().join("teeth-target"),
        logs: "teeth-",
    };
    let bites = without_bugs(&planted, &place)
        .and_then(|()| planted.iter().map(|bug| bite(bug, &place)).collect());
    let gone = git(&root())
        .args(["worktree", "remove", "--force"])
        .arg(&tree)
        .status();
    if !gone.is_ok_and(|status| status.success()) {
        eprintln!("{} is left behind: git worktree prune", tree.display());
    }
    bites.map(Bites)
}

/// What fails without a bug, too, catches none.
fn without_bugs(planted: &[Planted], place: &Place) -> Result<(), String> {
    for trial in TRIALS {
        let by_it = planted.iter().filter(|bug| bug.trial.name == trial.name);
        let Some(count) = by_it.map(|bug| bug.count).max() else {
            continue;
        };
        println!("{} without a bug …", trial.name);
        place.build(&trial.test)?;
        if !place.run(trial, SEED, count, 1)?.is_passed() {
            return Err(format!(
                "{} of {count} from seed {SEED} fails without a bug",
                trial.name
            ));
        }
    }
    Ok(())
}

fn bite(bug: &Planted, place: &Place) -> Result<Bite, String> {
    println!("{} …", bug.bug);
    let tree = &place.tree;
    succeed(git(tree).args(["checkout", "--quiet", "--force", "HEAD"]))?;
    succeed(git(tree).arg("apply").arg(&bug.file))?;
    // A bug that does not compile is none.
    place.build(&bug.trial.test)?;
    let started = Instant::now();
    let run = place.run(&bug.trial, SEED, bug.count, 1)?;
    Ok(Bite {
        bug: bug.bug.clone(),
        trial: bug.trial.name,
        count: bug.count,
        caught: run.outcome().is_some_and(|outcome| outcome.failures > 0),
        took: started.elapsed(),
    })
}

/// What is committed, in a folder of its own.
fn copy_of_the_tree(tree: &Path) -> Result<(), String> {
    if tree.exists() {
        succeed(
            git(&root())
                .args(["worktree", "remove", "--force"])
                .arg(tree),
        )?;
    }
    succeed(git(&root()).args(["worktree", "prune"]))?;
    let mut add = git(&root());
    succeed(
        add.args(["worktree", "add", "--quiet", "--detach"])
            .arg(tree)
            .arg("HEAD"),
    )
}

fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(folder);
    command
}

fn planted(folder: &Path) -> Result<Vec<Planted>, String> {
    let told = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(told)? {
        let path = entry.map_err(told)?.path();
        if path.extension().is_some_and(|end| end == "patch") {
            files.push(path);
        }
    }
    files.sort();
    files.into_iter().map(read).collect()
}

fn read(file: PathBuf) -> Result<Planted, String> {
    let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let (bug, name, count) =
        head(&text).ok_or_else(|| format!("{}: it needs bug, trial and count", file.display()))?;
    let trial = TRIALS.iter().find(|trial| trial.name == name);
    let trial = trial.ok_or_else(|| format!("{}: there is no trial {name:?}", file.display()))?;
    Ok(Planted {
        bug: bug.to_owned(),
        trial: *trial,
        count,
        file,
    })
}

/// Bug, trial and count.
fn head(text: &str) -> Option<(&str, &str, u64)> {
    let lines = || text.lines().take_while(|line| !line.starts_with("diff "));
    let value = |name: &str| {
        lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::trim))
    };
    let count = value("count")?.replace('_', "");
    Some((value("bug")?, value("trial")?, count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_says_which_trial_must_catch_it() {
        let text =
            "bug: no epoch\ntrial: circuit-model\ncount: 1_000\n\ndiff --git a b\ncount: 2\n";
        assert_eq!(head(text), Some(("no epoch", "circuit-model", 1_000)));
        assert_eq!(head("bug: x\ndiff\n"), None);
    }

    #[test]
    fn every_patch_applies_and_names_a_trial_that_there_is() {
        let planted = planted(&root().join("tests/teeth")).unwrap();
        assert!(!planted.is_empty());
        for bug in planted {
            let mut check = git(&root());
            let status = check.args(["apply", "--check"]).arg(&bug.file).status();
            assert!(
                status.unwrap().success(),
                "{} is out of date",
                bug.file.display()
            );
        }
    }

    #[test]
    fn one_of_the_teeth_has_a_name() {
        assert_eq!(named("teeth"), Some(""));
        assert_eq!(named("teeth/no-epoch"), Some("no-epoch"));
        assert_eq!((named("retry"), named("teethless")), (None, None));
    }
}
