//! Trial: the gateway is killed over and over, as by `kill -9`, under a load of clients that retry, while its broker is
//! killed and frozen: each event that was answered `202` is stored once, in order per client.
//!
//! `JETSINK_TRIAL_COUNT=100 cargo test --release -p jetsink-cli --test trial_serve -- --nocapture` for 100 kills.
//! `JETSINK_SEED` repeats a run as far as the machine's timing lets it.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

#[path = "command/support.rs"]
#[allow(dead_code)]
mod support;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nats_local::NatsServer;
use support::*;
use tokio::time::sleep;
use trial::{Dice, Trial};

const CLIENTS: usize = 4;

/// The gateway's deadline, and the time in which a busy machine still delivers its answer.
const MAX_ANSWER: Duration = Duration::from_millis(3_000 + 2_000);

const PATIENCE: Duration = Duration::from_secs(90);

fn serve(server: &NatsServer, socket: &Path, spool: &Path, log: &Path) -> Child {
    let log = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(log);
    let arguments = [
        "-s",
        &server.url(),
        "--subject",
        "events.{type}",
        "--listen-unix",
        as_text(socket),
        "--spool",
        as_text(spool),
        "--spool-wait",
        "10s",
    ];
    let mut command = command("serve", &arguments);
    command
        .stdout(Stdio::null())
        .stderr(log.unwrap())
        .spawn()
        .unwrap()
}

fn event_of(client: usize, number: u64) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{number}","source":"/client/{client}","type":"c{client}","data":{number}}}"#
    )
}

/// Posts once. `None` without a whole answer.
fn post(socket: &Path, body: &str) -> Option<u16> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(MAX_ANSWER * 2)).unwrap();
    let request = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/cloudevents+json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    let ended = stream.read_to_string(&mut answer);
    assert!(
        !matches!(&ended, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock),
        "no answer"
    );
    let whole = ended.is_ok() && answer.contains("\r\n\r\n");
    whole
        .then(|| answer.split(' ').nth(1)?.parse().ok())
        .flatten()
}

/// Sends one event after another until `stop`, each until it is answered with 202. Returns their number.
fn client(socket: &Path, client: usize, stop: &AtomicBool, accepted: &AtomicU64) -> u64 {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let body = event_of(client, number);
        let since = Instant::now();
        loop {
            let started = Instant::now();
            let code = post(socket, &body);
            assert!(
                started.elapsed() < MAX_ANSWER,
                "an answer {code:?} took {:?}",
                started.elapsed()
            );
            match code {
                Some(202) => break,
                None | Some(503 | 504) => thread::sleep(Duration::from_millis(5)),
                Some(code) => panic!("client {client}, event {number}: {code}"),
            }
            assert!(
                since.elapsed() < PATIENCE,
                "event {number} is never accepted"
            );
        }
        accepted.fetch_add(1, Ordering::Relaxed);
        number += 1;
    }
    number
}

async fn disturb(server: &mut NatsServer, dice: &mut Dice) {
    match dice.below(4) {
        0 => server
            .kill_for(Duration::from_millis(dice.below(400)))
            .await
            .unwrap(),
        1 => server
            .freeze_for(Duration::from_millis(dice.below(400)))
            .await
            .unwrap(),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_202_is_stored_once_and_in_order_however_the_gateway_ends() {
    let trial = Trial::new("gateway-crashes", 8);
    let mut dice = Dice::new(trial.seed());
    let mut server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (socket, spool, log) = (path("socket"), path("spool"), path("log"));
    let (stop, accepted) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut gateway = serve(&server, &socket, &spool, &log);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (socket, stop, accepted) =
                (socket.clone(), Arc::clone(&stop), Arc::clone(&accepted));
            thread::spawn(move || client(&socket, number, &stop, &accepted))
        })
        .collect();
    for _ in 0..trial.count() {
        // Each life accepts something.
        let before = accepted.load(Ordering::Relaxed);
        let started = Instant::now();
        while accepted.load(Ordering::Relaxed) == before {
            assert!(
                started.elapsed() < PATIENCE,
                "{}",
                std::fs::read_to_string(&log).unwrap()
            );
            sleep(Duration::from_millis(5)).await;
        }
        disturb(&mut server, &mut dice).await;
        sleep(Duration::from_millis(dice.below(300))).await;
        gateway.kill().unwrap();
        gateway.wait().unwrap();
        gateway = serve(&server, &socket, &spool, &log);
    }
    stop.store(true, Ordering::Relaxed);
    let sent: Vec<u64> = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .collect();
    let expected: u64 = sent.iter().sum();
    let started = Instant::now();
    let messages = loop {
        let messages = there(&server).await;
        if messages.len() as u64 >= expected || started.elapsed() > PATIENCE {
            break messages;
        }
        sleep(Duration::from_millis(100)).await;
    };
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    for (number, sent) in sent.iter().enumerate() {
        let subject = format!("events.c{number}");
        let stored = messages.iter().filter(|message| message.subject == subject);
        let stored: Vec<&[u8]> = stored.map(|message| &message.payload[..]).collect();
        let expected: Vec<String> = (0..*sent).map(|event| event_of(number, event)).collect();
        let expected: Vec<&[u8]> = expected.iter().map(|event| event.as_bytes()).collect();
        let first = stored
            .iter()
            .zip(&expected)
            .position(|(stored, expected)| stored != expected);
        assert!(
            stored == expected,
            "client {number}: {} of {} stored, the first difference at {first:?}",
            stored.len(),
            expected.len()
        );
    }
    trial.passed_over(trial.count(), usize::try_from(expected).unwrap());
}
