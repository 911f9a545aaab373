use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::trials::list::TRIALS;
use crate::trials::run::Part;

fn run(seeds: &[u64], outcome: Option<Outcome>) -> Run {
    let part = |seed: &u64| Part {
        seed: *seed,
        count: 500,
        outcome,
        log: PathBuf::new(),
    };
    Run {
        trial: TRIALS[0],
        parts: seeds.iter().map(part).collect(),
        took: Duration::from_secs(61),
    }
}

#[test]
fn columns_are_aligned() {
    let outcome = Outcome {
        count: 500,
        failures: 0,
        of: None,
        events: Some(1_000),
    };
    let table = plain(&[run(&[7, 8], Some(outcome)), run(&[7], None)]);
    let expected = "\
trial          count                         failures        bound           seed    time
circuit-model  1,000 histories, 2,000 events  0               at most 3.0e-3  7 to 8  61 s
circuit-model  -                             did not finish  -               7       61 s
";
    let squeezed = |text: &str| -> Vec<String> {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        text.lines().map(words).collect()
    };
    assert_eq!(squeezed(&table), squeezed(expected));
    let starts: Vec<_> = table.lines().map(|line| line.find("  ")).collect();
    assert_eq!(starts, [Some(5), Some(13), Some(13)], "{table}");
}
