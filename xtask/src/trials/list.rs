//! Which trials there are: the test that is each of them, how much of it is a full run, and what
//! passes. A row stands here only if it runs.

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trial {
    pub(crate) name: &'static str,
    pub(crate) passes: &'static str,
    pub(crate) test: Test,
    pub(crate) full: u64,
    pub(crate) quick: u64,
    pub(crate) counts: Counts,
}

/// Where its test is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Test {
    pub(crate) package: &'static str,
    /// The file under `tests/`; the library's own tests where there is none.
    pub(crate) file: Option<&'static str>,
    /// Its path; all tests of the file where there is none.
    pub(crate) path: Option<&'static str>,
}

/// What a count is a count of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counts {
    /// Chosen at random: it bounds how often the promise breaks.
    Random(&'static str),
    /// All that there are.
    All(&'static str),
    /// The tests of a file, each of which looks at all there is. They print no line of their own.
    Tests(&'static str),
}

impl Counts {
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Random(unit) | Self::All(unit) | Self::Tests(unit) => unit,
        }
    }
}

const fn unit_test(path: &'static str) -> Test {
    Test {
        package: "jetsink",
        file: None,
        path: Some(path),
    }
}

pub(crate) const TRIALS: &[Trial] = &[
    Trial {
        name: "circuit-model",
        passes: "histories of up to 200 steps go as in a plain circuit written apart: same verdicts, one probe at a time, outcomes of another epoch ignored, a dropped admission wedges nothing",
        test: unit_test("trials::circuit_histories::every_history_goes_as_in_the_plain_circuit"),
        full: 200_000,
        quick: 50_000,
        counts: Counts::Random("histories"),
    },
    Trial {
        name: "circuit-states",
        passes: "each step from each reachable state of a circuit with four callers goes as in the plain one, to the last state",
        test: unit_test(
            "trials::circuit_states::every_reachable_state_goes_on_as_in_the_plain_circuit",
        ),
        full: 0,
        quick: 0,
        counts: Counts::All("states"),
    },
    Trial {
        name: "interleavings",
        passes: "loom: probes race, a trip against a success, a drop against a failure, a shutdown against an emit; all interleavings (with three threads of two steps: up to three preemptions)",
        test: Test {
            package: "jetsink",
            file: Some("circuit_loom"),
            path: None,
        },
        full: 1,
        quick: 1,
        counts: Counts::Tests("models"),
    },
    Trial {
        name: "retry",
        passes: "attempts, waits, message id and deadline are as the script says, to the millisecond; no wait overflows",
        test: unit_test("trials::retries::attempts_waits_and_the_deadline_are_as_scripted"),
        full: 200_000,
        quick: 20_000,
        counts: Counts::Random("emits"),
    },
];
