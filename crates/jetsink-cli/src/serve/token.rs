//! `jetsink serve token new`.

use jetsink_serve::NewToken;

use super::arguments::NewTokenArguments;
use crate::failure::Failure;
use crate::output;

/// Adds the hash to the file, and prints the token only then.
pub(super) fn new(arguments: &NewTokenArguments) -> Result<u8, Failure> {
    let path = &arguments.file;
    let token = NewToken::random().map_err(|source| Failure::File {
        path: path.clone(),
        source,
    })?;
    token
        .append_to(path, &arguments.name, &arguments.subject, &arguments.tenant)
        .map_err(|error| Failure::Usage(format!("--file: {error}")))?;
    output::print(token.secret());
    output::note(&format!(
        "the token is shown only once; its hash is in {}",
        path.display()
    ));
    Ok(0)
}
