//! Pages in `docs` that a run writes: what is the same in all of them.

use std::process::Command;

use crate::root;

/// Writes `file`: `text` with each `{name}` replaced by its value, and `{date}` and `{commit}` by this run's.
pub(crate) fn write(file: &str, text: &str, values: &[(&str, String)]) -> Result<(), String> {
    let date = said(Command::new("date").args(["-u", "+on %F"]))?;
    let run = [("date", date), ("commit", commit(file)?)];
    let text = filled(&filled(text, values), &run);
    std::fs::write(root().join(file), text).map_err(|e| format!("{file}: {e}"))?;
    println!("{file} is written");
    Ok(())
}

/// The commit of this tree. That `file` has changed is no other tree: it is what is written.
fn commit(file: &str) -> Result<String, String> {
    let git = |arguments: &[&str]| said(Command::new("git").current_dir(root()).args(arguments));
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    let changed = changed.lines().any(|line| !line.ends_with(file));
    Ok(if changed {
        format!("{commit} with changes that are not committed")
    } else {
        commit
    })
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
