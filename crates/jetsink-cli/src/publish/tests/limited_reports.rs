use super::*;

fn line(number: u64) -> String {
    format!("in.jsonl:{number}")
}

/// The lines of `lines` that are reported in full.
fn admitted(reports: &mut LimitedReports, lines: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    let now = Instant::now();
    lines
        .filter(|&number| reports.admit(1, &line(number), now))
        .collect()
}

#[test]
fn lines_over_the_limit_are_counted_with_the_first_and_the_last_of_them() {
    let mut reports = LimitedReports::new("bad line", 3);
    assert_eq!(admitted(&mut reports, 1..=10_000), [1, 2, 3]);
    let text = reports.end_period().unwrap();
    assert!(
        text.starts_with("9,997 more bad lines, from in.jsonl:4 to in.jsonl:10000"),
        "{text}"
    );
    assert_eq!(reports.end_period(), None, "nothing is reported twice");
}

#[test]
fn lines_within_the_limit_leave_nothing_to_report() {
    let mut reports = LimitedReports::new("bad line", 3);
    assert_eq!(admitted(&mut reports, 1..=3), [1, 2, 3]);
    assert_eq!(reports.end_period(), None);
}

#[test]
fn one_line_over_the_limit_has_one_position() {
    let mut reports = LimitedReports::new("bad line", 3);
    admitted(&mut reports, 1..=4);
    assert_eq!(
        reports.end_period().as_deref(),
        Some("1 more bad line, at in.jsonl:4")
    );
}

#[test]
fn each_period_reports_lines_in_full_again() {
    let mut reports = LimitedReports::new("bad line", 2);
    let began = Instant::now();
    assert_eq!(reports.period_ends(), None);
    assert!(reports.admit(1, &line(1), began));
    assert_eq!(reports.period_ends(), Some(began + PERIOD));
    admitted(&mut reports, 2..=5);
    assert!(reports.end_period().is_some());
    assert_eq!(reports.period_ends(), None);
    assert_eq!(admitted(&mut reports, 6..=8), [6, 7]);
}

#[test]
fn limit_of_zero_only_counts() {
    let mut reports = LimitedReports::new("bad line", 0);
    assert_eq!(admitted(&mut reports, 1..=2), [0; 0]);
    let text = reports.end_period().unwrap();
    assert!(text.starts_with("2 bad lines, from "), "{text}");
}

#[test]
fn reports_that_are_left_out_count_what_they_are_about() {
    let began = Instant::now();
    let mut reports = LimitedReports::new("unread file", 0);
    assert!(!reports.admit(3, &"a", began));
    assert_eq!(reports.end_period().unwrap(), "3 unread files, at a");
    for (count, place) in [(3, "a"), (4, "b")] {
        assert!(!reports.admit(count, &place, began));
    }
    let report = reports.end_period().unwrap();
    assert!(
        report.starts_with("7 unread files, from a to b"),
        "{report}"
    );
}
