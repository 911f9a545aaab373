//! The broker is killed, and the process exits a little later, as when a service is deployed in an outage.

use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::promise;
use crate::broker::{QUIET, settled, with_stream};
use crate::contender::Contender;
use crate::events::event;
use crate::findings::Findings;
use crate::ledger::{Emitted, Ledger, Returned};
use crate::load::{emit, in_turn};
use crate::{Child, Failed, Result};

const EVENTS: u64 = 1_000;
const AT_MOST: Duration = Duration::from_secs(5);
/// The number of an event that checks the connection before the outage.
const BEFORE: u64 = 10_000_000;

pub(super) async fn run(contender: Contender) -> Result<Findings> {
    let mut server = with_stream().await?;
    let spool = TempDir::new()?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--child", crate::name_of(contender).as_str()])
        .arg(server.url())
        .arg(spool.path())
        .arg("away")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let (Some(mut input), Some(output)) = (input, output) else {
        return Err(Failed::new("the child has no pipes").into());
    };
    let mut lines = BufReader::new(output).lines();
    if lines.next_line().await?.as_deref() != Some("ready") {
        return Err(Failed::new("the child did not come up").into());
    }
    server.kill()?;
    sleep(Duration::from_millis(500)).await;
    input.write_all(b"go\n").await?;
    let mut ledger = Ledger::default();
    while let Some(line) = lines.next_line().await? {
        let (number, returned) = match (line.strip_prefix("ok "), line.strip_prefix("err ")) {
            (Some(number), _) => (number, Returned::Ok),
            (_, Some(number)) => (number, Returned::Err),
            _ => return Err(Failed::new(format!("the child said {line:?}")).into()),
        };
        // The child's times are not measured.
        let now = Instant::now();
        ledger.0.push(Emitted {
            number: number.parse()?,
            started: now,
            ended: now,
            returned,
        });
    }
    child.wait().await?;
    server.restart().await?;
    let next = contender.open(&server.url(), spool.path()).await?;
    let (tally, _) = settled(&server, &ledger, QUIET).await?;
    drop(next);
    let mut findings = Findings::default();
    findings
        .add("emits within 5 s, at most 1,000", ledger.0.len())
        .add("returned Ok", tally.ok)
        .add("returned Ok and lost", tally.lost)
        .add("stored twice", tally.duplicated);
    promise(&mut findings, &tally, &ledger);
    Ok(findings)
}

/// The child: emits after the broker was killed, prints each result, and exits.
pub(super) async fn child(child: &Child) -> Result<()> {
    let contender = crate::contender_of(&child.contender)?;
    let client = contender.open(&child.url, child.spool.as_ref()).await?;
    in_turn(&client, BEFORE, 1, AT_MOST).await?;
    // A contender that only queued the event has sent it by then.
    sleep(Duration::from_millis(500)).await;
    println!("ready");
    let mut line = String::new();
    BufReader::new(tokio::io::stdin())
        .read_line(&mut line)
        .await?;
    let began = Instant::now();
    for number in 0..EVENTS {
        let event = event(number)?;
        match emit(&client, number, &event).await.returned {
            Returned::Ok => println!("ok {number}"),
            Returned::Err | Returned::Nothing => println!("err {number}"),
        }
        if began.elapsed() > AT_MOST {
            break;
        }
        sleep(Duration::from_millis(2)).await;
    }
    std::process::exit(0);
}
