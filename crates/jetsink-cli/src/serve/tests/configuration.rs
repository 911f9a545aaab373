use std::collections::HashMap;
use std::ffi::OsString;

use tempfile::NamedTempFile;

use super::*;
use crate::commands::Arguments;

/// `jetsink serve` as the command has it.
fn serve() -> Command {
    let command = Arguments::described();
    command.find_subcommand("serve").unwrap().clone()
}

/// A valid value of a setting, other than its default.
fn sample(key: &str) -> &'static str {
    match key {
        "subject" => "events.{tenantId}",
        "route" => "/orders=shop.orders",
        "listen" | "admin-listen" => "127.0.0.1:9999",
        "unix-mode" => "660",
        "mode" => "binary",
        "tenant-policy" => "encode",
        "deadline" | "spool-max-age" | "spool-wait" | "drain-delay" | "stop-time"
        | "header-time" | "body-time" => "7s",
        "spool-limit" | "max-body" | "max-decompressed" | "max-bytes" | "max-headers" => "2MiB",
        "max-batch" | "max-requests" | "max-connections" | "identities" | "threads"
        | "access-log" => "7",
        "verbose" => "2",
        _ => "text",
    }
}

fn file(text: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

/// The values by key, and each setting with its source.
type Resolved = (HashMap<String, Vec<String>>, Vec<Setting>);

/// The values as the gateway gets them.
fn resolved(
    flags: &[&str],
    variables: &[(&str, &str)],
    config: &NamedTempFile,
) -> Result<Resolved, String> {
    let mut words = vec!["serve", "--config", config.path().to_str().unwrap()];
    words.extend(flags);
    let matches = serve().try_get_matches_from(&words).unwrap();
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let (layered, settings) =
        layer(serve(), &matches, variable).map_err(|failure| failure.to_string())?;
    let matches = layered.try_get_matches_from(&words).unwrap();
    let text = |value: &OsString| value.to_str().unwrap().to_owned();
    let command = serve();
    let values = command.get_arguments().filter_map(key).map(|key| {
        let raw = matches.get_raw(&key.replace('-', "_"));
        let raw = raw.map(|values| values.map(|value| text(&value.to_owned())).collect());
        (key.to_owned(), raw.unwrap_or_default())
    });
    let values = values.collect();
    Ok((values, settings))
}

fn error(variables: &[(&str, &str)], config: &str) -> String {
    let config = file(config);
    let path = config.path().to_str().unwrap().to_owned();
    let error = resolved(&[], variables, &config).unwrap_err();
    error.replace(&path, "FILE")
}

#[test]
fn each_flag_has_a_variable_and_a_key() {
    let command = serve();
    let mut seen = 0;
    for arg in command.get_arguments().filter(|arg| key(arg).is_some()) {
        let (key, id) = (key(arg).unwrap(), arg.get_id().as_str());
        let name = variable(arg).unwrap();
        let help = arg.get_help().unwrap().to_string();
        assert!(help.contains(&format!("[env: {name}]")), "{key}: {help}");
        let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
        let (value, toml) = match is_switch {
            true => ("true", "true".to_owned()),
            false => (sample(key), format!("{:?}", sample(key))),
        };
        let config = file(&format!("{key} = {toml}\n"));
        // It may have a password.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(config.path(), mode).unwrap();
        let (values, settings) = resolved(&[], &[], &config).unwrap();
        assert_eq!(values[key], [value], "{key} in the file");
        let source = |settings: &[Setting]| {
            let found = settings.iter().find(|setting| setting.key == key);
            found.unwrap_or_else(|| panic!("{key}")).source.clone()
        };
        let path = config.path().to_owned();
        let place = format!("{}:1:{}", path.display(), key.len() + 4);
        assert_eq!(source(&settings).to_string(), place);
        let (values, settings) = resolved(&[], &[(&name, value)], &file("")).unwrap();
        assert_eq!(values[key], [value], "{name} for {id}");
        assert_eq!(source(&settings), Source::Variable(name));
        seen += 1;
    }
    assert!(seen > 40, "{seen}");
    for action in command.get_arguments().filter(|arg| key(arg).is_none()) {
        let flag = action.get_long().unwrap();
        assert!(ACTIONS.contains(&flag) || flag == CONFIG, "{flag}");
    }
}

#[test]
fn flag_precedes_variable_and_variable_precedes_file() {
    let config =
        file("deadline = \"1s\"\nmax-batch = 5\nlisten = [\"127.0.0.1:1\"]\nmode = \"binary\"");
    let variables = [
        ("JETSINK_DEADLINE", "2s"),
        ("JETSINK_LISTEN", "127.0.0.1:2, 127.0.0.1:3"),
        ("JETSINK_MODE", ""),
    ];
    let (values, settings) = resolved(&["--deadline", "3s"], &variables, &config).unwrap();
    assert_eq!(values["deadline"], ["3s"]);
    assert_eq!(values["listen"], ["127.0.0.1:2", "127.0.0.1:3"]);
    assert_eq!(values["max-batch"], ["5"]);
    assert_eq!(
        values["mode"],
        ["binary"],
        "an empty variable counts as unset"
    );
    assert_eq!(values["stop-time"], ["10s"]);
    let shown: Vec<String> = settings.iter().map(ToString::to_string).collect();
    let path = config.path().display();
    for line in [
        "deadline = \"3s\"  # flag".to_owned(),
        "listen = [\"127.0.0.1:2\", \"127.0.0.1:3\"]  # JETSINK_LISTEN".to_owned(),
        format!("max-batch = \"5\"  # {path}:2:13"),
        "stop-time = \"10s\"  # default".to_owned(),
        "allow-plaintext = false  # default".to_owned(),
    ] {
        assert!(shown.contains(&line), "{line}: {shown:#?}");
    }
    let again = file(&shown.join("\n"));
    assert_eq!(
        resolved(&[], &[], &again).unwrap().0,
        values,
        "it is a file itself"
    );
}

#[test]
fn unknown_key_is_an_error_with_a_suggestion() {
    for (line, reason) in [
        (
            "max_body = 1",
            "unknown key \"max_body\"; did you mean \"max-body\"?",
        ),
        (
            "Listen = 1",
            "unknown key \"Listen\"; did you mean \"listen\"?",
        ),
        (
            "deadlien = 1",
            "unknown key \"deadlien\"; did you mean \"deadline\"?",
        ),
        (
            "subjects = 1",
            "unknown key \"subjects\"; did you mean \"subject\"?",
        ),
        (
            "zzz = 1",
            "unknown key \"zzz\"; the keys are the flags of jetsink serve --help",
        ),
        (
            "check = true",
            "unknown key \"check\"; the keys are the flags of jetsink serve --help",
        ),
        (
            "[limits]",
            "unknown table \"limits\"; the keys have no tables, write them at the top",
        ),
    ] {
        assert_eq!(
            error(&[], &format!("\n{line}")),
            format!(
                "FILE:2:{}: {reason}",
                1 + usize::from(line.starts_with('['))
            )
        );
    }
}

#[test]
fn wrong_value_names_its_place() {
    for (line, reason) in [
        (
            "deadline = 3",
            "deadline: \"3\" is no time; write it like 500ms, 2s, 1m, 1h or 3d",
        ),
        (
            "mode = \"text\"",
            "mode: \"text\" is not one of as-received, structured, binary",
        ),
        (
            "listen = [\"here\"]",
            "listen: \"here\": invalid socket address syntax",
        ),
        ("threads = 0", "threads: \"0\": 0 is not in 1..=1024"),
        (
            "allow-plaintext = \"yes\"",
            "allow-plaintext: it must be true or false",
        ),
        ("spool = true", "spool: it takes a text or a number"),
        ("spool = [\"a\", \"b\"]", "spool: it takes one value"),
        (
            "unix-mode = 0o660",
            "unix-mode: it takes a text or a decimal number",
        ),
        ("verbose = \"much\"", "verbose: \"much\" is no number"),
    ] {
        let column = line.find("= ").unwrap() + 3;
        assert_eq!(
            error(&[], &format!("\n{line}")),
            format!("FILE:2:{column}: {reason}")
        );
    }
    // Columns count characters.
    let reason = error(&[], "\"ü\" = 1");
    assert!(reason.starts_with("FILE:1:1: unknown key"), "{reason}");
    let reason = error(&[], "spool = \"ü\"; x");
    assert!(reason.starts_with("FILE:1:12: "), "{reason}");
    assert!(error(&[], "a = ").starts_with("FILE:1:5: "), "not TOML");
    let reason = error(&[("JETSINK_DEADLINE", "3")], "");
    assert!(
        reason.starts_with("JETSINK_DEADLINE: \"3\" is no time"),
        "{reason}"
    );
    let reason = error(&[("JETSINK_ALLOW_PLAINTEXT", "maybe")], "");
    assert_eq!(
        reason,
        "JETSINK_ALLOW_PLAINTEXT: \"maybe\" is neither true nor false"
    );
}

#[test]
fn file_with_a_secret_must_be_private_and_the_secret_is_not_shown() {
    let config = file("password = \"s3cret\"\nuser = \"me\"");
    let with_mode = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(config.path(), mode).unwrap();
        resolved(&[], &[], &config)
    };
    let refused = with_mode(0o644).unwrap_err();
    assert!(
        refused.contains("has a password and other users can read it"),
        "{refused}"
    );
    let (_, settings) = with_mode(0o640).unwrap();
    let shown = format!("{settings:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
    let (_, settings) = resolved(&[], &[("NATS_TOKEN", "s3cret")], &file("")).unwrap();
    let shown: Vec<String> = settings.iter().map(ToString::to_string).collect();
    assert!(
        shown.contains(&"# token is set by NATS_TOKEN".to_owned()),
        "{shown:?}"
    );
}

/// A file that other users can read.
fn public(text: &str) -> NamedTempFile {
    let config = file(text);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(config.path(), mode).unwrap();
    config
}

fn shown(settings: &[Setting], config: &NamedTempFile) -> Vec<String> {
    let path = config.path().to_str().unwrap();
    let lines = settings.iter().map(|setting| setting.to_string());
    lines.map(|line| line.replace(path, "FILE")).collect()
}

// A reviewer's finding: a token was shown, since the engine takes a user without a password as one.
#[test]
fn user_without_a_password_is_a_secret() {
    let text = "user = \"s3cret\"";
    let refused = resolved(&[], &[], &public(text)).unwrap_err();
    assert!(
        refused.contains("has a user without a password"),
        "{refused}"
    );
    let config = file(text);
    let (values, settings) = resolved(&[], &[], &config).unwrap();
    assert_eq!(values["user"], ["s3cret"]);
    let lines = shown(&settings, &config);
    assert!(
        lines.contains(&"# user is set by FILE:1:8".to_owned()),
        "{lines:?}"
    );
    assert!(!format!("{settings:?}").contains("s3cret"));
    for (flags, variables) in [
        (&["--user", "s3cret"][..], &[][..]),
        (&[], &[("NATS_USER", "s3cret")]),
    ] {
        let (_, settings) = resolved(flags, variables, &file("")).unwrap();
        assert!(!format!("{settings:?}").contains("s3cret"), "{settings:?}");
    }
    let config = public("user = \"app\"");
    let (_, settings) = resolved(&[], &[("NATS_PASSWORD", "s3cret")], &config).unwrap();
    let lines = shown(&settings, &config);
    let expected = [
        "user = \"app\"  # FILE:1:8",
        "# password is set by NATS_PASSWORD",
    ];
    for line in expected {
        assert!(lines.contains(&line.to_owned()), "{line}: {lines:?}");
    }
}

// A reviewer's finding.
#[test]
fn login_of_a_server_is_a_secret() {
    let text = "server = \"nats://me:s3cret@n1:4222,s3cret@n2\"";
    let refused = resolved(&[], &[], &public(text)).unwrap_err();
    assert!(refused.contains("has a server with a login"), "{refused}");
    let config = file(text);
    let (values, settings) = resolved(&[], &[], &config).unwrap();
    assert_eq!(values["server"], ["nats://me:s3cret@n1:4222,s3cret@n2"]);
    let lines = shown(&settings, &config);
    let line = "# server = \"***@n1:4222,***@n2\"  # FILE:1:10".to_owned();
    assert!(lines.contains(&line), "{lines:?}");
    assert!(!format!("{settings:?}").contains("s3cret"));
    let plain = public("server = \"nats://n1:4222\"");
    let (_, settings) = resolved(&[], &[], &plain).unwrap();
    let lines = shown(&settings, &plain);
    let line = "server = \"nats://n1:4222\"  # FILE:1:10".to_owned();
    assert!(lines.contains(&line), "{lines:?}");
}

/// The flags of the login that have a value, with it.
fn login(
    flags: &[&str],
    variables: &[(&str, &str)],
    config: &NamedTempFile,
) -> (Vec<String>, Vec<String>) {
    let (values, settings) = resolved(flags, variables, config).unwrap();
    let keys = ["creds", "nkey", "token", "user", "password"];
    let used = keys.iter().filter(|key| !values[**key].is_empty());
    let used = used.map(|key| format!("{key}={}", values[*key].join(",")));
    let lines = shown(&settings, config);
    let is_login = |line: &String| keys.iter().any(|key| line.contains(&format!("{key} ")));
    (used.collect(), lines.into_iter().filter(is_login).collect())
}

// A reviewer's finding: the credentials file of the configuration came before the user of the command line.
#[test]
fn login_is_that_of_the_first_source_that_names_one() {
    let config = file("creds = \"file.creds\"\nuser = \"f\"\npassword = \"fp\"");
    let login = |flags: &[&str], variables: &[(&str, &str)]| login(flags, variables, &config);
    let (used, lines) = login(
        &["--user", "a", "--password", "ap"],
        &[("NATS_NKEY", "seed")],
    );
    assert_eq!(used, ["user=a", "password=ap"]);
    assert_eq!(lines, ["user = \"a\"  # flag", "# password is set by flag"]);
    let (used, lines) = login(&[], &[("NATS_TOKEN", "t")]);
    assert_eq!(used, ["token=t"]);
    assert_eq!(lines, ["# token is set by NATS_TOKEN"]);
    let (used, _) = login(
        &["--nkey", "seed"],
        &[("NATS_CREDS", "c"), ("NATS_USER", "e")],
    );
    assert_eq!(used, ["nkey=seed"]);
    let (used, _) = login(&["--user", "token"], &[]);
    assert_eq!(used, ["user=token"], "the password is the file's user's");
    let (used, _) = login(&["--user", "a"], &[("NATS_PASSWORD", "ap")]);
    assert_eq!(used, ["user=a", "password=ap"]);
    let (used, _) = login(&[], &[("NATS_PASSWORD", "ep")]);
    assert_eq!(used, ["creds=file.creds", "user=f", "password=ep"]);
}
