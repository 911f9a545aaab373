//! One trial: its test, its counts, and the meaning of a pass.

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trial {
    pub(crate) name: &'static str,
    /// The meaning of a pass.
    pub(crate) passes: &'static str,
    pub(crate) test: Test,
    /// The count of a full run.
    pub(crate) full: u64,
    /// The count with `--quick`.
    pub(crate) quick: u64,
    pub(crate) counts: Counts,
    /// The number of processes that share it: more than one if it spends most of its time waiting.
    pub(crate) processes: u64,
}

/// The test of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) package: &'static str,
    /// The file under `tests/`; `None` for a test of the library.
    pub(crate) file: Option<&'static str>,
    /// Its path; `None` for all tests of the file.
    pub(crate) path: Option<&'static str>,
    /// Features beside the default ones.
    pub(crate) features: &'static [&'static str],
}

/// The things that a count counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counts {
    /// Random cases: their number bounds the rate of failure.
    Random(&'static str),
    /// Seconds, outages or subjects, which bound no rate.
    Amount(&'static str),
    /// Every case.
    All(&'static str),
    /// The tests of a file, once each. They print no `trial` line.
    Tests(&'static str),
}

impl Counts {
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Random(unit) | Self::Amount(unit) | Self::All(unit) | Self::Tests(unit) => unit,
        }
    }
}

pub(crate) const fn unit_test(path: &'static str) -> Test {
    Test {
        package: "jetsink",
        file: None,
        path: Some(path),
        features: &[],
    }
}

/// The tests of a file of the engine.
pub(crate) const fn file(name: &'static str) -> Test {
    Test {
        package: "jetsink",
        file: Some(name),
        path: None,
        features: &[],
    }
}
