use super::*;
use crate::clients::ledger::Tally;

#[test]
fn each_scenario_has_a_row_and_the_published_sink_one_that_says_why_it_has_none() {
    let row = |scenario, sink_of| Row {
        scenario,
        sink_of,
        runs: 20,
        succeeded: 19,
        tally: Tally {
            emitted: 220,
            ..Tally::default()
        },
    };
    let ours = row(Scenario::Healthy, SinkOf::Jetsink);
    let text = scenarios(&[ours, row(Scenario::Healthy, SinkOf::Published)]).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[2],
        "| healthy broker, subject by each event's tenant | ours | 19 of 20 | 220 | 0 | 0 | 0 | 0 | 0 |"
    );
    assert_eq!(lines.len(), 4 + 3, "{text}");
    assert!(lines[6].ends_with("| not available: it has no spool | | | | | | |"));
}

#[test]
fn the_page_has_both_tables() {
    let view = View {
        sink_of: SinkOf::Jetsink,
        cells: 9,
        complete: 9,
        stored: 99,
        listed: 99,
    };
    let values = context! {
        version => VERSION,
        nats_server => NATS_SERVER_VERSION,
        date => "2026-01-01",
        commit => "abc",
        scenarios => scenarios(&[]).unwrap(),
        views => views(&[view]).unwrap(),
    };
    let page = render(PAGE, values).unwrap();
    assert!(page.contains("| scenario | sink |"));
    assert!(page.ends_with("| ours | 9 | 9 | 99 | 99 |\n"), "{page}");
}
