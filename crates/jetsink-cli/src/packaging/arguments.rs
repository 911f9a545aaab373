//! Arguments of `jetsink completions` and `jetsink man`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  jetsink completions bash > /etc/bash_completion.d/jetsink
  jetsink completions zsh > \"${fpath[1]}/_jetsink\"
  jetsink completions fish > ~/.config/fish/completions/jetsink.fish")]
pub(crate) struct Completions {
    /// The shell
    pub(super) shell: Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  jetsink man | man -l -
  jetsink man --directory /usr/local/share/man/man1")]
pub(crate) struct ManualPages {
    /// Write a page for each command into this folder, instead of the first one to standard output
    #[arg(long, value_name = "DIR")]
    pub(super) directory: Option<PathBuf>,
}
