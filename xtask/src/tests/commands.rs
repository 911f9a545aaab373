use super::*;

#[test]
fn definition_is_consistent() {
    command().debug_assert();
}

#[test]
fn help_lists_each_command_in_one_group() {
    let command = command();
    let mut listed: Vec<&str> = GROUPS
        .iter()
        .flat_map(|(_, names)| *names)
        .copied()
        .collect();
    let mut defined: Vec<&str> = command.get_subcommands().map(|c| c.get_name()).collect();
    listed.sort_unstable();
    defined.sort_unstable();
    assert_eq!(listed, defined);
    let help = command.clone().render_help().to_string();
    assert!(
        help.contains("\nFirst steps:\n  demo            Publish a file"),
        "{help}"
    );
    assert!(help.lines().all(|line| line.len() <= 96), "{help}");
}

#[test]
fn every_command_has_an_example() {
    for command in command().get_subcommands_mut() {
        let name = command.get_name().to_owned();
        let help = command.render_help().to_string();
        assert!(help.contains("Example"), "{name}");
        assert!(help.contains(&format!("cargo xtask {name}")), "{name}");
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    for wrong in [
        &[][..],
        &["nothing"],
        &["supervisor", "many"],
        &["test", "--fast"],
        &["clients", "nobody"],
        &["trials", "--only", "no-such-trial"],
        &["mutants", "--iterate", "--excused"],
    ] {
        let arguments = ["cargo xtask"].iter().chain(wrong);
        let error = command().try_get_matches_from(arguments).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{wrong:?}");
    }
}

#[test]
fn arguments_are_read() {
    let read = |words: &[&str]| {
        let arguments = ["cargo xtask"].iter().chain(words);
        let matches = command().try_get_matches_from(arguments).unwrap();
        Arguments::from_arg_matches(&matches).unwrap().command
    };
    assert!(matches!(read(&["demo"]), Command::Demo { file: None }));
    assert!(matches!(
        read(&["supervisor"]),
        Command::Supervisor { runs: 20 }
    ));
    assert!(matches!(
        read(&["instructions", "--write"]),
        Command::Instructions { write: true }
    ));
    assert!(matches!(
        read(&["clients", "languages"]),
        Command::Clients {
            only: Some(ClientsCommand::Languages)
        }
    ));
    assert!(matches!(read(&["trials", "--list"]), Command::Trials(arguments) if arguments.list));
}
