//! The files that an audit holds a stream against.

use std::fs::File;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Deserialize;

use crate::input::LONGEST_LINE;
use crate::input::lines::Lines;
use crate::settings::Failure;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What an event is known by.
#[derive(Deserialize)]
pub(super) struct Identity {
    pub(super) source: String,
    pub(super) id: String,
}

impl Identity {
    /// `None` where the bytes are no JSON of an event.
    pub(super) fn of(event: &[u8]) -> Option<Self> {
        serde_json::from_slice(event).ok()
    }
}

pub(super) struct Line<'a> {
    pub(super) path: &'a Path,
    /// From 1, empty ones counted.
    pub(super) number: u64,
    /// Without its end.
    pub(super) bytes: Bytes,
    pub(super) identity: Identity,
}

/// Calls `visit` for each line that is not empty.
pub(super) fn read<'a>(
    path: &'a PathBuf,
    mut visit: impl FnMut(Line<'a>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let failed = |source| Failure::File {
        path: path.clone(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        let text = format!("{} is no regular file: it is read twice", path.display());
        return Err(Failure::Audit(text));
    }
    let mut lines = Lines::new(file);
    let mut number = 0;
    while let Some((mut bytes, _)) = lines.next().map_err(failed)? {
        number += 1;
        let place = || format!("{}:{number}", path.display());
        if number == 1 && bytes.starts_with(BYTE_ORDER_MARK) {
            bytes = bytes.slice(BYTE_ORDER_MARK.len()..);
        }
        for end in [b'\n', b'\r'] {
            if bytes.last() == Some(&end) {
                bytes.truncate(bytes.len() - 1);
            }
        }
        if bytes.is_empty() {
            continue;
        }
        if bytes.len() > LONGEST_LINE {
            return Err(Failure::Audit(format!("{}: the line is too long", place())));
        }
        let Some(identity) = Identity::of(&bytes) else {
            let text = format!("{}: no event: JSON with source and id is needed", place());
            return Err(Failure::Audit(text));
        };
        visit(Line {
            path,
            number,
            bytes,
            identity,
        })?;
    }
    Ok(())
}
