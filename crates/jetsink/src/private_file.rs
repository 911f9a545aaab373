//! Files and folders that only their owner may read. Public for `jetsink-serve`, which keeps one in a spool's folder; no part of the API.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, set_permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
};
use std::path::Path;

use rustix::fs::OFlags;

const MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

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

/// Opens or creates such a file. Returns whether this call created it.
pub(crate) fn open_or_create(path: &Path) -> io::Result<(File, bool)> {
    match options().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        created => return Ok((created?, true)),
    }
    Ok((options().open(path)?, false))
}

/// Whether two files have one owner.
pub(crate) fn have_one_owner(file: &File, other: &File) -> io::Result<bool> {
    Ok(file.metadata()?.uid() == other.metadata()?.uid())
}

/// Makes the owner of a folder the owner of a file, if that is root's.
pub(crate) fn give_to_owner(file: &File, folder: &File) -> io::Result<()> {
    let (own, owner) = (file.metadata()?, folder.metadata()?);
    let is_root = own.uid() == 0;
    if !is_root || owner.uid() == 0 {
        return Ok(());
    }
    fchown(file, Some(owner.uid()), Some(owner.gid()))
}

/// Creates a folder and its missing ancestors with mode 0700; the umask has no effect.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    let above = above.unwrap_or(Path::new("."));
    create_folder(above)?;
    match DirBuilder::new().mode(FOLDER_MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        created => created?,
    }
    set_permissions(path, Permissions::from_mode(FOLDER_MODE))?;
    match File::open(above).and_then(|above| above.sync_all()) {
        // This user may create files there, and not read their names.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}
