//! The units, the socket and the readiness of systemd.

use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::Signal;

use crate::serve::support::*;
use crate::support::*;

#[tokio::test]
async fn socket_of_systemd_is_used_and_the_service_manager_is_notified() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let notify = folder.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&notify).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    // As systemd does it: the socket is descriptor 3, and the variables name the process.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let url = server.url();
    let mut gateway = Gateway::of(activated(
        listener,
        &notify,
        &["-s", &url, "--subject", "events.all"],
    ));
    let mut message = [0; 64];
    let length = manager.recv(&mut message).unwrap();
    assert_eq!(message[..length].trim_ascii(), b"READY=1");
    assert_eq!(post(&address, "/", &event(1)).0, 202);
    gateway.signal(Signal::SIGTERM);
    let length = manager.recv(&mut message).unwrap();
    assert_eq!(message[..length].trim_ascii(), b"STOPPING=1");
    assert_eq!(gateway.code(), Some(0));
}

/// Runs the command by a shell, which moves the socket from standard input to descriptor 3 and becomes the command.
fn activated(
    listener: std::net::TcpListener,
    notify: &Path,
    arguments: &[&str],
) -> std::process::Command {
    let plain = command("serve", arguments);
    let mut shell = std::process::Command::new("sh");
    shell
        .arg("-c")
        .arg("exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"")
        .arg("sh")
        .arg(plain.get_program())
        .args(plain.get_args())
        .env("NOTIFY_SOCKET", notify)
        .env("XDG_CONFIG_HOME", "/no/such/folder")
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)));
    shell
}

#[tokio::test]
async fn command_line_and_example_settings_of_the_unit_accept_events() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/systemd");
    let read = |file: &str| std::fs::read_to_string(format!("{deploy}/{file}")).unwrap();
    let unit = read("jetsink-serve.service").replace("\\\n", " ");
    let words = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart=/usr/bin/jetsink serve "));
    let words = words
        .unwrap()
        .replace("${STATE_DIRECTORY}", as_text(folder.path()));
    let words: Vec<&str> = words.split_whitespace().collect();
    let mut command = command("serve", &words);
    for line in read("jetsink-serve.env.example").lines() {
        if line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        // Other tests listen, too.
        let value = if name.ends_with("LISTEN") {
            "127.0.0.1:0"
        } else {
            value
        };
        command.env(name, value);
    }
    command.env("NATS_URL", server.url());
    let mut gateway = Gateway::of(command);
    let address = gateway.line("listening on http://");
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    assert_eq!(post(&address, "/", event).0, 202);
    assert!(folder.path().join("spool").is_dir());
    gateway.signal(Signal::SIGTERM);
    assert_eq!(gateway.code(), Some(0));
}
