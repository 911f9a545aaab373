use super::*;

fn sink(numbers: &[u64]) -> SinkNumbers {
    let mut gaps = MessageIdGaps::new(9);
    for number in numbers {
        gaps.observe(Some(&format!("s.{number}")), "subject");
    }
    gaps.sinks.remove(0)
}

fn missing(numbers: &[u64], from_the_first: bool) -> Vec<(u64, u64)> {
    let missing = sink(numbers).missing(from_the_first, 9);
    let counted: u64 = missing.runs.listed.iter().map(|(a, b)| b - a + 1).sum();
    assert_eq!(missing.count, counted);
    missing.runs.listed
}

#[test]
fn a_gap_a_twin_and_a_straggler_are_each_found() {
    let whole = sink(&[1, 2, 3]);
    assert_eq!((whole.messages, whole.ends()), (3, (1, 3)));
    assert!(missing(&[1, 2, 3], true).is_empty());
    assert_eq!(missing(&[2, 3, 7, 9], true), [(1, 1), (4, 6), (8, 8)]);
    assert_eq!(missing(&[2, 3, 7], false), [(4, 6)]);
    assert_eq!(sink(&[1, 2, 1, 2]).duplicated.listed, [1, 2]);
    let straggler = sink(&[1, 3, 2, 4]);
    assert_eq!(straggler.out_of_order.listed, [2]);
    assert_eq!(straggler.duplicated.count, 0);
    assert!(missing(&[1, 3, 2, 4], true).is_empty());
    assert_eq!(missing(&[u64::MAX, 1], true), [(2, u64::MAX - 1)]);
}

#[test]
fn whatever_the_order_the_runs_are_the_numbers() {
    // A walk through all orders of some numbers by a fixed multiplier.
    for step in [1_u64, 5, 7, 11, 13, 17, 19, 23] {
        let mut numbers: Vec<u64> = (0..24).map(|i| i * step % 24 + 1).collect();
        numbers.retain(|n| ![4, 5, 9, 20].contains(n));
        let mut sink = sink(&numbers);
        let runs = sink.missing(true, 9).runs.listed;
        assert_eq!(runs, [(4, 5), (9, 9), (20, 20)], "{numbers:?}");
        assert_eq!(sink.earlier.len(), 3);
        for number in numbers {
            assert!(!sink.observe(number), "{number}");
        }
    }
}

#[test]
fn order_is_checked_per_subject_and_foreign_ids_are_counted() {
    let mut gaps = MessageIdGaps::new(9);
    for (id, subject) in [
        ("s.2", "a"),
        ("s.1", "b"),
        ("s.x", "a"),
        ("s.01", "a"),
        (".1", "a"),
    ] {
        gaps.observe(Some(id), subject);
    }
    gaps.observe(None, "a");
    let sinks: Vec<_> = gaps.sinks().collect();
    assert_eq!((sinks.len(), gaps.others), (1, 4));
    assert_eq!(sinks[0].1.out_of_order.count, 0);
}
