//! `cargo xtask trials`, as typed.

use clap::Args;

use super::list::TRIALS;
use super::teeth;
use super::trial::Trial;

#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct Arguments {
    /// Run fewer of each in minutes, with the same seeds every time, in the build of the tests
    #[arg(long)]
    pub(crate) quick: bool,

    /// Run only this trial, planted bug (`teeth/NAME`), or all planted bugs (`teeth`); repeat for more
    #[arg(long, value_name = "NAME", value_parser = Selected::parse)]
    pub(crate) only: Vec<Selected>,

    /// Run the history of this seed alone, as a failure names it; for a trial with a real broker, its first round
    #[arg(long, value_name = "N", requires = "only", value_parser = number)]
    pub(crate) seed: Option<u64>,

    /// Run this many, from --seed if it is given
    #[arg(long, value_name = "N", requires = "only", value_parser = positive)]
    pub(crate) count: Option<u64>,

    /// List the trials with their full and quick counts, and what each one shows
    #[arg(long, exclusive = true)]
    pub(crate) list: bool,
}

/// A value of `--only`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selected {
    Trial(&'static Trial),
    /// All planted bugs.
    Teeth,
    /// The planted bug of this name.
    Tooth(String),
}

impl Selected {
    fn parse(text: &str) -> Result<Self, String> {
        if text == teeth::NAME {
            return Ok(Self::Teeth);
        }
        if let Some(bug) = text.strip_prefix("teeth/") {
            let file = teeth::folder().join(format!("{bug}.patch"));
            return match file.is_file() {
                true => Ok(Self::Tooth(bug.to_owned())),
                false => Err("not a patch of tests/teeth".to_owned()),
            };
        }
        let trial = TRIALS.iter().find(|trial| trial.name == text);
        trial
            .map(Self::Trial)
            .ok_or_else(|| "not a trial; see cargo xtask trials --list".to_owned())
    }
}

impl Arguments {
    /// Whether this is the run whose results `docs/evidence/reliability.md` shows.
    pub(crate) fn is_full(&self) -> bool {
        *self == Self::default()
    }
}

fn number(text: &str) -> Result<u64, String> {
    let digits = text.replace('_', "");
    digits.parse().map_err(|_| "not a number".to_owned())
}

fn positive(text: &str) -> Result<u64, String> {
    match number(text)? {
        0 => Err("a count of 0 runs nothing".to_owned()),
        count => Ok(count),
    }
}

#[cfg(test)]
#[path = "tests/arguments.rs"]
mod tests;
