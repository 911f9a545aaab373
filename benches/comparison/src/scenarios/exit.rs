//! The process is gone right after its last `Ok`. A child process, which is this program again.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::Instant;

use super::promise;
use crate::broker::{count, settled, with_stream};
use crate::contender::Contender;
use crate::events::event;
use crate::findings::Findings;
use crate::ledger::{Emitted, Ledger, Told};
use crate::load::emit;
use crate::{Child, Failed, Result};

const EVENTS: u64 = 1_000;

pub(super) async fn run(contender: Contender) -> Result<Findings> {
    let server = with_stream().await?;
    let spool = TempDir::new()?;
    let child = Command::new(std::env::current_exe()?)
        .args(["--child", crate::name_of(contender).as_str()])
        .arg(server.url())
        .arg(spool.path())
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
    // When they were told is the child's affair; only what they were told counts here.
    let now = Instant::now();
    let emitted = (0..EVENTS).map(|number| Emitted {
        number,
        started: now,
        ended: now,
        told: if refused.contains(&number) {
            Told::Err
        } else {
            Told::Ok
        },
    });
    let ledger = Ledger(emitted.collect());
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let at_once = usize::try_from(count(&server).await?)?;
    // What waits in a spool is sent by the next process.
    let next = contender.open(&server.url(), spool.path()).await?;
    let (tally, there) = settled(&server, &ledger).await?;
    drop(next);
    let mut findings = Findings::default();
    findings
        .add("told Ok", tally.ok)
        .add("stored after the exit", at_once)
        .add("stored after the next start", there.len())
        .add("told Ok and lost", tally.lost);
    promise(&mut findings, &tally, &ledger);
    Ok(findings)
}

/// The child: says which events were refused, and exits without another word right after the last.
pub(crate) async fn child(child: &Child) -> Result<()> {
    let contender = crate::contender_of(&child.contender)?;
    let spool: PathBuf = Path::new(&child.spool).to_owned();
    let client = contender.open(&child.url, &spool).await?;
    for number in 0..EVENTS {
        let event = event(number)?;
        if emit(&client, number, &event).await.told != Told::Ok {
            println!("{number}");
        }
    }
    std::process::exit(0);
}
