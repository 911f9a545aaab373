//! Files that only their owner may read. Public for `jetsink-serve`, which keeps one in a spool's folder; no part of the API.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};

use rustix::fs::OFlags;

const MODE: u32 = 0o600;

/// Options to read and write such a file. A link is refused: it would lead to a file of another owner or folder.
#[must_use]
pub fn options() -> OpenOptions {
    let mut options = File::options();
    options.read(true).write(true).mode(MODE);
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// Sets the mode of an open file. The umask may have taken away even the owner's rights; an operator may have given others
/// some.
///
/// # Errors
/// Those of the system.
pub fn set_mode(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(MODE))
}
