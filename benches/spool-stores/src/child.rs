//! What runs in a process of its own, because it is to be killed or may crash.

use std::fs;
use std::io::{BufRead, BufReader, Write, stdout};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use std::{env, thread};

use clap::ValueEnum;

use crate::args::Bench;
use crate::samples;
use crate::store::{Kind, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Fill with so many records, then wait to be killed.
    Fill,
    /// Append until killed, telling what is under way and what is done.
    Append,
    /// Read until killed.
    Read,
    /// Append and delete in turn until killed.
    Delete,
    /// Open, read everything, and say what was found.
    Inspect,
    /// Let the store check itself.
    Verify,
    /// Read what can be read of a redb file that is refused.
    #[cfg(feature = "redb")]
    Salvage,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Task {
    role: Role,
    store: Kind,
    dir: std::path::PathBuf,
    records: u64,
}

pub(crate) const READY: &str = "ready";
const STEP: u64 = 16;
const MOST_ERRORS: u64 = 1_000;

/// Starts this program again in one role. The caller ends it.
pub(crate) fn spawn(role: Role, kind: Kind, dir: &Path, records: u64) -> Result<Child> {
    let child = command(role, kind, dir, records)?
        .stdout(Stdio::piped())
        .spawn()?;
    Ok(child)
}

pub(crate) fn output(role: Role, kind: Kind, dir: &Path, records: u64) -> Result<Output> {
    Ok(command(role, kind, dir, records)?.output()?)
}

fn command(role: Role, kind: Kind, dir: &Path, records: u64) -> Result<Command> {
    let name = role.to_possible_value().ok_or("a role without a name")?;
    let mut command = Command::new(env::current_exe()?);
    command
        .args(["child", name.get_name(), kind.name()])
        .arg(dir)
        .arg(records.to_string());
    Ok(command)
}

/// Leaves a store of so many records whose process was killed, and tells the most memory it had, in KiB.
pub(crate) fn fill_and_die(kind: Kind, bench: &Bench, records: u64) -> Result<u64> {
    if bench.dir.exists() {
        fs::remove_dir_all(&bench.dir)?;
    }
    let mut child = spawn(Role::Fill, kind, &bench.dir, records)?;
    let mut line = String::new();
    if let Some(said) = child.stdout.take() {
        BufReader::new(said).read_line(&mut line)?;
    }
    let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    child.kill()?;
    child.wait()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    if line.trim() == READY {
        Ok(peak
            .unwrap_or_default()
            .trim()
            .trim_end_matches(" kB")
            .parse()?)
    } else {
        Err(format!("{} could not be filled", kind.name()).into())
    }
}

pub(crate) fn run(task: &Task) -> Result<()> {
    match task.role {
        Role::Fill => {
            let mut store = task.store.open(&task.dir)?;
            samples::fill(store.as_mut(), task.records)?;
            say(READY)?;
            thread::sleep(Duration::from_secs(3600));
            Ok(())
        }
        Role::Append => work(task, false),
        Role::Delete => work(task, true),
        Role::Read => {
            let mut store = task.store.open(&task.dir)?;
            say(READY)?;
            loop {
                store.read(0, task.records as usize, &mut |_, _| {})?;
            }
        }
        Role::Inspect => inspect(task),
        #[cfg(feature = "redb")]
        Role::Salvage => {
            let mut right = 0;
            crate::stores::redb::salvage(&task.dir, task.records, &mut |key, record| {
                right += u64::from(record == samples::record(key));
            })?;
            say(&format!("salvaged: {right}"))
        }
        Role::Verify => {
            let sound = task.store.open(&task.dir)?.verify()?;
            say(match sound {
                Some(false) => "damaged",
                _ => "sound",
            })
        }
    }
}

/// Says `a <end>` before and `A <end>` after the records up to `end` are appended, `d` and `D` likewise
/// for deletions.
fn work(task: &Task, delete: bool) -> Result<()> {
    let mut store = task.store.open(&task.dir)?;
    say(READY)?;
    let (mut head, mut tail) = (0, task.records);
    loop {
        say(&format!("a {}", tail + STEP))?;
        store.append(tail, &samples::group(tail, STEP))?;
        tail += STEP;
        say(&format!("A {tail}"))?;
        if delete {
            head += STEP;
            say(&format!("d {head}"))?;
            store.delete_before(head)?;
            say(&format!("D {head}"))?;
        }
    }
}

/// Reads past damage, key by key, as a spool would that gives up damaged records and goes on. Says
/// `refused`, `failed` with the number of records that can't be read, `wrong`, `lost` or `intact`.
fn inspect(task: &Task) -> Result<()> {
    let mut store = match task.store.open(&task.dir) {
        Ok(store) => store,
        Err(reason) => return say(&format!("refused: {reason}")),
    };
    let (mut next, mut seen, mut wrong, mut errors) = (0, 0, 0, 0);
    while errors <= MOST_ERRORS {
        let read = store.read(next, usize::MAX, &mut |key, record| {
            wrong += u64::from(key >= task.records || record != samples::record(key));
            seen += 1;
            next = key + 1;
        });
        if read.is_ok() {
            break;
        }
        errors += 1;
        next += 1;
    }
    let missing = task.records.abs_diff(seen);
    say(&match (wrong, errors, missing) {
        (0, 0, 0) => "intact".to_owned(),
        (0, 0, lost) => format!("lost: {lost}"),
        (0, _, unread) => format!("failed: {unread}"),
        (wrong, ..) => format!("wrong: {wrong}"),
    })
}

fn say(line: &str) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
