//! Prints findings as they come, and counts them.

use super::finding::{Finding, Level};
use crate::output;

pub(super) struct Diagnosis {
    pub(super) json: bool,
    pub(super) problems: u64,
    pub(super) warnings: u64,
}

impl Diagnosis {
    pub(super) fn add(&mut self, finding: impl Into<Finding>) {
        let finding = finding.into();
        match finding.level {
            Level::Ok => {}
            Level::Warning => self.warnings += 1,
            Level::Problem => self.problems += 1,
        }
        let line = if self.json {
            finding.as_json().to_string()
        } else {
            finding.as_text()
        };
        output::print(&line);
    }

    pub(super) fn extend<F: Into<Finding>>(&mut self, findings: impl IntoIterator<Item = F>) {
        findings.into_iter().for_each(|finding| self.add(finding));
    }
}
