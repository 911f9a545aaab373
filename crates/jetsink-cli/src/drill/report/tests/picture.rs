use super::*;

#[test]
fn a_long_name_is_cut_between_letters() {
    assert_eq!(shortened("jetsink with a spool"), "jetsink with a spool");
    assert_eq!(shortened(&"ä".repeat(30)), format!("{}…", "ä".repeat(22)));
}

#[test]
fn names_are_moved_apart_within_the_bounds() {
    assert_eq!(
        apart(&[100.0, 101.0, 200.0], 44.0, 50.0, 300.0),
        [100.0, 144.0, 200.0]
    );
    assert_eq!(apart(&[10.0], 44.0, 50.0, 300.0), [50.0]);
    let low = apart(&[299.0, 299.0, 300.0], 44.0, 50.0, 300.0);
    assert_eq!(low, [186.0, 230.0, 274.0]);
}
