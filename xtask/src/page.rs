//! Pages of `docs` that a run writes, from templates in Markdown.

use std::process::Command;

use anyhow::{Result, ensure};
use fs_err as fs;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value, context};

use crate::process::{git, output, root};

/// Writes `file` from a template with these values and `date` and `commit`, those of this run.
///
/// # Errors
/// The page can't be written; or the tree has changed since `start`, and the page would describe another one.
pub(crate) fn write(file: &str, template: &str, values: Value, start: &Tree) -> Result<()> {
    ensure!(
        Tree::now(file)? == *start,
        "{file} is not written: this tree has changed during the run"
    );
    let date = output(Command::new("date").args(["-u", "+%F"]))?;
    let text = render(
        template,
        context! { date, commit => start.commit.as_str(), ..values },
    )?;
    fs::write(root().join(file), text)?;
    println!("{file} is written");
    Ok(())
}

/// Fills in a template. A value that is missing is an error.
///
/// # Errors
/// The template is wrong, or a value is missing.
pub(crate) fn render(template: &str, values: Value) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let mut syntax = SyntaxConfig::builder();
    syntax
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true);
    environment.set_syntax(syntax.build()?);
    environment.add_filter("thousands", thousands);
    // A bar ends a cell of a table, also in code.
    environment.add_filter("cell", |text: &str| text.replace('|', "\\|"));
    Ok(environment.render_str(template, values)?)
}

/// A number with a comma before each three digits.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The state of the tree at the start of a run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    commit: String,
    uncommitted: String,
}

impl Tree {
    /// The state now, without `file`, which the run writes.
    ///
    /// # Errors
    /// git fails.
    pub(crate) fn now(file: &str) -> Result<Self> {
        let git = |arguments: &[&str]| output(&mut git(&root(), arguments));
        let mut commit = git(&["rev-parse", "--short=12", "HEAD"])?;
        let uncommitted = git(&["diff", "HEAD", "--", ".", &format!(":!{file}")])?;
        if !uncommitted.is_empty() {
            commit.push_str(" with uncommitted changes");
        }
        Ok(Self {
            commit,
            uncommitted,
        })
    }
}

#[cfg(test)]
#[path = "tests/page.rs"]
mod tests;
