//! One setting, with its value and its source, as `--check` prints it.

use std::error::Error as _;
use std::fmt;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};

use super::file::Place;
use crate::connection::without_login;
use crate::failure::Failure;

/// The source of a setting's value. `Display` names it in an error and in `--check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Flag,
    Variable(String),
    File { path: PathBuf, place: Place },
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => to.write_str("flag"),
            Self::Variable(name) => to.write_str(name),
            Self::File { path, place } => write!(to, "{}:{place}", path.display()),
            Self::Default => to.write_str("default"),
        }
    }
}

impl Source {
    /// The error of a value from this source.
    pub(crate) fn wrong(&self, key: &str, reason: &dyn fmt::Display) -> Failure {
        match self {
            Self::File { .. } => Failure::Toml {
                place: self.to_string(),
                reason: format!("{key}: {reason}"),
            },
            Self::Variable(name) => Failure::Usage(format!("{name}: {reason}")),
            Self::Flag | Self::Default => Failure::Usage(format!("--{key}: {reason}")),
        }
    }
}

/// The part of a value that is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrecy {
    Public,
    /// Logins in the URLs of servers.
    Servers,
    Secret,
}

/// A value, as far as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    /// As in the file.
    Value(String),
    /// As in the file, without its logins.
    WithoutLogin(String),
    Nothing,
}

/// A setting that has a value. `Display` is a line of the configuration file; it is a comment if a part is not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) key: String,
    pub(crate) shown: Shown,
    pub(crate) source: Source,
}

impl Setting {
    /// The setting of a flag. `layer` has the values of the environment or the file.
    pub(super) fn of(
        arg: &Arg,
        flags: &ArgMatches,
        layer: Option<(Vec<String>, Source)>,
        secrecy: Secrecy,
    ) -> Option<Self> {
        let id = arg.get_id().as_str();
        let is_flag = flags.value_source(id) == Some(ValueSource::CommandLine);
        let (values, source) = match layer {
            Some(layer) if !is_flag => layer,
            _ => {
                let source = if is_flag {
                    Source::Flag
                } else {
                    Source::Default
                };
                (raw(arg, flags)?, source)
            }
        };
        let toml = |value: &String| match arg.get_action() {
            ArgAction::SetTrue | ArgAction::Count => value.clone(),
            // A string of JSON is one of TOML, too.
            _ => serde_json::Value::from(value.as_str()).to_string(),
        };
        let shown = match (secrecy, arg.get_action(), &values[..]) {
            (Secrecy::Secret, ..) => Shown::Nothing,
            (_, ArgAction::Append, values) => {
                let values: Vec<String> = values.iter().map(toml).collect();
                Shown::Value(format!("[{}]", values.join(", ")))
            }
            (Secrecy::Servers, _, [servers, ..]) if servers.contains('@') => {
                Shown::WithoutLogin(toml(&without_login(servers)))
            }
            (_, _, values) => Shown::Value(toml(values.first()?)),
        };
        Some(Self {
            key: arg.get_long()?.to_owned(),
            shown,
            source,
        })
    }
}

/// The values as they were written; `None` if there are none.
fn raw(arg: &Arg, flags: &ArgMatches) -> Option<Vec<String>> {
    let id = arg.get_id().as_str();
    match arg.get_action() {
        ArgAction::SetTrue => Some(vec![flags.get_flag(id).to_string()]),
        ArgAction::Count => Some(vec![flags.get_count(id).to_string()]),
        _ => {
            let values = flags.get_raw(id)?;
            Some(
                values
                    .map(|value| value.to_string_lossy().into_owned())
                    .collect(),
            )
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, shown, source } = self;
        match shown {
            Shown::Value(value) => write!(to, "{key} = {value}  # {source}"),
            Shown::WithoutLogin(value) => write!(to, "# {key} = {value}  # {source}"),
            Shown::Nothing => write!(to, "# {key} is set by {source}"),
        }
    }
}

/// Returns the reason why a flag does not accept a value, in one line.
pub(super) fn reason(error: &clap::Error, value: &str) -> String {
    if let Some(source) = error.source() {
        let reason = source.to_string();
        let shown = format!("{value:?}");
        return match reason.contains(&shown) {
            true => reason,
            false => format!("{shown}: {reason}"),
        };
    }
    let valid = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(valid)) => valid.join(", "),
        _ => return format!("{value:?} is not valid"),
    };
    format!("{value:?} is not one of {valid}")
}
