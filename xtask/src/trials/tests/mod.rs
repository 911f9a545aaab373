use super::*;

fn only(only: &[Selected]) -> Arguments {
    Arguments {
        only: only.to_vec(),
        ..Arguments::default()
    }
}

#[test]
fn everything_runs_without_a_selection_and_otherwise_the_selected() {
    assert_eq!(selected(&Arguments::default()).len(), TRIALS.len());
    assert_eq!(planted_bugs(&Arguments::default()), [None]);
    let quick = Arguments {
        quick: true,
        ..Arguments::default()
    };
    assert_eq!(selected(&quick).len(), TRIALS.len());
    assert!(planted_bugs(&quick).is_empty());
    let teeth = only(&[Selected::Teeth, Selected::Tooth("no-epoch".to_owned())]);
    assert!(selected(&teeth).is_empty());
    assert_eq!(planted_bugs(&teeth), [None, Some("no-epoch")]);
    let one = only(&[Selected::Trial(&TRIALS[1])]);
    assert_eq!(selected(&one), [&TRIALS[1]]);
    assert!(planted_bugs(&one).is_empty());
}

#[test]
fn seed_without_a_count_is_one_history() {
    let mut arguments = only(&[Selected::Trial(&TRIALS[0])]);
    assert_eq!(count(&TRIALS[0], &arguments), TRIALS[0].full);
    arguments.seed = Some(7);
    assert_eq!(count(&TRIALS[0], &arguments), 1);
    arguments.count = Some(20);
    assert_eq!(count(&TRIALS[0], &arguments), 20);
}

#[test]
fn list_has_each_trial_with_its_counts() {
    let text = list_text();
    for trial in TRIALS {
        assert!(text.contains(&format!("\n{}: ", trial.name)), "{text}");
    }
    assert!(text.contains("\nretry: 200,000 emits (20,000)\n"), "{text}");
    assert!(text.contains("\nteeth: "), "{text}");
}
