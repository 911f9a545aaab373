use super::*;

fn faults(begins: &[f64]) -> Vec<Fault> {
    let fault = |from: &f64| Fault {
        name: "frozen".to_owned(),
        from: *from,
        until: from + 1.0,
    };
    begins.iter().map(fault).collect()
}

#[test]
fn overlapping_names_are_in_rows_and_a_name_without_a_row_is_left_out() {
    let time = Linear { end: 100.0 };
    let rows = |begins: &[f64]| -> Vec<_> {
        let positions = positions(&faults(begins), &time, 100.0, 2);
        positions.into_iter().map(|position| position.row).collect()
    };
    assert_eq!(rows(&[0.0, 10.0, 20.0]), [Some(0), Some(0), Some(0)]);
    assert_eq!(rows(&[0.0, 5.0, 12.0]), [Some(0), Some(1), Some(0)]);
    assert_eq!(rows(&[0.0, 1.0, 2.0]), [Some(0), Some(1), None]);
}

#[test]
fn name_at_the_end_is_within_the_plot() {
    let positions = positions(&faults(&[98.0, 40.0]), &Linear { end: 100.0 }, 100.0, 1);
    assert!((positions[0].left - 0.9).abs() < 1e-9, "{positions:?}");
    assert!((positions[1].left - 0.4).abs() < 1e-9, "{positions:?}");
}
