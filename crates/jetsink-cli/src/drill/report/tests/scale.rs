use super::*;

#[test]
fn linear_ticks_are_round_and_begin_at_0() {
    let ticks = |end: f64, max| Linear { end }.ticks(max);
    assert_eq!(ticks(28_411.0, 4), [0.0, 10_000.0, 20_000.0]);
    assert_eq!(ticks(9_376.0, 5), [0.0, 2_500.0, 5_000.0, 7_500.0]);
    assert_eq!(ticks(9.3, 5), [0.0, 5.0]);
    assert_eq!(ticks(1.0, 3), [0.0, 0.5, 1.0]);
    assert_eq!(ticks(7.0, 2), [0.0]);
    assert_eq!(ticks(10.0, 6), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
}

#[test]
fn there_are_never_more_ticks_than_fit() {
    for end in 1..2_000 {
        for max in 2..9 {
            let scale = Linear {
                end: f64::from(end) * 1.7,
            };
            assert!(scale.ticks(max).len() <= max, "{end} {max}");
            assert!(scale.time_ticks(max).len() <= max, "{end} {max}");
        }
    }
}

#[test]
fn ticks_of_time_are_parts_of_minutes_and_hours() {
    let ticks = |end: f64| Linear { end }.time_ticks(8);
    assert_eq!(ticks(60.0), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
    assert_eq!(ticks(100.0)[1], 15.0);
    assert_eq!(ticks(400.0)[1], 60.0);
    assert_eq!(ticks(7_000.0)[1], 1_800.0);
    assert_eq!(ticks(3.5)[1], 0.5);
    assert_eq!(ticks(2_000_000.0)[1], 345_600.0);
}

#[test]
fn scale_contains_every_value_that_it_was_made_of() {
    let values = [3e-7, 0.002, 15.5];
    let scale = Logarithmic::over(values.into_iter());
    for value in values {
        assert!((0.01..0.99).contains(&scale.at(value)), "{value}");
    }
    assert!((scale.at(0.1) - scale.at(0.01) - (scale.at(1.0) - scale.at(0.1))).abs() < 1e-9);
    assert_eq!(scale.at(0.0), 0.0);
    assert_eq!(scale.at(1e9), 1.0);
    assert_eq!(scale.at(f64::NAN), 0.0);

    let scale = Linear::over([2.0, 8.0].into_iter());
    assert_eq!(
        (scale.at(0.0), scale.at(2.0), scale.at(9.0)),
        (0.0, 0.25, 1.0)
    );
}

#[test]
fn scale_without_values_or_of_nan_is_valid() {
    let nothing = [f64::NAN, f64::INFINITY, -1.0, 0.0];
    assert!(Logarithmic::over(nothing.into_iter()).powers().count() >= 2);
    assert_eq!(Linear::over(nothing.into_iter()).end, 1.0);
}

#[test]
fn logarithmic_labels_are_each_power_or_each_unit() {
    let narrow = Logarithmic::over([0.002, 0.003].into_iter());
    assert_eq!(narrow.labelled(8), [-3, -2, -1]);
    let wide = Logarithmic::over([4e-8, 15.0].into_iter());
    assert_eq!(wide.labelled(8), [-6, -3, 0]);
}
