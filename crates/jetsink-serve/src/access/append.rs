//! Adds a token to a file of credentials that other processes read and change.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::file::{AccessError, Table, check_mode};
use super::token::NewToken;

impl NewToken {
    /// Appends the token's hash to a file of credentials, and makes the file with mode 0600 if it does not exist.
    /// `subjects` are patterns; no tenants means any.
    ///
    /// The file keeps its owner, its mode and the links to it. It is locked meanwhile, so that two calls at once add
    /// both tokens. After an error it has the content that it had.
    ///
    /// ```
    /// use jetsink_serve::{Access, NewToken};
    ///
    /// let folder = std::env::temp_dir().join(format!("jetsink-doc-{}", std::process::id()));
    /// std::fs::create_dir_all(&folder)?;
    /// let file = folder.join("access.toml");
    /// let token = NewToken::random()?;
    /// token.append_to(&file, "ci", &["events.>".to_owned()], &[])?;
    /// assert!(Access::from_file(&file)?.is_required());
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AccessError`] if the file cannot be read or written, is writable by others, or would have an invalid entry or
    /// two of one name.
    pub fn append_to(
        &self,
        path: &Path,
        name: &str,
        subjects: &[String],
        tenants: &[String],
    ) -> Result<(), AccessError> {
        let entry = self.entry(name, subjects, tenants);
        // Before a file is made for it.
        Table::parse(path, &entry)?;
        let failed = |error| AccessError::Read {
            path: path.to_owned(),
            error,
        };
        let file = open_locked(path).map_err(failed)?;
        check_mode(path, &file.metadata().map_err(failed)?)?;
        let before = read(&file).map_err(failed)?;
        let gap = match before.as_str() {
            "" => "",
            text if text.ends_with('\n') => "\n",
            _ => "\n\n",
        };
        let added = format!("{gap}{entry}");
        Table::parse(path, &format!("{before}{added}"))?;
        append(&file, before.len(), &added).map_err(failed)
    }
}

/// The lock ends with the file's handle.
fn open_locked(path: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        file.lock()?;
        // An editor may have replaced the file before the lock was free.
        if is_at(&file, path)? {
            return Ok(file);
        }
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let opened = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (opened.dev(), opened.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn read(mut file: &File) -> io::Result<String> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

fn append(mut file: &File, length: usize, text: &str) -> io::Result<()> {
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    if written.is_err() {
        // A part of an entry would make the whole file invalid.
        let _ = file.set_len(length as u64);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Access;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    fn add(path: &Path, name: &str) -> Result<NewToken, AccessError> {
        let token = NewToken::random().unwrap();
        token.append_to(path, name, &[">".to_owned()], &[])?;
        Ok(token)
    }

    // A reviewer's finding: the file was replaced by a new one.
    #[test]
    fn file_keeps_its_identity_its_mode_and_the_link_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        add(&file, "first").unwrap();
        let mode = |path: &PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&file), 0o600);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let inode = std::fs::metadata(&file).unwrap().ino();
        add(&link, "second").unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(mode(&file), 0o640);
        assert_eq!(std::fs::metadata(&file).unwrap().ino(), inode);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    // A reviewer's finding: two calls at once added one token.
    #[test]
    fn tokens_that_are_made_at_once_are_all_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::thread::scope(|scope| {
            for number in 0..16 {
                let file = &file;
                scope.spawn(move || add(file, &number.to_string()).unwrap());
            }
        });
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.matches("[[token]]").count(), 16);
        Access::from_file(&file).unwrap();
    }

    // A reviewer's finding: the token was added to the file that was no longer there.
    #[test]
    fn token_is_added_to_the_file_that_replaced_another_during_the_wait() {
        let folder = tempfile::tempdir().unwrap();
        let (file, new) = (folder.path().join("file"), folder.path().join("new"));
        add(&file, "first").unwrap();
        let held = open_locked(&file).unwrap();
        let ready = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            let adding = scope.spawn(|| {
                ready.wait();
                add(&file, "second").unwrap();
            });
            ready.wait();
            // If the thread has not opened the file by then, it opens the new one, and the test passes.
            std::thread::sleep(std::time::Duration::from_millis(100));
            std::fs::copy(&file, &new).unwrap();
            std::fs::rename(&new, &file).unwrap();
            drop(held);
            adding.join().unwrap();
        });
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.matches("[[token]]").count(), 2, "{text}");
    }

    #[test]
    fn refused_token_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let token = NewToken::random().unwrap();
        let wrong = token.append_to(&file, "", &[">".to_owned()], &[]);
        assert!(matches!(wrong, Err(AccessError::Entry { .. })));
        assert!(!file.exists(), "no file is made for an invalid entry");
        // Without an end of the line.
        std::fs::write(&file, "# ours").unwrap();
        add(&file, "one").unwrap();
        let before = std::fs::read_to_string(&file).unwrap();
        assert!(matches!(add(&file, "one"), Err(AccessError::Entry { .. })));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o620)).unwrap();
        assert!(matches!(
            add(&file, "two"),
            Err(AccessError::Writable { .. })
        ));
    }
}
