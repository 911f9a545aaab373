//! `jetsink serve`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Stdio};
use std::time::{Duration, Instant};

use nats_local::NatsServer;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A running gateway; killed with its handle.
pub(crate) struct Gateway {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Gateway {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::of(command("serve", arguments))
    }

    fn of(mut command: std::process::Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr }
    }

    /// Reads standard error up to the line with `text`, and returns the rest of that line.
    pub(crate) fn line(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.stderr.read_line(&mut line).unwrap(),
                0,
                "no line with {text:?}"
            );
            if let Some((_, rest)) = line.split_once(text) {
                return rest.trim().to_owned();
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(
            Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
            signal,
        )
        .unwrap();
    }

    fn code(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(started.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Flags of a gateway for `events.all`, with others.
pub(crate) fn gateway_flags<'a>(server: &'a str, others: &[&'a str]) -> Vec<&'a str> {
    let own = [
        "-s",
        server,
        "--subject",
        "events.all",
        "--listen",
        "127.0.0.1:0",
    ];
    [&own[..], others].concat()
}

fn request(address: &str, request: &str, body: &str) -> (u16, String) {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return (0, String::new());
    };
    let head = format!(
        "{request}\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    (code.unwrap_or(0), answer)
}

pub(crate) fn post(address: &str, path: &str, body: &str) -> (u16, String) {
    let head = format!("POST {path} HTTP/1.1\r\ncontent-type: application/cloudevents+json");
    request(address, &head, body)
}

fn get(address: &str, path: &str) -> u16 {
    request(address, &format!("GET {path} HTTP/1.1"), "").0
}

#[tokio::test]
async fn routes_have_their_subjects_and_a_signal_ends_it_in_order() {
    let server = server().await;
    let url = server.url();
    let mut gateway = Gateway::start(&gateway_flags(
        &url,
        &[
            "--route",
            "/orders=events.orders.{type}",
            "--admin-listen",
            "127.0.0.1:0",
            "--drain-delay",
            "1s",
        ],
    ));
    let address = gateway.line("listening on http://");
    let admin = gateway.line("metrics at http://");
    let admin = admin.strip_suffix("/metrics").unwrap().to_owned();
    assert_eq!(post(&address, "/", &event(1)).0, 202);
    assert_eq!(post(&address, "/orders", &event(2)).0, 202);
    assert_eq!(post(&address, "/other", &event(3)).0, 404);
    assert_eq!(
        (get(&admin, "/readyz"), get(&admin, "/healthz")),
        (200, 200)
    );
    let metrics = request(&admin, "GET /metrics HTTP/1.1", "").1;
    assert!(
        metrics.contains(r#"jetsink_serve_requests_total{answer="accepted"} 2"#),
        "{metrics}"
    );
    assert!(
        metrics.contains("jetsink_serve_request_duration_seconds_count 3"),
        "the unknown path has its time, too: {metrics}"
    );
    let started = Instant::now();
    loop {
        let metrics = request(&admin, "GET /metrics HTTP/1.1", "").1;
        // Not the one of this request.
        if metrics.contains("jetsink_serve_connections 0") {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{metrics}");
        std::thread::sleep(Duration::from_millis(10));
    }
    for secret in ["orders", "events.", "acme"] {
        assert!(!metrics.contains(secret), "a label says {secret}");
    }
    gateway.signal(Signal::SIGTERM);
    let started = Instant::now();
    while get(&admin, "/readyz") != 503 {
        assert!(
            started.elapsed() < Duration::from_millis(900),
            "not ready is reported first"
        );
    }
    assert_eq!(
        post(&address, "/", &event(4)).0,
        202,
        "within the drain delay"
    );
    assert_eq!(
        gateway.line("delivered "),
        "3, left in the spool 0, of unknown outcome 0, dead letters 0"
    );
    assert_eq!(gateway.code(), Some(0));
    let subjects: Vec<String> = there(&server)
        .await
        .into_iter()
        .map(|message| message.subject.to_string())
        .collect();
    assert_eq!(subjects.len(), 3);
    assert!(subjects[1].starts_with("events.orders."), "{subjects:?}");
}

#[tokio::test]
async fn it_starts_without_a_broker_and_waits_for_the_spool_of_its_predecessor() {
    let mut server = server().await;
    server.kill().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let spool = as_text(&folder.path().join("spool")).to_owned();
    let url = server.url();
    let flags = gateway_flags(&url, &["--spool", &spool, "--stop-time", "500ms"]);
    let mut first = Gateway::start(&flags);
    let address = first.line("listening on http://");
    let (code, answer) = post(&address, "/", &event(1));
    assert_eq!(code, 202);
    assert!(answer.contains("jetsink-outcome: spooled"), "{answer}");
    let mut refused = Gateway::start(&flags);
    assert_eq!(refused.code(), Some(2), "the spool is in use");
    let mut second = Gateway::start(&[&flags[..], &["--spool-wait", "15s"]].concat());
    std::thread::sleep(Duration::from_millis(500));
    assert!(second.child.try_wait().unwrap().is_none());
    first.signal(Signal::SIGTERM);
    assert_eq!(first.code(), Some(0));
    let address = second.line("listening on http://");
    server.restart().await.unwrap();
    let started = Instant::now();
    while there(&server).await.is_empty() {
        assert!(
            started.elapsed() < PATIENCE,
            "the spooled event is not delivered"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let (code, answer) = post(&address, "/", &event(1));
    assert_eq!(code, 202);
    assert!(answer.contains("jetsink-duplicate: true"), "{answer}");
    assert_eq!(there(&server).await.len(), 1);
}

#[tokio::test]
async fn repeat_of_a_spooled_event_is_a_duplicate_after_a_kill() {
    let mut server = server().await;
    server.kill().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let spool = as_text(&folder.path().join("spool")).to_owned();
    let url = server.url();
    let flags = gateway_flags(&url, &["--spool", &spool]);
    let binary = |address: &str, headers: &str, data: &str| {
        let head = format!(
            "POST / HTTP/1.1\r\nce-specversion: 1.0\r\nce-id: binary\r\nce-source: /s\r\nce-type: t\r\n{headers}"
        );
        request(address, &head, data)
    };
    let mut gateway = Gateway::start(&flags);
    let address = gateway.line("listening on http://");
    for n in 1..=3 {
        assert_eq!(post(&address, "/", &event(n)).0, 202);
    }
    assert_eq!(binary(&address, "ce-a: 1\r\nce-b: 2", "data").0, 202);
    drop(gateway); // SIGKILL
    let mut gateway = Gateway::start(&[&flags[..], &["-v"]].concat());
    let address = gateway.line("listening on http://");
    // A start goes on after a second.
    gateway.line("identities of events in the spool are known");
    for n in 1..=3 {
        let (code, answer) = post(&address, "/", &event(n));
        assert_eq!(code, 202);
        assert!(answer.contains("jetsink-outcome: spooled"), "{answer}");
        assert!(answer.contains("jetsink-duplicate: true"), "{answer}");
    }
    let (code, answer) = binary(&address, "ce-b: 2\r\nce-a: 1", "data");
    assert_eq!(code, 202);
    assert!(answer.contains("jetsink-duplicate: true"), "{answer}");
    assert_eq!(
        binary(&address, "ce-a: 1\r\nce-b: 2", "other").0,
        422,
        "other bytes with the same identity"
    );
    let (code, answer) = post(&address, "/", &event(4));
    assert_eq!(code, 202);
    assert!(answer.contains("jetsink-duplicate: false"), "{answer}");
    server.restart().await.unwrap();
    let started = Instant::now();
    while there(&server).await.len() < 5 {
        assert!(started.elapsed() < PATIENCE, "they are not delivered");
        std::thread::sleep(Duration::from_millis(50));
    }
    gateway.signal(Signal::SIGTERM);
    gateway.line("left in the spool 0");
    assert_eq!(there(&server).await.len(), 5, "each is stored once");
}

#[tokio::test]
async fn repeat_of_an_event_that_left_the_spool_is_a_duplicate_after_a_kill() {
    let mut server = NatsServer::start().await.unwrap();
    let config = async_nats::jetstream::stream::Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        // The stream itself has forgotten the ids by the time of the repeats.
        duplicate_window: Duration::from_millis(100),
        ..Default::default()
    };
    server.create_stream_with(config).await.unwrap();
    server.kill().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let spool = as_text(&folder.path().join("spool")).to_owned();
    let url = server.url();
    let flags = gateway_flags(&url, &["--spool", &spool, "-v"]);
    let binary = |address: &str, headers: &str, data: &str| {
        let head = format!(
            "POST / HTTP/1.1\r\nce-specversion: 1.0\r\nce-id: binary\r\nce-source: /s\r\nce-type: t\r\n{headers}"
        );
        request(address, &head, data)
    };
    let batch = format!("[{},{}]", event(3), event(4));
    let send_batch = |address: &str| {
        let head = "POST / HTTP/1.1\r\ncontent-type: application/cloudevents-batch+json\r\nprefer: return=representation";
        request(address, head, &batch)
    };
    let mut gateway = Gateway::start(&flags);
    let address = gateway.line("listening on http://");
    for n in 1..=2 {
        let (code, answer) = post(&address, "/", &event(n));
        assert_eq!(code, 202);
        assert!(answer.contains("jetsink-outcome: spooled"), "{answer}");
    }
    assert_eq!(send_batch(&address).0, 202);
    assert_eq!(binary(&address, "ce-a: 1\r\nce-b: 2", "data").0, 202);
    server.restart().await.unwrap();
    let all_stored = async |count: usize| {
        let started = Instant::now();
        while there(&server).await.len() < count {
            assert!(started.elapsed() < PATIENCE, "they are not delivered");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    all_stored(5).await;
    // Twice: the second process has only read the file.
    for _ in 0..2 {
        // Beyond the stream's window, and until the spool has marked them.
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(gateway); // SIGKILL
        gateway = Gateway::start(&flags);
        let address = gateway.line("listening on http://");
        gateway.line("identities of events in the spool are known");
        for n in 1..=4 {
            let (code, answer) = post(&address, "/", &event(n));
            assert_eq!(code, 202);
            assert!(answer.contains("jetsink-duplicate: true"), "{answer}");
        }
        let (code, answer) = send_batch(&address);
        assert_eq!(code, 202);
        assert_eq!(answer.matches("\"duplicate\":true").count(), 2, "{answer}");
        let (code, answer) = binary(&address, "ce-b: 2\r\nce-a: 1", "data");
        assert_eq!(code, 202);
        assert!(answer.contains("jetsink-duplicate: true"), "{answer}");
        let (code, _) = binary(&address, "ce-b: 2\r\nce-a: 1", "other");
        assert_eq!(code, 422, "other bytes with the same identity");
    }
    let address = {
        drop(gateway);
        gateway = Gateway::start(&flags);
        gateway.line("listening on http://")
    };
    let (code, answer) = post(&address, "/", &event(5));
    assert_eq!(code, 202);
    assert!(answer.contains("jetsink-duplicate: false"), "{answer}");
    all_stored(6).await;
    assert_eq!(there(&server).await.len(), 6, "each is stored once");
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

// A reviewer's finding: during the wait for the spool no signal and no page worked.
#[tokio::test]
async fn wait_for_the_spool_has_pages_ends_by_a_signal_and_survives_a_hangup() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let spool = as_text(&folder.path().join("spool")).to_owned();
    let (url, admin) = (server.url(), free_address());
    let flags = gateway_flags(&url, &["--spool", &spool]);
    let mut first = Gateway::start(&flags);
    first.line("listening on http://");
    let waits = ["--spool-wait", "1h", "--admin-listen", &admin];
    let mut second = Gateway::start(&[&flags[..], &waits].concat());
    second.line("waiting up to");
    assert_eq!(
        (get(&admin, "/healthz"), get(&admin, "/readyz")),
        (200, 503)
    );
    second.signal(Signal::SIGHUP);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(get(&admin, "/healthz"), 200, "a hangup does not end it");
    second.signal(Signal::SIGTERM);
    assert_eq!(second.code(), Some(0));
    let mut third = Gateway::start(&[&flags[..], &waits].concat());
    third.line("waiting up to");
    first.signal(Signal::SIGTERM);
    assert_eq!(first.code(), Some(0));
    third.line("listening on http://");
    third.line("metrics at");
    let started = Instant::now();
    while get(&admin, "/readyz") != 200 {
        assert!(started.elapsed() < PATIENCE, "it does not become ready");
    }
}

// A rolling restart on one host: the new process is started first.
#[tokio::test]
async fn successor_takes_over_addresses_sockets_and_spool() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let spool = as_text(&folder.path().join("spool")).to_owned();
    let socket = as_text(&folder.path().join("serve.sock")).to_owned();
    let (address, admin, url) = (free_address(), free_address(), server.url());
    let flags = [
        "-s",
        &url,
        "--subject",
        "events.all",
        "--listen",
        &address,
        "--listen-unix",
        &socket,
        "--admin-listen",
        &admin,
        "--spool",
        &spool,
    ];
    let waits = [&flags[..], &["--spool-wait", "1h"]].concat();
    let mut gateway = Gateway::start(&flags);
    gateway.line("listening on http://");
    let mut refused = Gateway::start(&flags);
    assert_eq!(refused.code(), Some(2), "without a wait");
    for round in 0..3 {
        let mut next = Gateway::start(&waits);
        next.line("waiting up to");
        assert_eq!(post(&address, "/", &event(2 * round)).0, 202);
        gateway.signal(Signal::SIGTERM);
        assert_eq!(gateway.code(), Some(0));
        next.line("status at");
        // It listens already, and answers once it has the spool.
        assert_eq!(post(&address, "/", &event(2 * round + 1)).0, 202);
        assert!(UnixStream::connect(&socket).is_ok());
        assert_eq!(get(&admin, "/readyz"), 200);
        gateway = next;
    }
    assert_eq!(there(&server).await.len(), 6);
}

// A reviewer's finding: the broker was dialled for each attempt to get the lock.
#[tokio::test]
async fn broker_is_dialled_once_the_spool_is_open() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let spool = as_text(&folder.path().join("spool")).to_owned();
    let url = server.url();
    let mut first = Gateway::start(&gateway_flags(&url, &["--spool", &spool]));
    first.line("listening on http://");
    let broker = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    broker.set_nonblocking(true).unwrap();
    let silent = format!("nats://{}", broker.local_addr().unwrap());
    let waits = ["--spool", &spool, "--spool-wait", "1h"];
    let mut second = Gateway::start(&gateway_flags(&silent, &waits));
    second.line("waiting up to");
    std::thread::sleep(Duration::from_millis(300));
    let dialled = broker.accept().map_err(|error| error.kind());
    assert_eq!(dialled.err(), Some(std::io::ErrorKind::WouldBlock));
    first.signal(Signal::SIGTERM);
    second.line("listening on http://");
    assert!(broker.accept().is_ok());
}

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
async fn socket_of_systemd_is_used_and_the_service_manager_is_told_that_it_is_ready() {
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
    let checked = with(&["--check"]).output().unwrap();
    assert_code(&checked, 0);
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
            "spool-max-age: spool",
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

#[tokio::test]
async fn access_log_has_one_in_so_many_accepted_requests_and_refusals_apart() {
    let server = server().await;
    let url = server.url();
    let mut gateway = Gateway::start(&gateway_flags(&url, &["--access-log", "3"]));
    let address = gateway.line("listening on http://");
    let head = "POST / HTTP/1.1\r\ncontent-type: application/cloudevents+json\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for number in 0..4 {
        assert_eq!(request(&address, head, &event(number)).0, 202);
        assert_eq!(post(&address, "/", "{}").0, 400);
    }
    for _ in 0..3 {
        assert_eq!(post(&address, "/none?of=them", "{}").0, 404);
    }
    gateway.signal(Signal::SIGTERM);
    let mut log = String::new();
    gateway.stderr.read_to_string(&mut log).unwrap();
    assert_eq!(gateway.code(), Some(0));
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("access")).collect();
    let with = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(
        (lines.len(), with("status=202"), with("status=400")),
        (5, 2, 2),
        "{log}"
    );
    assert_eq!(with("answer=\"accepted\" events=1 bytes=85"), 2, "{log}");
    assert_eq!(
        with("answer=\"invalid-event\" events=0 bytes=2"),
        2,
        "{log}"
    );
    assert_eq!(
        with("method=POST route=\"-\" status=404 answer=\"no-route\""),
        1,
        "{log}"
    );
    assert_eq!(
        with("trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\""),
        2,
        "{log}"
    );
}

// A reviewer's finding: 1,010 idle connections took all files, and the spool had none for its next segment.
#[test]
fn idle_connections_leave_files_for_the_spool() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let away = format!("nats://{}", free_address());
    let flags = gateway_flags(&away, &["--spool", spool.to_str().unwrap()]);
    let mut limited = command_by_shell("ulimit -Sn 64 && ulimit -Hn 400", "serve");
    limited.args(&flags);
    let mut gateway = Gateway::of(limited);
    let note = gateway.line("at most ");
    assert!(
        note.starts_with("272 connections, since the limit of open files is 400"),
        "{note}"
    );
    let address = gateway.line("listening on http://");
    let mut sender = TcpStream::connect(&address).unwrap();
    let idle: Vec<TcpStream> = (0..400)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    // Opens the first segment of the spool.
    let body = event(1);
    let head = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    sender.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    sender.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 202") && answer.contains("spooled"),
        "{answer}"
    );
    drop(idle);
}

// A reviewer's finding: requests that the parser refuses were in no metric.
#[test]
fn requests_that_cannot_be_parsed_are_counted() {
    let away = format!("nats://{}", free_address());
    let flags = gateway_flags(&away, &["--admin-listen", "127.0.0.1:0"]);
    let mut gateway = Gateway::start(&flags);
    let address = gateway.line("listening on http://");
    let metrics = gateway.line("metrics at http://");
    let metrics = metrics.strip_suffix("/metrics").unwrap();
    let many = "POST / HTTP/1.1".to_owned() + &"\r\nx: y".repeat(101);
    for (head, status) in [
        ("POST / NOTHING/1.1", 400),
        ("PO ST", 400),
        (many.as_str(), 431),
    ] {
        assert_eq!(request(&address, head, "").0, status, "{head}");
    }
    let counted = "jetsink_serve_requests_total{answer=\"unreadable\"} 3";
    let started = Instant::now();
    loop {
        let (_, page) = request(metrics, "GET /metrics HTTP/1.1", "");
        if page.contains(counted) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{page}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
