//! kill -9 at random moments. The page cache survives it, so it shows whether a store recovers from a
//! torn transaction, not whether its fsync reaches the disk.

use std::io::Read;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use crate::args::Bench;
use crate::child::{self, READY, Role};
use crate::report::{Table, as_millis, millis, quantile};
use crate::samples;
use crate::store::{Kind, Result};

const RECORDS: u64 = 10_000;
const LONGEST_LIFE_MS: u64 = 100;
const ROLES: [(Role, &str); 3] = [
    (Role::Append, "append"),
    (Role::Read, "read"),
    (Role::Delete, "append and delete"),
];

/// What the child said it had done, and what it was about to do.
#[derive(Default)]
struct Said {
    head: [u64; 2],
    tail: [u64; 2],
}

pub(crate) fn measure(bench: &Bench) -> Result<()> {
    let trials = bench.kills as usize;
    let title = format!(
        "kill -9, {trials} times each, {RECORDS} records and more, seed {}",
        bench.seed
    );
    let head = &[
        "store",
        "during",
        "as promised",
        "mid-commit kept",
        "open p50 ms",
        "max ms",
    ];
    let mut table = Table::new(title, head);
    let mut random = fastrand::Rng::with_seed(bench.seed);
    for kind in &bench.stores {
        for (role, name) in ROLES {
            let (mut good, mut kept, mut opens) = (0, 0, Vec::new());
            for _ in 0..bench.kills {
                let said = kill_one(*kind, bench, role, random.u64(0..=LONGEST_LIFE_MS * 1000))?;
                let began = Instant::now();
                let mut store = kind.open(&bench.dir)?;
                let keys = store.bounds()?.unwrap_or_default();
                opens.push(as_millis(began.elapsed()));
                let mut next = keys.start;
                store.read(0, usize::MAX, &mut |key, record| {
                    next += u64::from(key == next && record == samples::record(key));
                })?;
                if next == keys.end && said.allows(&keys) {
                    good += 1;
                } else {
                    table.note(format!(
                        "{} {name}: said {:?} {:?}, holds {keys:?}, right up to {next}",
                        kind.name(),
                        said.head,
                        said.tail
                    ));
                }
                let beyond = keys.end != said.tail[0] || keys.start != said.head[0];
                kept += u32::from(beyond);
            }
            table.row([
                kind.name().to_owned(),
                name.to_owned(),
                format!("{good}/{trials}"),
                kept.to_string(),
                millis(quantile(&opens, 0.5)),
                millis(quantile(&opens, 1.0)),
            ]);
        }
    }
    let bound = 3.0 / f64::from(bench.kills * ROLES.len() as u32);
    table.note(
        "As promised: all that was acknowledged is there, in order, byte for byte, and nothing",
    );
    table
        .note("else but the whole of the transaction that was under way. An open finds both ends.");
    table.note(format!(
        "No failure in a store's trials bounds its rate near {:.1} %.",
        bound * 100.0
    ));
    table.print(bench.markdown);
    Ok(())
}

/// Fills a store, lets a child work on it for a random while, and kills it.
fn kill_one(kind: Kind, bench: &Bench, role: Role, micros: u64) -> Result<Said> {
    samples::fill(kind.create(&bench.dir)?.as_mut(), RECORDS)?;
    let mut child = child::spawn(role, kind, &bench.dir, RECORDS)?;
    let mut out = child.stdout.take().ok_or("no pipe")?;
    let mut first = vec![0; READY.len() + 1];
    out.read_exact(&mut first)?;
    let listener = thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).map(|_| text)
    });
    thread::sleep(Duration::from_micros(micros));
    child.kill()?;
    child.wait()?;
    let text = listener.join().map_err(|_| "the listener panicked")??;
    Said::from(&text)
}

impl Said {
    fn from(text: &str) -> Result<Self> {
        let mut said = Self {
            head: [0; 2],
            tail: [RECORDS; 2],
        };
        for line in text.lines() {
            let (what, end) = line.split_once(' ').ok_or("a line without a space")?;
            let end = end.parse()?;
            match what {
                "a" => said.tail[1] = end,
                "A" => said.tail = [end; 2],
                "d" => said.head[1] = end,
                "D" => said.head = [end; 2],
                other => return Err(format!("the child said {other}").into()),
            }
        }
        Ok(said)
    }

    /// Done is done; what was under way is there whole or not at all.
    fn allows(&self, keys: &Range<u64>) -> bool {
        self.head.contains(&keys.start) && self.tail.contains(&keys.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_must_be_there_and_what_was_under_way_may_be() {
        let said = Said::from("a 10016\nA 10016\nd 16\nD 16\na 10032\n").unwrap();
        assert!(said.allows(&(16..10016)));
        assert!(said.allows(&(16..10032)));
        assert!(
            !said.allows(&(16..10000)),
            "an acknowledged append is missing"
        );
        assert!(!said.allows(&(16..10020)), "half a transaction");
        assert!(
            !said.allows(&(0..10016)),
            "an acknowledged deletion is undone"
        );
        assert!(!said.allows(&(16..10048)), "an invented record");
    }
}
