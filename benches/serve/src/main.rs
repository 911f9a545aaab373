//! Requests per CPU second of the gateway, beside a bare axum handler: one event of 580 bytes per request.
//!
//! ```text
//! cargo run --release -p serve-bench -- acked       # a broker that acknowledges
//! cargo run --release -p serve-bench -- away        # no broker, a spool
//! cargo run --release -p serve-bench -- memory      # 10,000 idle and 1,000 slow connections, per connection
//! ```
//!
//! Each round loads both servers, one after the other, in a random order, and reads their CPU time from `/proc`. The
//! figure is the median of the rounds' ratios. `ROUNDS` and `SECONDS` change the defaults of 9 and 2.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic ends a benchmark

mod load;
mod servers;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nats_local::NatsServer;

const CONNECTIONS: [usize; 4] = [1, 16, 64, 256];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[1..] {
        ["server", kind, address, broker, spool] => servers::run(kind, address, broker, spool),
        [mode @ ("acked" | "away")] => runtime().block_on(compare(mode)),
        ["memory"] => runtime().block_on(memory()),
        _ => eprintln!("usage: serve-bench acked|away|memory"),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

fn variable(name: &str, usual: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual)
}

/// A server in a process of its own; killed with its handle.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(kind: &str, broker: &str, spool: &str) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let address = port.to_string();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["server", kind, &address, broker, spool])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        while std::net::TcpStream::connect(&address).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, address }
    }

    /// CPU time of all threads, in clock ticks of 10 ms.
    fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, rest) = stat.rsplit_once(')').unwrap();
        let fields: Vec<&str> = rest.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Resident memory in bytes.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            * 1_024
    }
}

async fn compare(mode: &str) {
    let mut broker = NatsServer::start().await.unwrap();
    broker.create_stream("EVENTS", &["events.>"]).await.unwrap();
    let url = broker.url();
    let (bare, gateway) = match mode {
        "acked" => ("bare-acked", "gateway"),
        _ => ("bare-spool", "gateway-spool"),
    };
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = |folder: &tempfile::TempDir| folder.path().to_str().unwrap().to_owned();
    let bare = Server::start(bare, &url, &folder(&one));
    let gateway = Server::start(gateway, &url, &folder(&two));
    tokio::time::sleep(Duration::from_secs(1)).await;
    if mode == "away" {
        broker.kill().unwrap();
    }
    let time = Duration::from_secs(variable("SECONDS", 2));
    let mut series = 0;
    for connections in CONNECTIONS {
        let mut ratios = Vec::new();
        let (mut rates, mut walls) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        for round in 0..variable("ROUNDS", 9) + 1 {
            let mut measured = [0.0; 2];
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for which in order {
                let server = [&bare, &gateway][which];
                series += 1;
                let before = server.ticks();
                let done = load::run(&server.address, connections, time, series).await;
                let cpu = (server.ticks() - before).max(1) as f64 / 100.0;
                measured[which] = done as f64 / cpu;
                walls[which].push(done as f64 / time.as_secs_f64());
            }
            // The first round warms up.
            if round > 0 {
                ratios.push(measured[1] / measured[0]);
                rates[0].push(measured[0]);
                rates[1].push(measured[1]);
            }
        }
        println!(
            "{mode}, {connections} connections: {:.2} of the bare handler (median of {} rounds, {:.2} to {:.2}); requests per CPU second {:.0} and {:.0}, per second {:.0} and {:.0}",
            median(&mut ratios),
            ratios.len(),
            ratios[0],
            ratios[ratios.len() - 1],
            median(&mut rates[1]),
            median(&mut rates[0]),
            median(&mut walls[1]),
            median(&mut walls[0]),
        );
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn memory() {
    let broker = NatsServer::start().await.unwrap();
    broker.create_stream("EVENTS", &["events.>"]).await.unwrap();
    for (what, count, is_slow) in [("idle", 10_000, false), ("slow", 1_000, true)] {
        let mut each = Vec::new();
        for kind in ["bare-hyper", "gateway"] {
            let server = Server::start(kind, &broker.url(), "");
            let _ = load::run(&server.address, 16, Duration::from_millis(500), 1_000).await;
            let before = server.memory();
            let connections = load::connections(&server.address, count, is_slow).await;
            each.push((server.memory().saturating_sub(before)) as f64 / count as f64);
            drop(connections);
        }
        println!(
            "{count} {what} connections: {:.1} KiB each, a bare server {:.1} KiB",
            each[1] / 1_024.0,
            each[0] / 1_024.0
        );
    }
}
