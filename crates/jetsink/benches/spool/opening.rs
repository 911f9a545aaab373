//! The opening of a large spool whose process was killed.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use jetsink::{Sink, SinkSettings, Subject};
use rustix::fs::{Advice, fadvise};

use crate::common::away::Away;
use crate::common::{Rounds, figure, from_environment, shown};
use crate::{Bound, Bounds, envelope_of, settings};

/// Marks a child; its value is `fill`, a number of bytes and a folder, or `open` and a folder.
pub const CHILD: &str = "JETSINK_SPOOL_BENCH_CHILD";

/// `JETSINK_OPEN_BYTES` (1 GiB) sets the size of the spool.
pub fn after_a_kill(rounds: u64, bounds: &mut Bounds) {
    let bytes = from_environment("JETSINK_OPEN_BYTES", 1 << 30);
    let folder = tempfile::tempdir().unwrap();
    let mut filler = Killed::start(&format!("fill {bytes} {}", folder.path().display()));
    filler.line();
    drop(filler);
    let files = files(folder.path());
    println!(
        "opening a spool of {} MiB whose process was killed while it appended, medians of {rounds} rounds (spread)\n",
        figure(length_of(&files) as f64 / f64::from(1 << 20))
    );
    for is_cached in [true, false] {
        let cache = if is_cached {
            "files in the system's cache"
        } else {
            "files out of the cache"
        };
        let (mut openings, mut scans, mut reads) = Default::default();
        if is_cached {
            read_once(folder.path());
        }
        for round in 0..rounds {
            let mut open = || {
                if !is_cached {
                    drop_cache(folder.path());
                }
                let (opening, scan) = open(folder.path());
                Rounds::push(&mut openings, opening.as_secs_f64() * 1e3);
                Rounds::push(&mut scans, scan.as_secs_f64() * 1e3);
            };
            if round % 2 == 0 {
                open();
            }
            if !is_cached {
                drop_cache(folder.path());
            }
            let read = read_once(folder.path());
            Rounds::push(&mut reads, read.as_secs_f64() * 1e3);
            if round % 2 == 1 {
                open();
            }
        }
        println!("{cache}");
        println!("  opening, ms: {}", shown(&openings));
        println!("  until the first events are found, ms: {}", shown(&scans));
        println!("  reading the files once, ms: {}", shown(&reads));
        let what = format!("opening beside reading the files once, {cache}, ms");
        bounds.compare(&what, &openings, &reads, Bound::AtMost(0.20));
    }
}

/// Opens the spool in a process of its own, which is then killed. Returns the time of the opening, and the time
/// until its first events were found.
fn open(folder: &Path) -> (Duration, Duration) {
    let mut child = Killed::start(&format!("open {}", folder.display()));
    (child.duration(), child.duration())
}

/// A process that ends by SIGKILL.
struct Killed {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Killed {
    fn start(orders: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(CHILD, orders)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the child has ended");
        line.trim().to_owned()
    }

    fn duration(&mut self) -> Duration {
        Duration::from_nanos(self.line().parse().unwrap())
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

pub fn child(orders: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (order, rest) = orders.split_once(' ').unwrap();
    if order == "open" {
        return runtime.block_on(open_and_count(Path::new(rest)));
    }
    let (bytes, folder) = rest.split_once(' ').unwrap();
    runtime.block_on(fill(bytes.parse().unwrap(), Path::new(folder)));
}

async fn open_and_count(folder: &Path) {
    let started = Instant::now();
    let sink = Sink::with_spool(Away, SinkSettings::default(), settings(folder))
        .await
        .unwrap();
    print_duration(started.elapsed());
    while sink.spool().unwrap().status().events <= 1 {
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    print_duration(started.elapsed());
    std::future::pending::<()>().await;
}

fn print_duration(duration: Duration) {
    let mut output = std::io::stdout();
    writeln!(output, "{}", duration.as_nanos()).unwrap();
    output.flush().unwrap();
}

/// Emits until the spool has `bytes`, prints a line, and goes on until it is killed.
async fn fill(bytes: u64, folder: &Path) {
    let sink = Sink::with_spool(Away, SinkSettings::default(), settings(folder))
        .await
        .unwrap();
    let subject = Subject::new("events.a").unwrap();
    let mut is_told = false;
    for wave in 0.. {
        let numbers = wave * 1_024..(wave + 1) * 1_024;
        let emits = numbers.map(|number| sink.emit(envelope_of(&subject, number)));
        for result in futures_util::future::join_all(emits).await {
            result.unwrap();
        }
        if !is_told && sink.spool().unwrap().status().used_bytes >= bytes {
            print_duration(Duration::ZERO);
            is_told = true;
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn length_of(files: &[PathBuf]) -> u64 {
    let lengths = files.iter().map(|file| file.metadata().unwrap().len());
    lengths.sum()
}

fn read_once(folder: &Path) -> Duration {
    let mut buffer = vec![0; 1 << 20];
    let started = Instant::now();
    for file in files(folder) {
        let mut file = File::open(file).unwrap();
        while file.read(&mut buffer).unwrap() > 0 {}
    }
    started.elapsed()
}

/// Takes the files out of the system's cache.
fn drop_cache(folder: &Path) {
    for file in files(folder) {
        let file = File::open(file).unwrap();
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    }
}
