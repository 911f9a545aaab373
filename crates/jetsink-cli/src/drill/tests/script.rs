use super::*;

const PAUSE: Duration = Duration::from_secs(4);

#[test]
fn the_default_script_takes_about_a_minute() {
    let script = Script::new(&[], None, PAUSE, false).unwrap();
    assert_eq!(script.time(), Duration::from_secs(4 * 6 + 6 * 4));
    let script = Script::new(&[], None, PAUSE, true).unwrap();
    assert_eq!(script.time(), Duration::from_secs(4 * 10 + 5 * 4));
}

#[test]
fn fault_that_needs_a_cluster_is_refused_by_name() {
    let error = Script::new(&[FaultKind::Kill, FaultKind::Quorum], None, PAUSE, false).unwrap_err();
    assert_eq!(error.to_string(), "--faults quorum needs --cluster");
    assert!(Script::new(&[FaultKind::Quorum], None, PAUSE, true).is_ok());
}
