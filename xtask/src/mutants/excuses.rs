//! The excused mutants of `.cargo/mutants.toml`: each pattern of `exclude_re`, with the comment above it as its reason.

use anyhow::{Context as _, Result, ensure};
use regex::Regex;
use toml::Table;

pub(super) const FILE: &str = ".cargo/mutants.toml";

/// One pattern. The mutants that it fits may survive.
#[derive(Debug)]
pub(super) struct Excuse {
    pub(super) pattern: String,
    pub(super) reason: String,
    regex: Regex,
}

impl Excuse {
    /// Whether it excuses the mutant of this name.
    pub(super) fn fits(&self, name: &str) -> bool {
        self.regex.is_match(name)
    }
}

/// Reads the patterns. Several patterns below one comment have the same reason.
///
/// # Errors
/// A pattern has no comment above it, or is no regular expression.
pub(super) fn read(text: &str) -> Result<Vec<Excuse>> {
    let settings: Table = text.parse().context(FILE)?;
    let patterns = settings.get("exclude_re").and_then(|list| list.as_array());
    let patterns = patterns.into_iter().flatten().filter_map(|p| p.as_str());
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| line.starts_with("exclude_re"));
    let mut excuses: Vec<Excuse> = Vec::new();
    let mut reason = String::new();
    for pattern in patterns {
        let mut comment: Vec<&str> = Vec::new();
        for line in lines.by_ref().take_while(|line| !line.contains(pattern)) {
            comment.extend(line.strip_prefix("# "));
        }
        if !comment.is_empty() {
            reason = comment.join(" ");
        }
        ensure!(!reason.is_empty(), "{FILE}: {pattern} has no reason");
        excuses.push(Excuse {
            pattern: pattern.to_owned(),
            reason: reason.clone(),
            regex: Regex::new(pattern).with_context(|| FILE.to_owned())?,
        });
    }
    Ok(excuses)
}

#[cfg(test)]
#[path = "tests/excuses.rs"]
mod tests;
