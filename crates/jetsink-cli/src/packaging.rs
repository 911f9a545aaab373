//! What a package of the command has in it besides the command: completions and manual pages.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::arguments::Arguments;
use crate::output;
use crate::settings::Failure;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  jetsink completions bash > /etc/bash_completion.d/jetsink
  jetsink completions zsh > \"${fpath[1]}/_jetsink\"
  jetsink completions fish > ~/.config/fish/completions/jetsink.fish")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  jetsink man | man -l -
  jetsink man --directory /usr/local/share/man/man1")]
pub(crate) struct ManualPages {
    /// Write a page for each command into this folder, instead of the first one to standard output
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

pub(crate) fn completions(arguments: &Completions) -> Result<u8, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Arguments::command(),
        "jetsink",
        &mut text,
    );
    output::print_as_is(&text);
    Ok(0)
}

pub(crate) fn manual_pages(arguments: &ManualPages) -> Result<u8, Failure> {
    // `jetsink help publish` has no page of its own.
    let command = Arguments::command().disable_help_subcommand(true);
    match &arguments.directory {
        None => {
            let mut page = Vec::new();
            // Writing to memory can't fail.
            let _ = Man::new(command).render(&mut page);
            output::print_as_is(&page);
        }
        // `jetsink.1`, `jetsink-publish.1`, `jetsink-spool.1`, `jetsink-spool-status.1` …
        Some(directory) => {
            clap_mangen::generate_to(command, directory).map_err(|source| Failure::File {
                path: directory.clone(),
                source,
            })?;
        }
    }
    Ok(0)
}
