//! One flipped bit, and a second process.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::args::Bench;
use crate::child::{self, Role};
use crate::report::Table;
use crate::samples;
use crate::store::{Kind, Result};

/// Enough that fjall has tables besides its journal.
const RECORDS: u64 = 40_000;

#[derive(Default)]
struct Outcomes {
    refused: u32,
    failed: u32,
    /// The most records that could not be read around one flipped bit.
    most_unread: u64,
    /// What could be read of each file that was refused.
    salvaged: Vec<u64>,
    crashed: u32,
    lost: u32,
    wrong: u32,
    intact: u32,
    /// Of the silent ones, those that the store's own check finds.
    caught_by_check: u32,
}

impl Outcomes {
    fn salvaged(&self) -> String {
        match (self.salvaged.iter().min(), self.salvaged.iter().max()) {
            (Some(least), Some(most)) if least == most => least.to_string(),
            (Some(least), Some(most)) => {
                let all_but_ten = self
                    .salvaged
                    .iter()
                    .filter(|right| **right + 10 >= RECORDS)
                    .count();
                format!("{least} – {most}, {all_but_ten} lost at most 10")
            }
            _ => "-".to_owned(),
        }
    }
}

pub(crate) fn flips(bench: &Bench) -> Result<()> {
    let title = format!(
        "One random bit flipped in the files of {RECORDS} records, {} times each, seed {}",
        bench.flips, bench.seed
    );
    let head = &[
        "store",
        "ended by",
        "refused at open",
        "salvaged of each",
        "error at read",
        "most unreadable",
        "crashed",
        "lost silently",
        "wrong silently",
        "records intact",
        "silent, but check tells",
    ];
    let mut table = Table::new(title, head);
    let mut random = fastrand::Rng::with_seed(bench.seed);
    for kind in &bench.stores {
        for killed in [false, true] {
            let outcomes = flip(*kind, bench, killed, &mut random, &mut table)?;
            table.row([
                kind.name().to_owned(),
                if killed { "kill" } else { "close" }.to_owned(),
                outcomes.refused.to_string(),
                outcomes.salvaged(),
                outcomes.failed.to_string(),
                outcomes.most_unread.to_string(),
                outcomes.crashed.to_string(),
                outcomes.lost.to_string(),
                outcomes.wrong.to_string(),
                outcomes.intact.to_string(),
                outcomes.caught_by_check.to_string(),
            ]);
        }
    }
    table.note("Salvaged: read past the repair, record by record, from a file that redb refuses.");
    table.note("The check is the store's own: redb's check_integrity, SQLite's integrity_check, fjall has none.");
    table.print(bench.markdown);
    Ok(())
}

fn flip(
    kind: Kind,
    bench: &Bench,
    killed: bool,
    random: &mut fastrand::Rng,
    table: &mut Table,
) -> Result<Outcomes> {
    if killed {
        child::fill_and_die(kind, bench, RECORDS)?;
    } else {
        samples::fill(kind.create(&bench.dir)?.as_mut(), RECORDS)?;
    }
    let copy = bench.dir.with_extension("flipped");
    let files = files(&bench.dir, Path::new(""))?;
    let total: u64 = files.iter().map(|(_, length)| length).sum();
    let mut outcomes = Outcomes::default();
    for _ in 0..bench.flips {
        let (place, bit) = (random.u64(0..total), random.u8(0..8));
        flipped_copy(&bench.dir, &copy, &files, place, bit)?;
        let output = child::output(Role::Inspect, kind, &copy, RECORDS)?;
        let said = String::from_utf8_lossy(&output.stdout);
        match said.split(':').next().map(str::trim) {
            Some("refused") => {
                outcomes.refused += 1;
                flipped_copy(&bench.dir, &copy, &files, place, bit)?;
                outcomes.salvaged.extend(salvage(kind, &copy)?);
            }
            Some("failed") => {
                outcomes.failed += 1;
                let unread = said.split(':').nth(1).unwrap_or_default().trim().parse()?;
                outcomes.most_unread = outcomes.most_unread.max(unread);
            }
            Some("intact") => outcomes.intact += 1,
            Some(silent @ ("lost" | "wrong")) => {
                if silent == "lost" {
                    outcomes.lost += 1
                } else {
                    outcomes.wrong += 1
                }
                flipped_copy(&bench.dir, &copy, &files, place, bit)?;
                let output = child::output(Role::Verify, kind, &copy, RECORDS)?;
                outcomes.caught_by_check += u32::from(!output.stdout.starts_with(b"sound"));
            }
            _ => {
                outcomes.crashed += 1;
                let stderr = String::from_utf8_lossy(&output.stderr);
                let line = stderr
                    .lines()
                    .find(|line| !line.trim().is_empty())
                    .unwrap_or("no word");
                table.note(format!("{} crashed: {line}", kind.name()));
            }
        }
    }
    fs::remove_dir_all(copy)?;
    Ok(outcomes)
}

/// How many records can still be read right; for redb only, where it is known how.
fn salvage(kind: Kind, dir: &Path) -> Result<Option<u64>> {
    #[cfg(feature = "redb")]
    if kind.name().starts_with("redb") {
        let output = child::output(Role::Salvage, kind, dir, RECORDS)?;
        let said = String::from_utf8_lossy(&output.stdout);
        let right = said
            .split(':')
            .nth(1)
            .and_then(|right| right.trim().parse().ok());
        return Ok(Some(right.unwrap_or(0)));
    }
    let _ = (kind, dir);
    Ok(None)
}

/// All files below `dir`, by their path in it, with their lengths.
fn files(dir: &Path, below: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            found.extend(files(dir, &path)?);
        } else {
            found.push((path, entry.metadata()?.len()));
        }
    }
    found.sort();
    Ok(found)
}

fn flipped_copy(
    from: &Path,
    to: &Path,
    files: &[(PathBuf, u64)],
    mut place: u64,
    bit: u8,
) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    let mut flipped = false;
    for (path, length) in files {
        let target = to.join(path);
        fs::create_dir_all(target.parent().unwrap_or(to))?;
        fs::copy(from.join(path), &target)?;
        if flipped {
            continue;
        }
        if place >= *length {
            place -= length;
            continue;
        }
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&target)?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, place)?;
        file.write_all_at(&[byte[0] ^ (1 << bit)], place)?;
        flipped = true;
    }
    Ok(())
}

/// Opens each store while another process, this one, has it open.
pub(crate) fn second_process(bench: &Bench) -> Result<()> {
    let mut table = Table::new(
        "A second process opens the store",
        &["store", "what it gets"],
    );
    for kind in &bench.stores {
        let mut store = kind.create(&bench.dir)?;
        samples::fill(store.as_mut(), 1)?;
        let output = child::output(Role::Inspect, *kind, &bench.dir, 1)?;
        table.row([
            kind.name().to_owned(),
            String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        ]);
    }
    table.print(bench.markdown);
    Ok(())
}
