//! Flags, files, variables, tokens.

use std::io::Read as _;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::serve::support::*;
use crate::support::*;

#[tokio::test]
async fn new_token_is_accepted_after_a_hangup_and_its_file_has_no_secret() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let file = as_text(&folder.path().join("access.toml")).to_owned();
    let token = |name: &str| {
        let made = command(
            "serve",
            &[
                "token",
                "new",
                "--name",
                name,
                "--subject",
                "events.>",
                "--file",
                &file,
            ],
        )
        .output();
        let made = made.unwrap();
        assert_code(&made, 0);
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    };
    let first = token("first");
    let url = server.url();
    let mut gateway = Gateway::start(&gateway_flags(&url, &["--access", &file, "-vvv"]));
    let address = gateway.line("listening on http://");
    let send = |token: &str, n| {
        let head = format!(
            "POST / HTTP/1.1\r\ncontent-type: application/cloudevents+json\r\nauthorization: Bearer {token}"
        );
        request(&address, &head, &event(n)).0
    };
    assert_eq!(send(&first, 1), 202);
    assert_eq!(send("jst_wrong", 2), 401);
    let second = token("second");
    gateway.signal(Signal::SIGHUP);
    let started = Instant::now();
    while send(&second, 2) != 202 {
        assert!(
            started.elapsed() < PATIENCE,
            "the new token is not accepted"
        );
    }
    let text = std::fs::read_to_string(&file).unwrap();
    gateway.signal(Signal::SIGTERM);
    let mut log = String::new();
    gateway.stderr.read_to_string(&mut log).unwrap();
    for secret in [&first, &second] {
        assert!(!text.contains(secret.as_str()), "the file has a token");
        assert!(!log.contains(secret.as_str()), "the log has a token");
    }
    let again = command(
        "serve",
        &[
            "token",
            "new",
            "--name",
            "first",
            "--subject",
            "events.>",
            "--file",
            &file,
        ],
    )
    .output();
    assert_code(&again.unwrap(), 2);
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        text,
        "a refused token changes nothing"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn wrong_usage_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let missing = as_text(&folder.path().join("missing")).to_owned();
    for (flags, part) in [
        (&["--listen", "127.0.0.1:0"][..], "--subject"),
        (&["--subject", "e", "--listen", "0.0.0.0:0"], "loopback"),
        (
            &[
                "--subject",
                "e",
                "--listen",
                "0.0.0.0:0",
                "--allow-plaintext",
            ],
            "credential",
        ),
        (&["--subject", "{type}"], "--subject"),
        (&["--route", "/a"], "--route"),
        (&["--route", "/a=events..x"], "--route: /a"),
        (&["--route", "a=e"], "begins with '/'"),
        (
            &[
                "--route",
                "/a=e",
                "--route",
                "/a=f",
                "--listen",
                "127.0.0.1:0",
            ],
            "two routes",
        ),
        (&["--subject", "e", "--access", &missing], "--access"),
        (
            &[
                "--subject",
                "e",
                "--https-cert",
                &missing,
                "--https-key",
                &missing,
            ],
            "--https-cert",
        ),
        (
            &["--subject", "e", "--https-cert", &missing],
            "--https-cert: HTTPS needs",
        ),
        (
            &["--subject", "e", "--max-headers", "1KiB"],
            "--max-headers: ",
        ),
        (&["--subject", "e", "--max-body", "1KiB"], "limit of a body"),
        (&["--subject", "e", "--unix-mode", "999"], "no mode"),
    ] {
        let output = command("serve", flags).output().unwrap();
        assert_code(&output, 2);
        assert!(
            stderr(&output).contains(part),
            "{flags:?}: {}",
            stderr(&output)
        );
    }
}

#[tokio::test]
async fn settings_come_from_a_file_and_the_environment_and_are_checked() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("gateway.toml");
    let text = format!(
        "subject = \"events.wrong\"\nserver = {:?}\nlisten = [\"127.0.0.1:0\"]\nroute = [\"/orders=events.orders\"]\n",
        server.url()
    );
    std::fs::write(&config, &text).unwrap();
    let with = |flags: &[&str]| {
        let flags = [&["--config", as_text(&config)], flags].concat();
        let mut command = command("serve", &flags);
        command.env("JETSINK_SUBJECT", "events.right");
        command
    };
    let mut check = with(&["--check"]);
    let checked = check.env("JETSINK_SPOL", "hunter2").output().unwrap();
    assert_code(&checked, 0);
    let notes = stderr(&checked);
    assert!(
        notes.contains("did you mean JETSINK_SPOOL?") && !notes.contains("hunter2"),
        "{notes}"
    );
    let shown = String::from_utf8(checked.stdout).unwrap();
    assert!(
        shown.contains("subject = \"events.right\"  # JETSINK_SUBJECT"),
        "{shown}"
    );
    let mut gateway = Gateway::of(with(&[]));
    let address = gateway.line("listening on http://");
    assert_eq!(post(&address, "/", &event(1)).0, 202);
    assert_eq!(post(&address, "/orders", &event(2)).0, 202);
    let there = there(&server).await;
    let subjects: Vec<&str> = there
        .iter()
        .map(|message| message.subject.as_str())
        .collect();
    assert_eq!(subjects, ["events.right", "events.orders"]);
    for (line, place, reason) in [
        ("max_body = 1", 1, "unknown key \"max_body\"; did you mean"),
        (
            "listen-unix = 1\naccess = \"/no/such\"",
            10,
            "access: /no/such",
        ),
        (
            "spool-limit = \"1MiB\"",
            15,
            "spool-limit: it needs the folder",
        ),
        ("https-cert = \"cert.pem\"", 14, "https-cert: HTTPS needs"),
        (
            "https-client-ca = \"ca.pem\"",
            19,
            "https-client-ca: HTTPS needs",
        ),
        ("creds = \"/no/such\"", 9, "creds: nats connect"),
        ("tlsca = \"/no/such\"", 9, "tlsca: nats connect"),
        (
            "stream = \"a.b\"",
            10,
            "stream: \"a.b\": the name contains '.'",
        ),
        (
            "max-body = \"1KiB\"",
            12,
            "max-body: the limit of a body is 1024",
        ),
        (
            "max-bytes = \"1MiB\"",
            13,
            "max-bytes: the limit of all bodies",
        ),
        (
            "max-decompressed = \"64KiB\"",
            20,
            "max-decompressed: the limit",
        ),
        (
            "max-headers = \"1KiB\"",
            15,
            "max-headers: the limit of headers",
        ),
        ("max-batch = 0", 13, "max-batch: the limit of a batch"),
        (
            "max-requests = 1",
            16,
            "max-requests: the limit of requests",
        ),
        ("identities = 1", 14, "identities: the limit of identities"),
        ("deadline = \"2h\"", 12, "deadline: the deadline is"),
        ("body-time = \"0s\"", 13, "body-time: the time of a body"),
        (
            "header-time = \"2h\"",
            15,
            "header-time: the time of headers",
        ),
        (
            "spool = \"s\"\nspool-limit = 0",
            15,
            "spool-limit: \"0\" is no size",
        ),
        (
            "spool = \"s\"\nspool-max-age = \"0s\"",
            17,
            "spool-max-age: the maximum age of a spooled event is 0",
        ),
    ] {
        std::fs::write(&config, format!("{text}{line}\n")).unwrap();
        let refused = with(&["--check"]).output().unwrap();
        assert_code(&refused, 2);
        let lines = 4 + line.lines().count();
        let expected = format!("gateway.toml:{lines}:{place}: {reason}");
        let shown = stderr(&refused);
        assert!(shown.contains(&expected), "{expected}: {shown}");
    }
    for (from, to, expected) in [
        ("/orders=events.orders", "orders", ":4:9: route: \"orders\""),
        ("/orders=events.orders", "/a=e..x", ":4:9: route: /a: "),
        ("/orders=events.orders", "/=e", ":4:9: route: route \"/\""),
        (
            "127.0.0.1:0",
            "0.0.0.0:0",
            ":3:10: listen: 0.0.0.0:0 is not",
        ),
        ("nats://", "what://", ":2:10: server: nats connect"),
    ] {
        std::fs::write(&config, text.replace(from, to)).unwrap();
        let refused = with(&["--check"]).output().unwrap();
        assert_code(&refused, 2);
        let expected = format!("gateway.toml{expected}");
        let shown = stderr(&refused);
        assert!(shown.contains(&expected), "{expected}: {shown}");
    }
    std::fs::write(&config, &text).unwrap();
    let refused = with(&["--check"]).env("JETSINK_SUBJECT", "{type}").output();
    let shown = stderr(&refused.unwrap());
    assert!(shown.contains("JETSINK_SUBJECT: "), "{shown}");
    let nothing = command("serve", &["--check"]).output().unwrap();
    assert_code(&nothing, 2);
    assert!(
        stderr(&nothing).contains("no subject for events"),
        "{}",
        stderr(&nothing)
    );
}
