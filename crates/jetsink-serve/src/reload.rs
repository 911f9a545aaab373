//! Reads credentials and certificates again, on request and when their files change.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::sleep;
use tracing::{error, info};

use crate::access::Access;
use crate::listen::TlsSettings;

/// The interval between two looks at the files.
const INTERVAL: Duration = Duration::from_secs(1);

/// Keeps credentials and certificates as their files are.
#[derive(Debug, Clone)]
pub struct Reloader {
    access: Access,
    tls: Option<TlsSettings>,
}

/// The state by which a change of a file is seen; `None` without the file.
type Seen = Vec<Option<(SystemTime, u64, u64)>>;

impl Reloader {
    /// Watches the files of these.
    #[must_use]
    pub fn new(access: Access, tls: Option<TlsSettings>) -> Self {
        Self { access, tls }
    }

    /// Reads all files again. A file with an error is logged, and its earlier content stays in use.
    pub fn reload(&self) {
        if self.access.path().is_some() {
            match self.access.reload() {
                Ok(()) => info!("credentials are reloaded"),
                Err(error) => error!(%error, "credentials stay as they were"),
            }
        }
        if let Some(tls) = &self.tls {
            match tls.reload() {
                Ok(()) => info!("the certificate is reloaded"),
                Err(error) => error!(%error, "the certificate stays as it was"),
            }
        }
    }

    /// Reloads within 2 s of a change; never returns. A change counts once the files have been the same for two looks,
    /// so that a certificate and its key are both written.
    pub async fn watch(&self) {
        let mut loaded = self.look();
        let mut before = loaded.clone();
        loop {
            sleep(INTERVAL).await;
            let now = self.look();
            if now != loaded && now == before {
                self.reload();
                loaded.clone_from(&now);
            }
            before = now;
        }
    }

    fn look(&self) -> Seen {
        let tls = self.tls.iter().flat_map(TlsSettings::paths);
        let paths: Vec<PathBuf> = self
            .access
            .path()
            .into_iter()
            .chain(tls)
            .map(Path::to_owned)
            .collect();
        paths.iter().map(|path| state(path)).collect()
    }
}

fn state(path: &Path) -> Option<(SystemTime, u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}
