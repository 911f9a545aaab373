//! The pages of `docs/` name each flag and each variable of each subcommand, with the default values of the gateway.

use std::path::Path;

use clap::{Arg, Command as Parser};

use super::super::*;

/// The pages of a subcommand. Those of the connection are added to the subcommands that connect.
const PAGES: [(&str, &[&str]); 10] = [
    (
        "publish",
        &["command/publish", "command/follow", "command/spool"],
    ),
    ("serve", &["serve/settings"]),
    ("spool", &["command/spool"]),
    ("stream", &["command/stream"]),
    ("doctor", &["command/doctor"]),
    ("audit", &["command/audit"]),
    ("drill", &["command/drill"]),
    ("tail", &["command/tail"]),
    ("completions", &["command/README"]),
    ("man", &["command/README"]),
];

const CONNECTION: &str = "command/connection";

/// The text of some pages.
fn manual(pages: &[&str]) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let page = |page: &&str| std::fs::read_to_string(docs.join(format!("{page}.md"))).unwrap();
    pages.iter().map(page).collect()
}

/// Whether the text contains the flag or variable, and not only a longer one that begins like it.
fn names(text: &str, name: &str) -> bool {
    let continues = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.match_indices(name)
        .any(|(at, _)| !text[at + name.len()..].starts_with(continues))
}

/// The variable of a flag, which clap or the flag's help has.
fn variable(flag: &Arg) -> Option<String> {
    if let Some(variable) = flag.get_env() {
        return Some(variable.to_str()?.to_owned());
    }
    let help = flag.get_help()?.to_string();
    let (_, rest) = help.split_once("[env: ")?;
    Some(rest.split_once(']')?.0.to_owned())
}

/// Collects the flags and variables that the manual of one command lacks.
fn missing(command: &Parser, text: &str, found: &mut Vec<String>) {
    let flags = command.get_arguments().filter(|flag| !flag.is_positional());
    for flag in flags.filter(|flag| !["help", "version"].contains(&flag.get_id().as_str())) {
        let long = format!("--{}", flag.get_long().unwrap());
        let mut lack = |what: &str| found.push(format!("{}: {what}", command.get_name()));
        if !names(text, &long) {
            lack(&long);
        }
        if let Some(short) = flag.get_short()
            && !text.contains(&format!("`-{short}`"))
        {
            lack(&format!("-{short}"));
        }
        let by_rule = long[2..].replace('-', "_").to_uppercase();
        if let Some(variable) = variable(flag)
            && variable != format!("JETSINK_{by_rule}")
            && !names(text, &variable)
        {
            lack(&variable);
        }
    }
    let subcommands = command.get_subcommands();
    for subcommand in subcommands.filter(|subcommand| subcommand.get_name() != "help") {
        if !names(text, subcommand.get_name()) {
            found.push(format!("{}: {}", command.get_name(), subcommand.get_name()));
        }
        missing(subcommand, text, found);
    }
}

#[test]
fn manual_names_each_flag_and_variable() {
    let mut command = Arguments::described();
    command.build();
    let mut found = Vec::new();
    for subcommand in command.get_subcommands().filter(|c| c.get_name() != "help") {
        let name = subcommand.get_name();
        let (_, pages) = PAGES.iter().find(|(page, _)| *page == name).unwrap();
        assert!(names(&manual(&["command/README"]), name), "{name}");
        missing(
            subcommand,
            &manual(&[pages, &[CONNECTION][..]].concat()),
            &mut found,
        );
    }
    assert!(found.is_empty(), "the manual lacks {found:#?}");
}

#[test]
fn settings_of_the_gateway_have_their_default_values() {
    let mut command = Arguments::described();
    command.build();
    let text = manual(&["serve/settings"]);
    let serve = command.find_subcommand("serve").unwrap();
    let own = serve
        .get_arguments()
        .filter(|flag| flag.get_long().is_some());
    for flag in own {
        let long = format!("`--{}", flag.get_long().unwrap());
        let Some(row) = text.lines().find(|line| names(line, &long)) else {
            continue; // the page of the connection has it
        };
        for value in flag.get_default_values() {
            let value = value.to_str().unwrap();
            if flag.get_action().takes_values() {
                assert!(row.contains(&format!("| `{value}` |")), "{value}: {row}");
            }
        }
    }
}
