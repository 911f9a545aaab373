//! `cargo xtask trials`, as typed.

pub(crate) const USAGE: &str = "\
usage: cargo xtask trials [--quick] [--only NAME]... [--seed N] [--count N] [--list]
  no arguments   the full run: an hour on 2 cores; writes docs/reliability.md
  --quick        fewer of each, in minutes, the same in each run, built as tests are; without it a release
                 build with checks for overflow comes first
  --only NAME    only this trial; again for more than one; teeth/BUG is one planted bug, by its file's name
  --seed N       with --only: the history of this seed alone, as a failure names it; against a real broker
                 the first round, or with --count N the first N, of that seed
  --count N      with --only: so many, from the seed if one is given
  --list         the trials, their counts and what passes";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) quick: bool,
    pub(crate) list: bool,
    pub(crate) only: Vec<String>,
    pub(crate) seed: Option<u64>,
    pub(crate) count: Option<u64>,
}

impl Arguments {
    pub(crate) fn read(arguments: &[&str]) -> Result<Self, String> {
        let mut read = Self::default();
        let mut left = arguments.iter();
        while let Some(argument) = left.next() {
            let mut value = || {
                let value = left.next();
                value.ok_or_else(|| format!("{argument} needs a value\n{USAGE}"))
            };
            match *argument {
                "--quick" => read.quick = true,
                "--list" => read.list = true,
                "--only" => read.only.push((*value()?).to_owned()),
                "--seed" => read.seed = Some(number(value()?)?),
                "--count" => read.count = Some(number(value()?)?),
                other => return Err(format!("{other:?} is no option\n{USAGE}")),
            }
        }
        if read.count == Some(0) {
            return Err(format!("--count 0 would try nothing\n{USAGE}"));
        }
        let single = read.seed.is_some() || read.count.is_some();
        if single && read.only.is_empty() {
            return Err(format!("--seed and --count go with --only\n{USAGE}"));
        }
        Ok(read)
    }

    /// Whether this is the run that `docs/reliability.md` tells of.
    pub(crate) fn is_full(&self) -> bool {
        *self == Self::default()
    }
}

fn number(text: &str) -> Result<u64, String> {
    let digits = text.replace('_', "");
    digits
        .parse()
        .map_err(|_| format!("{text:?} is no number\n{USAGE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_what_is_none_is_told() {
        let read = Arguments::read(&["--only", "retry", "--seed", "1_000", "--quick"]).unwrap();
        assert_eq!(
            (read.only, read.seed, read.quick),
            (vec!["retry".to_owned()], Some(1_000), true)
        );
        for wrong in [
            &["--seed", "1"][..],
            &["--only"],
            &["--fast"],
            &["--only", "a", "--seed", "x"],
            &["--only", "a", "--count", "0"],
        ] {
            assert!(Arguments::read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn only_the_whole_run_is_the_full_one() {
        assert!(Arguments::read(&[]).unwrap().is_full());
        assert!(!Arguments::read(&["--quick"]).unwrap().is_full());
        assert!(!Arguments::read(&["--only", "retry"]).unwrap().is_full());
    }
}
