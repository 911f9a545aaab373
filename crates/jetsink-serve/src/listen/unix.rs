//! A Unix socket whose file never has a wider mode than asked.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// The socket's name in its private folder.
const INNER: &str = "s";

/// Binds the socket in a folder that only this user can enter, sets its mode there, and moves it to `path`. Replaces a
/// socket without a listening process.
pub(crate) async fn bind(path: &Path, mode: u32) -> io::Result<UnixListener> {
    check_length(path)?;
    remove_stale(path).await?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder = private_folder(parent)?;
    let inner = folder.join(INNER);
    let bound = bind_in(&folder, &inner, path, mode);
    // Empty after the move.
    let _ = std::fs::remove_file(&inner);
    let removed = std::fs::remove_dir(&folder);
    let listener = bound?;
    removed?;
    Ok(listener)
}

/// Makes a folder with a random name. A process id is no name: each container has a process 1, and a killed process
/// leaves its folder.
fn private_folder(parent: &Path) -> io::Result<PathBuf> {
    loop {
        let mut random = [0; 4];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let folder = parent.join(format!(".jetsink-{:08x}", u32::from_ne_bytes(random)));
        match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| folder),
        }
    }
}

/// Refuses a path that no client could connect to.
fn check_length(path: &Path) -> io::Result<()> {
    const MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
    let length = path.as_os_str().len();
    if length <= MAX {
        return Ok(());
    }
    let text = format!(
        "the path has {length} bytes, but that of a Unix socket at most {MAX}; choose a shorter one"
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

fn bind_in(folder: &Path, inner: &Path, path: &Path, mode: u32) -> io::Result<UnixListener> {
    let listener = bind_by_short_name(folder, inner)?;
    std::fs::set_permissions(inner, std::fs::Permissions::from_mode(mode))?;
    std::fs::rename(inner, path)?;
    Ok(listener)
}

/// The path in the private folder may be too long for a socket although `path` is not. Linux has a short name for an open
/// folder.
fn bind_by_short_name(folder: &Path, inner: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(inner) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            let folder = File::open(folder)?;
            let short = format!("/proc/self/fd/{}/{INNER}", folder.as_raw_fd());
            UnixListener::bind(short).map_err(|_| {
                let text = "the path has no room for a temporary name beside it; choose one that is 20 bytes shorter";
                io::Error::new(io::ErrorKind::InvalidInput, text)
            })
        }
        bound => bound,
    }
}

/// Removes a socket that refuses connections; anything else at the path is an error. The process that listens may be ending,
/// and remove its socket meanwhile.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let metadata = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a file that is not a socket is in the way; remove it, or choose another path",
        ));
    }
    remove_unless_used(path, UnixStream::connect(path).await.map(drop))
}

fn remove_unless_used(path: &Path, connected: io::Result<()>) -> io::Result<()> {
    let Err(error) = connected else {
        return Err(in_use());
    };
    match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        io::ErrorKind::ConnectionRefused => match std::fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        },
        // More connections wait to be accepted than there is room for.
        io::ErrorKind::WouldBlock => Err(in_use()),
        _ => Err(error),
    }
}

fn in_use() -> io::Error {
    let text = "another process listens on it; stop it, or choose another path";
    io::Error::new(io::ErrorKind::AddrInUse, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn socket_has_the_mode_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.sock");
        let listener = bind(&path, 0o660).await.unwrap();
        assert_eq!(mode(&path), 0o660);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        UnixStream::connect(&path).await.unwrap();
        let taken = bind(&path, 0o600).await.unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        let _again = bind(&path, 0o600).await.unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    // A reviewer's finding: the temporary path was too long where the socket's own was not.
    #[tokio::test]
    async fn each_path_that_a_client_can_connect_to_is_bound() {
        let folder = tempfile::tempdir().unwrap();
        // A slash before each of the two names.
        let base = folder.path().as_os_str().len() + 2;
        for length in 80..=110 {
            let parent = folder.path().join("p".repeat(length - base - 1));
            std::fs::create_dir(&parent).unwrap();
            let path = parent.join("s");
            assert_eq!(path.as_os_str().len(), length);
            let can_be_bound = UnixListener::bind(&path).is_ok();
            let _ = std::fs::remove_file(&path);
            match bind(&path, 0o660).await {
                Ok(_listener) => {
                    assert!(can_be_bound, "{length}");
                    assert_eq!(mode(&path), 0o660);
                    UnixStream::connect(&path).await.unwrap();
                    assert_eq!(std::fs::read_dir(&parent).unwrap().count(), 1);
                }
                Err(error) => {
                    assert!(!can_be_bound, "{length}: {error}");
                    assert!(error.to_string().contains("at most"), "{error}");
                    assert_eq!(std::fs::read_dir(&parent).unwrap().count(), 0);
                }
            }
        }
    }

    // A reviewer's finding: the folder had the process id in its name, which is 1 in each container.
    #[tokio::test]
    async fn folder_that_a_killed_process_left_does_not_hinder() {
        let folder = tempfile::tempdir().unwrap();
        let left = format!(".jetsink-{}", std::process::id());
        std::fs::create_dir(folder.path().join(left)).unwrap();
        let paths = [1, 2, 3].map(|n| folder.path().join(n.to_string()));
        let binds = paths.iter().map(|path| bind(path, 0o600));
        for bound in futures_util::future::join_all(binds).await {
            bound.unwrap();
        }
    }

    // A reviewer's finding: a start failed instead of waiting while its predecessor removed the socket.
    #[test]
    fn socket_that_its_process_removes_meanwhile_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.sock");
        for kind in [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused] {
            remove_unless_used(&path, Err(kind.into())).unwrap();
        }
        let denied = io::ErrorKind::PermissionDenied;
        let error = remove_unless_used(&path, Err(denied.into())).unwrap_err();
        assert_eq!(error.kind(), denied);
    }

    // A reviewer's finding: the same for a predecessor that accepts no connection at the moment.
    #[tokio::test]
    async fn socket_whose_queue_is_full_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.sock");
        let socket = tokio::net::UnixSocket::new_stream().unwrap();
        socket.bind(&path).unwrap();
        let _listener = socket.listen(1).unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = UnixStream::connect(&path).await {
            waiting.push(stream);
            assert!(waiting.len() < 100, "the queue has no bound");
        }
        let error = bind(&path, 0o600).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn file_in_the_way_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(
            bind(&path, 0o600).await.unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
