//! Findings: the result of one check each. The enums of this folder contain all of them, with their texts, and convert
//! into a [`Finding`].

mod account;
mod connection;
mod gateway;
mod look_up;
mod stream;
mod subject;

pub(super) use account::AccountFinding;
pub(super) use connection::ConnectionFinding;
pub(super) use gateway::{GatewayFinding, RefusalRemedy};
pub(super) use look_up::{LookUpFinding, Removal};
use serde_json::{Value, json};
pub(super) use stream::{StreamFinding, StreamLimit};
pub(super) use subject::SubjectFinding;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Ok,
    Warning,
    Problem,
}

impl Level {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// Stable over versions, for scripts.
    pub(super) code: &'static str,
    pub(super) text: String,
    /// A command, or a change to a configuration.
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(code: &'static str, text: impl Into<String>) -> Self {
        Self {
            level: Level::Ok,
            code,
            text: text.into(),
            remedy: None,
        }
    }

    pub(super) fn warning(
        code: &'static str,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Warning,
            code,
            text: text.into(),
            remedy: Some(remedy.into()),
        }
    }

    pub(super) fn problem(
        code: &'static str,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Problem,
            ..Self::warning(code, text, remedy)
        }
    }

    pub(super) fn as_json(&self) -> Value {
        json!({
            "level": self.level.as_str(),
            "code": self.code,
            "text": self.text,
            "remedy": self.remedy,
        })
    }

    /// Two lines if there is a remedy.
    pub(super) fn as_text(&self) -> String {
        let mark = match self.level {
            Level::Ok => "ok     ",
            Level::Warning => "WARNING",
            Level::Problem => "PROBLEM",
        };
        match &self.remedy {
            None => format!("{mark}  {}", self.text),
            Some(remedy) => format!("{mark}  {} [{}]\n         {remedy}", self.text, self.code),
        }
    }
}

#[cfg(test)]
#[path = "../tests/findings.rs"]
mod tests;
