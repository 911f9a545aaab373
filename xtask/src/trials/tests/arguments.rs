use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    arguments: Arguments,
}

fn read(arguments: &[&str]) -> Result<Arguments, clap::Error> {
    let arguments = std::iter::once("trials").chain(arguments.iter().copied());
    Command::try_parse_from(arguments).map(|command| command.arguments)
}

#[test]
fn options_are_read() {
    let read = read(&["--only", "retry", "--seed", "1_000", "--quick"]).unwrap();
    assert!(matches!(read.only.as_slice(), [Selected::Trial(trial)] if trial.name == "retry"));
    assert_eq!((read.seed, read.quick), (Some(1_000), true));
}

#[test]
fn planted_bugs_are_selected_all_or_by_name() {
    let only = |name: &str| read(&["--only", name]).map(|read| read.only);
    assert_eq!(only("teeth").unwrap(), [Selected::Teeth]);
    assert_eq!(
        only("teeth/no-epoch").unwrap(),
        [Selected::Tooth("no-epoch".to_owned())]
    );
    assert!(only("teeth/none").is_err());
    assert!(only("teethless").is_err());
}

#[test]
fn wrong_usage_exits_with_2() {
    for wrong in [
        &["--seed", "1"][..],
        &["--only"],
        &["--only", "no-such-trial"],
        &["--fast"],
        &["--only", "retry", "--seed", "x"],
        &["--only", "retry", "--count", "0"],
        &["--list", "--quick"],
    ] {
        assert_eq!(read(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
    }
}

#[test]
fn only_the_run_of_everything_is_the_full_one() {
    assert!(read(&[]).unwrap().is_full());
    assert!(!read(&["--quick"]).unwrap().is_full());
    assert!(!read(&["--only", "retry"]).unwrap().is_full());
}
