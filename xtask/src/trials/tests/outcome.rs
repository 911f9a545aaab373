use super::*;

#[test]
fn the_trials_own_line_is_found_among_others() {
    let output = "running 1 test\ntrial retry-not count=1 failures=1 seed=1\n\
                  trial retry count=20 failures=3 seed=7 events=90\ntest … ok\n";
    let read = |trial| Outcome::read(output, trial, Counts::Random("x"));
    let expected = Outcome {
        count: 20,
        failures: 3,
        of: None,
        events: Some(90),
    };
    assert_eq!(read("retry"), Some(expected));
    let both = expected.and(expected);
    assert_eq!((both.count, both.failures, both.events), (40, 6, Some(180)));
    assert_eq!(read("other"), None);
    assert!(!expected.is_passed());
}

#[test]
fn a_file_of_tests_counts_its_tests() {
    let output = "test result: FAILED. 6 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.2s\n";
    let expected = Outcome {
        count: 7,
        failures: 1,
        of: None,
        events: None,
    };
    let read = |output| Outcome::read(output, "x", Counts::Tests("models"));
    assert_eq!(read(output), Some(expected));
    assert_eq!(read("error: could not compile"), None);
}

#[test]
fn a_bound_is_three_in_the_count_and_only_where_none_failed() {
    let outcome = |count, failures| Outcome {
        count,
        failures,
        of: None,
        events: None,
    };
    let bound = |count, failures| outcome(count, failures).bound(Counts::Random("x"));
    assert_eq!(bound(200_000, 0), "at most 1.5e-5");
    assert_eq!(bound(29, 0), "-");
    assert_eq!(bound(200, 2), "1.0e-2 failed");
    assert_eq!(bound(0, 0), "none: nothing ran");
    let all = outcome(9, 0);
    assert_eq!(all.bound(Counts::All("x")), "all there are");
    let line = "trial x count=9 failures=0 seed=1 of=1200";
    let some = Outcome::read(line, "x", Counts::All("x")).unwrap();
    assert_eq!(some.bound(Counts::All("x")), "a sample of 1,200");
}
