use clap::Command as Parser;

use super::*;

#[cfg(unix)]
mod manual;

#[test]
fn flags_do_not_conflict() {
    Arguments::described().debug_assert();
}

/// The help of each subcommand: `snapshots/` has all of them. After a change:
/// `INSTA_UPDATE=always cargo test -p jetsink-cli --bin jetsink help`, and read the difference.
#[test]
fn each_subcommand_has_its_help() {
    let mut command = Arguments::described().term_width(100);
    command.build();
    assert_help("jetsink", command);
}

fn assert_help(name: &str, command: Parser) {
    // The values of this machine's environment are no part of it.
    let mut command = command.mut_args(|argument| argument.hide_env_values(true));
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    insta::with_settings!({ omit_expression => true }, {
        insta::assert_snapshot!(name.replace(' ', "-"), lines.join("\n"));
    });
    let subcommands = command.get_subcommands();
    for subcommand in subcommands.filter(|subcommand| subcommand.get_name() != "help") {
        let name = format!("{name} {}", subcommand.get_name());
        assert_help(&name, subcommand.clone());
    }
}
