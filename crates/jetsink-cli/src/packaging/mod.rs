//! `jetsink completions` and `jetsink man`: files that a package of the command contains.

pub(crate) mod arguments;

use clap::Command;
use clap_mangen::Man;

use crate::failure::Failure;
use crate::output;
use arguments::{Completions, ManualPages};

pub(crate) fn completions(arguments: &Completions, mut command: Command) -> Result<u8, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "jetsink", &mut text);
    output::print_as_is(&text);
    Ok(0)
}

pub(crate) fn manual_pages(arguments: &ManualPages, command: Command) -> Result<u8, Failure> {
    // `jetsink help publish` has no page of its own.
    let command = command.disable_help_subcommand(true);
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
