//! `jetsink serve token new`.

use std::io::Write as _;

use jetsink_serve::{Access, NewToken};

use super::arguments::NewTokenArguments;
use crate::failure::Failure;
use crate::output;
use crate::system::private_file;

/// Adds the hash to the file, checks the whole file, and prints the token only then.
pub(super) fn new(arguments: &NewTokenArguments) -> Result<u8, Failure> {
    let path = &arguments.file;
    let failed = |source| Failure::File {
        path: path.clone(),
        source,
    };
    let before = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    let token = NewToken::random().map_err(failed)?;
    let gap = match before.as_str() {
        "" => "",
        text if text.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    let entry = token.entry(&arguments.name, &arguments.subject, &arguments.tenant);
    let text = format!("{before}{gap}{entry}");
    // Beside the file, so that a running gateway never reads half of it.
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let written = private_file().open(&new).and_then(|mut file| {
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
    });
    let checked = written
        .map_err(failed)
        .and_then(|()| Ok(Access::from_file(&new)?));
    let done = checked.and_then(|_| std::fs::rename(&new, path).map_err(failed));
    if done.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    done?;
    output::print(token.secret());
    output::note(&format!(
        "the token is shown only once; its hash is in {}",
        path.display()
    ));
    Ok(0)
}
