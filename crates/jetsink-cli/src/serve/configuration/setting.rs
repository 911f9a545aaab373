//! One setting, with its value and its source, as `--check` prints it.

use std::error::Error as _;
use std::fmt;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};

/// The source of a setting's value. `Display` names it in an error and in `--check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Flag,
    Variable(String),
    File { path: PathBuf, line: usize },
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => to.write_str("flag"),
            Self::Variable(name) => to.write_str(name),
            Self::File { path, line } => write!(to, "{}:{line}", path.display()),
            Self::Default => to.write_str("default"),
        }
    }
}

/// A setting that has a value. `Display` is a line of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) key: String,
    /// As in the file; `None` for a secret.
    pub(crate) value: Option<String>,
    pub(crate) source: Source,
}

impl Setting {
    /// The setting of a flag. `layer` has the values of the environment or the file.
    pub(super) fn of(
        arg: &Arg,
        flags: &ArgMatches,
        layer: Option<(Vec<String>, Source)>,
        is_secret: bool,
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
        let value = match (arg.get_action(), &values[..]) {
            (ArgAction::Append, values) => {
                let values: Vec<String> = values.iter().map(toml).collect();
                format!("[{}]", values.join(", "))
            }
            (_, values) => toml(values.first()?),
        };
        Some(Self {
            key: arg.get_long()?.to_owned(),
            value: (!is_secret).then_some(value),
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
        let Self { key, value, source } = self;
        match value {
            Some(value) => write!(to, "{key} = {value}  # {source}"),
            None => write!(to, "# {key} is set by {source}"),
        }
    }
}

/// Why a flag does not take a value, in one line.
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
