//! The settings of `jetsink serve` from flags, variables of the environment, and a file.
//!
//! A value of the environment or of the file becomes the default of its flag. So a flag comes first, then its variable,
//! then the file, then the built-in default. The login comes from one source as a whole.

mod file;
mod misspelt;
mod setting;

use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::connection;
use crate::connection::login::{Login, Rank};
use crate::failure::Failure;
use file::File;
pub(crate) use misspelt::unknown_variables;
use setting::Secrecy;
pub(crate) use setting::{Setting, Source};

/// The flag that names the file.
const CONFIG: &str = "config";

/// Flags that are no settings of the gateway: they have no variable and no key.
const ACTIONS: &[&str] = &["check", "help", "version"];

/// Adds the variable of each flag to its help.
pub(crate) fn with_variables(command: Command) -> Command {
    command.mut_args(|arg| match variable(&arg) {
        // The texts of the connection's flags name their variables.
        Some(name) if connection::variable(arg.get_id().as_str()).is_none() => {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            arg.help(format!("{help} [env: {name}]"))
        }
        _ => arg,
    })
}

/// The variable of a flag: that of the `nats` command for the login, otherwise `JETSINK_` and the flag's name.
fn variable(arg: &Arg) -> Option<String> {
    let flag = flag(arg)?;
    let known = connection::variable(arg.get_id().as_str());
    let name = || format!("JETSINK_{}", flag.replace('-', "_").to_uppercase());
    Some(known.map_or_else(name, str::to_owned))
}

/// The name of a flag that is a setting.
fn flag(arg: &Arg) -> Option<&str> {
    arg.get_long().filter(|flag| !ACTIONS.contains(flag))
}

/// The name of a flag that is a key of the file.
fn key(arg: &Arg) -> Option<&str> {
    flag(arg).filter(|flag| *flag != CONFIG)
}

/// The command with the values of the environment and the file as defaults, and each setting with its source.
///
/// `flags` has the flags of the command line only.
pub(crate) fn layer(
    command: Command,
    flags: &ArgMatches,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<(Command, Vec<Setting>), Failure> {
    let environment = |name: &str| environment(name).filter(|value| !value.is_empty());
    let path = flags.get_one::<PathBuf>(CONFIG).cloned();
    let path = path.or_else(|| environment("JETSINK_CONFIG").map(PathBuf::from));
    let keys: Vec<String> = command
        .get_arguments()
        .filter_map(key)
        .map(str::to_owned)
        .collect();
    let file = match &path {
        None => File::default(),
        Some(path) => File::read(path, &keys)?,
    };
    let has = |rank, flag: &str| match rank {
        Rank::Flag => flags.value_source(flag) == Some(ValueSource::CommandLine),
        Rank::Variable => {
            connection::variable(flag).is_some_and(|name| environment(name).is_some())
        }
        Rank::File => file.get(flag).is_some(),
    };
    if let Some(path) = &path {
        let has_password = has(Rank::Flag, "password") || has(Rank::Variable, "password");
        check_secrecy(path, &file, has_password)?;
    }
    let login = Login::choose(has);
    let mut layered = command.clone();
    let mut settings = Vec::new();
    for arg in command.get_arguments() {
        let Some(flag) = key(arg) else { continue };
        let name = variable(arg).unwrap_or_default();
        let of_environment = environment(&name).filter(|_| login.uses(Rank::Variable, flag));
        let entry = file.get(flag).filter(|_| login.uses(Rank::File, flag));
        let given = match (of_environment, entry) {
            (Some(value), _) => Some((of_variable(arg, &value), Source::Variable(name))),
            (None, Some(entry)) => Some((
                of_file(arg, entry),
                Source::File {
                    path: path.clone().unwrap_or_default(),
                    place: entry.place,
                },
            )),
            (None, None) => None,
        };
        let layer = match given {
            None => None,
            Some((values, source)) => {
                let values = values.and_then(|values| checked(&command, arg, values));
                let values = values.map_err(|reason| source.wrong(flag, &reason))?;
                layered = layered.mut_arg(arg.get_id(), |arg| arg.default_values(values.clone()));
                Some((values, source))
            }
        };
        let secrecy = match flag {
            "password" | "token" => Secrecy::Secret,
            "user" if login.user_is_token() => Secrecy::Secret,
            "server" => Secrecy::Servers,
            _ => Secrecy::Public,
        };
        settings.extend(Setting::of(arg, flags, layer, secrecy));
    }
    Ok((layered, settings))
}

/// The values of a variable: several are separated by commas.
fn of_variable(arg: &Arg, text: &str) -> Result<Vec<String>, String> {
    let values = match arg.get_action() {
        ArgAction::Append => text
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect(),
        ArgAction::SetTrue => vec![truth(text)?.to_string()],
        _ => vec![text.to_owned()],
    };
    Ok(values)
}

fn truth(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

fn of_file(arg: &Arg, entry: &file::Entry) -> Result<Vec<String>, String> {
    let takes_many = matches!(arg.get_action(), ArgAction::Append);
    let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
    match (&entry.value, is_switch) {
        (file::Value::Switch(on), true) => Ok(vec![on.to_string()]),
        (_, true) => Err("it must be true or false".to_owned()),
        (file::Value::Switch(_), false) => Err("it takes a text or a number".to_owned()),
        (file::Value::One(value), false) => Ok(vec![value.clone()]),
        (file::Value::Many(values), false) if takes_many => Ok(values.clone()),
        (file::Value::Many(_), false) => Err("it takes one value".to_owned()),
    }
}

/// Parses each value as the flag does.
fn checked(command: &Command, arg: &Arg, values: Vec<String>) -> Result<Vec<String>, String> {
    let takes_value = arg.get_action().takes_values();
    for value in &values {
        if !takes_value {
            // Counts are numbers; switches are checked by now.
            let is_count = matches!(arg.get_action(), ArgAction::Count);
            if is_count && value.parse::<u8>().is_err() {
                return Err(format!("{value:?} is no number"));
            }
            continue;
        }
        let flag = format!("--{}={value}", arg.get_long().unwrap_or_default());
        let parsed = command
            .clone()
            .no_binary_name(true)
            .try_get_matches_from([flag]);
        parsed.map_err(|error| setting::reason(&error, value))?;
    }
    Ok(values)
}

/// Checks that other users cannot read a file that has a secret. `has_password`: a flag or a variable has the password.
fn check_secrecy(path: &Path, file: &File, has_password: bool) -> Result<(), Failure> {
    let server = file.get("server").map(|entry| &entry.value);
    let secret = if file.get("password").is_some() {
        "password"
    } else if file.get("token").is_some() {
        "token"
    } else if file.get("user").is_some() && !has_password {
        "user without a password, which is a token,"
    } else if matches!(server, Some(file::Value::One(server)) if server.contains('@')) {
        "server with a login"
    } else {
        return Ok(());
    };
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = std::fs::metadata(path).map_err(|source| Failure::File {
        path: path.to_owned(),
        source,
    })?;
    if metadata.permissions().mode() & 0o007 == 0 {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "{} has a {secret} and other users can read it; run chmod o= on it, or use creds, nkey or a context",
        path.display()
    )))
}

#[cfg(test)]
#[path = "../tests/configuration.rs"]
mod tests;
