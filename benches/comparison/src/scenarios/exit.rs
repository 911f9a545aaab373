//! The process exits right after its last `Ok`. A child process, this program again, emits.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::promise;
use crate::broker::{QUIET, count, settled, with_stream};
use crate::contender::Contender;
use crate::events::event;
use crate::findings::Findings;
use crate::ledger::{Emitted, Ledger, Returned, Tally};
use crate::load::emit;
use crate::{Child, Failed, Result};

const EVENTS: u64 = 1_000;

pub(super) async fn run(contender: Contender) -> Result<Findings> {
    let mut findings = Findings::default();
    for (pause, note) in [
        (Duration::ZERO, ""),
        (Duration::from_millis(2), ", with 2 ms between two"),
    ] {
        let (ledger, at_once, tally) = outcome(contender, pause).await?;
        findings
            .add(&format!("returned Ok{note}"), tally.ok)
            .add(&format!("stored after the exit{note}"), at_once)
            .add(
                &format!("lost, also after the next start{note}"),
                tally.lost,
            );
        promise(&mut findings, &tally, &ledger);
    }
    Ok(findings)
}

async fn outcome(contender: Contender, pause: Duration) -> Result<(Ledger, usize, Tally)> {
    let server = with_stream().await?;
    let spool = TempDir::new()?;
    let child = Command::new(std::env::current_exe()?)
        .args(["--child", crate::name_of(contender).as_str()])
        .arg(server.url())
        .arg(spool.path())
        .arg(pause.as_millis().to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    if !child.status.success() {
        return Err(Failed::new(format!("the child ended with {}", child.status)).into());
    }
    let refused: Vec<u64> = String::from_utf8(child.stdout)?
        .lines()
        .map(str::parse)
        .collect::<std::result::Result<_, _>>()?;
    // Only the results count here; the child's times are not measured.
    let now = Instant::now();
    let emitted = (0..EVENTS).map(|number| Emitted {
        number,
        started: now,
        ended: now,
        returned: if refused.contains(&number) {
            Returned::Err
        } else {
            Returned::Ok
        },
    });
    let ledger = Ledger(emitted.collect());
    sleep(Duration::from_secs(1)).await;
    let at_once = usize::try_from(count(&server).await?)?;
    // The next process sends the events of a spool.
    let next = contender.open(&server.url(), spool.path()).await?;
    let (tally, _) = settled(&server, &ledger, QUIET).await?;
    drop(next);
    Ok((ledger, at_once, tally))
}

/// The child: prints the numbers of refused events, and exits right after the last emit.
pub(super) async fn child(child: &Child, pause: Duration) -> Result<()> {
    let contender = crate::contender_of(&child.contender)?;
    let spool: PathBuf = Path::new(&child.spool).to_owned();
    let client = contender.open(&child.url, &spool).await?;
    for number in 0..EVENTS {
        let event = event(number)?;
        if emit(&client, number, &event).await.returned != Returned::Ok {
            println!("{number}");
        }
        // None after the last.
        if !pause.is_zero() && number + 1 < EVENTS {
            sleep(pause).await;
        }
    }
    std::process::exit(0);
}
