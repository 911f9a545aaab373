//! Variables that look like settings of `jetsink serve` and are none: they have no effect.

use clap::Command;

use super::file::nearest;
use super::variable;

/// The beginning of each setting's variable.
const PREFIX: &str = "JETSINK_";

/// Variables of the systemd units, which put them into flags.
const OF_UNITS: [&str; 3] = ["JETSINK_FILE", "JETSINK_FLAGS", "JETSINK_METRICS"];

/// Returns a text for each of the variables `names` that is no setting. It has no value: that may be a secret.
pub(crate) fn unknown_variables(
    serve: &Command,
    names: impl IntoIterator<Item = String>,
) -> Vec<String> {
    let known: Vec<String> = serve.get_arguments().filter_map(variable).collect();
    let unknown = names.into_iter().filter(|name| {
        name.starts_with(PREFIX)
            && !known.contains(name)
            && !OF_UNITS.contains(&name.as_str())
            && !is_of_kubernetes(name)
    });
    let mut texts: Vec<String> = unknown.map(|name| text(&name, &known)).collect();
    texts.sort();
    texts
}

/// Kubernetes sets these for each service, and a service may be called `jetsink`.
fn is_of_kubernetes(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.contains("_PORT_")
}

fn text(name: &str, known: &[String]) -> String {
    // With the common beginning all are similar.
    let written = name.strip_prefix(PREFIX).unwrap_or(name);
    let settings: Vec<&str> = known
        .iter()
        .filter_map(|known| known.strip_prefix(PREFIX))
        .collect();
    let advice = match nearest(written, &settings) {
        Some(known) => format!("did you mean {PREFIX}{known}?"),
        None => "jetsink serve --help names the variables".to_owned(),
    };
    format!("{name:?} is the variable of no setting, and has no effect; {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Arguments;

    fn unknown(names: &[&str]) -> Vec<String> {
        let command = Arguments::described();
        let serve = command.find_subcommand("serve").unwrap();
        unknown_variables(serve, names.iter().map(|name| (*name).to_owned()))
    }

    #[test]
    fn misspelt_variable_gets_a_suggestion() {
        for (name, meant) in [
            ("JETSINK_SPOL", "JETSINK_SPOOL?"),
            ("JETSINK_MAX_BACH", "JETSINK_MAX_BATCH?"),
            ("JETSINK_SUBJECTS", "JETSINK_SUBJECT?"),
            ("JETSINK_", "--help"),
            ("JETSINK_QQ", "--help"),
        ] {
            let texts = unknown(&[name]);
            assert!(
                matches!(&texts[..], [text] if text.contains(name) && text.contains(meant)),
                "{texts:?}"
            );
        }
    }

    #[test]
    fn settings_and_variables_of_others_are_not_misspelt() {
        let others = [
            "JETSINK_SPOOL",
            "JETSINK_CONFIG",
            "JETSINK_SUBJECT",
            "JETSINK_FLAGS",
            "JETSINK_PORT",
            "JETSINK_SERVICE_HOST",
            "JETSINK_SERVICE_PORT_HTTP",
            "JETSINK_GATEWAY_PORT_8080_TCP_ADDR",
            "NATS_URL",
            "NATS_URLS",
            "HOME",
        ];
        assert_eq!(unknown(&others), Vec::<String>::new());
    }
}
