use super::*;

#[test]
fn the_figure_is_read_from_cachegrinds_log() {
    let log =
        "==7== Cachegrind\n==7== I refs:        1,234,567\n==7== I   refs:      9\n==7== done\n";
    assert_eq!(instructions(log), Some(1_234_567));
    assert_eq!(instructions("==7== done\n"), None);
}

#[test]
fn change_is_in_percent_of_the_file() {
    assert!((percent(110, 100) - 10.0).abs() < 1e-9);
    assert!((percent(95, 100) + 5.0).abs() < 1e-9);
}
