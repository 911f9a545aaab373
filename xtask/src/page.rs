//! Pages in `docs` that a run writes: what is the same in all of them.

use std::process::Command;

use crate::root;

/// Writes `file`: `text` with each `{name}` replaced by its value, and `{date}` and `{commit}` by this run's.
///
/// # Errors
/// What can't be written; or that this is not the tree of the run's start, of which the page would speak.
pub(crate) fn write(
    file: &str,
    text: &str,
    values: &[(&str, String)],
    start: &Tree,
) -> Result<(), String> {
    if Tree::now(file)? != *start {
        return Err(format!(
            "{file} is not written: this tree was changed while the run went on"
        ));
    }
    let date = said(Command::new("date").args(["-u", "+on %F"]))?;
    let run = [("date", date), ("commit", start.commit.clone())];
    let text = filled(&filled(text, values), &run);
    std::fs::write(root().join(file), text).map_err(|e| format!("{file}: {e}"))?;
    println!("{file} is written");
    Ok(())
}

/// What a run is a run of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    commit: String,
    /// What is not committed.
    changes: String,
}

impl Tree {
    /// That `file` has changed is no other tree: it is what is written.
    pub(crate) fn now(file: &str) -> Result<Self, String> {
        let git =
            |arguments: &[&str]| said(Command::new("git").current_dir(root()).args(arguments));
        let mut commit = git(&["rev-parse", "--short=12", "HEAD"])?;
        let changes = git(&["diff", "HEAD", "--", ".", &format!(":!{file}")])?;
        if !changes.is_empty() {
            commit.push_str(" with changes that are not committed");
        }
        Ok(Self { commit, changes })
    }
}

/// What a command prints, without the white space around it.
pub(crate) fn said(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn filled(text: &str, values: &[(&str, String)]) -> String {
    let mut text = text.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_the_place_of_their_names() {
        let values = [("commit", "abc".to_owned())];
        assert_eq!(
            filled("from {commit}, {other}", &values),
            "from abc, {other}"
        );
    }
}
