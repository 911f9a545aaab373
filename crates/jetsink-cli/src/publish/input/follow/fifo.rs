//! A followed FIFO: one writer after another.

use std::fs::File;
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::lines::Lines;
use crate::publish::input::reader::{Reader, Stopped};
use crate::publish::input::{Batch, LineLocation};

/// The wait for the next writer.
const POLL: Duration = Duration::from_millis(100);

/// Reads until the command ends, or the FIFO can't be read.
pub(super) fn read_fifo(path: &Path, index: usize, from_line: u64, reader: &Reader) {
    let location = LineLocation {
        file: path.into(),
        index,
        line: 0,
        event: None,
    };
    if let Err(Some(error)) = read(path, location.clone(), from_line, reader) {
        let reason = error.to_string();
        // Stopped: the command has ended.
        let _ = reader.send(Batch::Failed { location, reason });
    }
}

fn read(
    path: &Path,
    mut location: LineLocation,
    from_line: u64,
    reader: &Reader,
) -> Result<(), Option<io::Error>> {
    // Opening waits for a writer.
    let fifo = File::open(path)?;
    // A chain continues with the next writer.
    let mut format = reader.line_format(None);
    while !reader.sender.is_closed() {
        // It stays open for the next writer: closing it would lose bytes that are already in it.
        let source = Lines::new(fifo.try_clone()?);
        location.line = reader
            .read_open_ended(source, &mut format, location.clone(), from_line)
            .map_err(|Stopped| None)?;
        sleep(POLL);
    }
    Ok(())
}
