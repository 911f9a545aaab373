use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    connection: Connection,
}

/// The settings as their `Debug` text, which names the kind of login.
fn settings(flags: &[&str], variables: &[(&str, &str)]) -> String {
    let line = Line::parse_from([&["jetsink"], flags].concat());
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let server = ("NATS_URL", "nats://127.0.0.1:1");
    let variable = |name: &str| match name == server.0 {
        true => Some(server.1.to_owned()),
        false => variable(name),
    };
    let settings = resolve_connection(&line.connection, variable).unwrap();
    format!("{settings:?}")
}

#[test]
fn login_of_the_flags_precedes_one_of_the_environment() {
    let creds = ("NATS_CREDS", "/a.creds");
    let password = ("NATS_PASSWORD", "p");
    for (flags, variables, login) in [
        (
            &["--user", "a", "--password", "p"][..],
            &[creds][..],
            "user and password",
        ),
        (&["--token", "t"], &[creds, password], "token"),
        (&["--user", "a"], &[password], "user and password"),
        // The password is that of the variables' user.
        (&["--user", "t"], &[("NATS_USER", "b"), password], "token"),
        (
            &["--creds", "/a.creds"],
            &[("NATS_USER", "b"), password],
            "credentials file",
        ),
        (
            &["--password", "p"],
            &[("NATS_USER", "b")],
            "user and password",
        ),
        (&[], &[creds, ("NATS_TOKEN", "t")], "credentials file"),
        (&["--tlsfirst"], &[creds], "credentials file"),
        (&["--token", "t"], &[("NATS_NKEY", "/no/such")], "token"),
    ] {
        let settings = settings(flags, variables);
        let expected = format!("login: {login:?}");
        assert!(settings.contains(&expected), "{flags:?}: {settings}");
    }
}
