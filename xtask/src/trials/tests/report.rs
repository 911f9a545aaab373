use super::*;
use crate::trials::list::TRIALS;

#[test]
fn version_comes_from_the_lock_file() {
    let lock = "[[package]]\nname = \"redb-x\"\nversion = \"1\"\n\n[[package]]\nname = \"redb\"\nversion = \"4.6.0\"\n";
    assert_eq!(locked(lock, "redb").unwrap(), "4.6.0");
    assert!(locked(lock, "red").is_err());
}

#[test]
fn page_has_a_row_for_each_trial() {
    let run = |trial: &_| Run {
        trial: *trial,
        parts: Vec::new(),
        took: Duration::from_secs(2),
    };
    let runs: Vec<Run> = TRIALS.iter().map(run).collect();
    let values = values(&runs, &Bites::default(), Duration::from_secs(120)).unwrap();
    let values = context! { date => "2026-01-01", commit => "abc", ..values };
    let page = page::render(PAGE, values).unwrap();
    assert!(page.starts_with("# Reliability\n\nWritten by `cargo xtask trials` on 2026-01-01, from commit abc, in 2 minutes"));
    for trial in TRIALS {
        let row = format!(
            "\n| {} | - | did not finish | - | - | 2 s | {} |\n",
            trial.name, trial.passes
        );
        assert!(page.contains(&row), "{row}");
    }
}
