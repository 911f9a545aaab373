//! Reads credentials and certificates again, on request and when their files change.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, info};

use crate::access::Access;
use crate::file_state::FileState;
use crate::listen::TlsSettings;

/// The interval between two looks at the files.
const INTERVAL: Duration = Duration::from_secs(1);

/// Keeps credentials and certificates as their files are.
#[derive(Debug, Clone)]
pub struct Reloader {
    access: Access,
    tls: Option<TlsSettings>,
}

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
                Ok(()) => info!("the credentials are reloaded"),
                Err(error) => {
                    error!(%error, "the credentials have an error: the earlier ones stay in use")
                }
            }
        }
        if let Some(tls) = &self.tls {
            match tls.reload() {
                Ok(()) => info!("the certificate is reloaded"),
                Err(error) => {
                    error!(%error, "the certificate has an error: the earlier one stays in use")
                }
            }
        }
    }

    /// Reloads within 2 s of a change since the files were read; never returns. A change counts once the files have been
    /// the same for two looks, so that a certificate and its key are both written.
    pub async fn watch(&self) {
        let mut tried = self.loaded();
        let mut before = self.look();
        loop {
            sleep(INTERVAL).await;
            let now = self.look();
            if now != tried && now == before {
                self.reload();
                tried.clone_from(&now);
            }
            before = now;
        }
    }

    fn look(&self) -> Vec<Option<FileState>> {
        let access = self.access.path().map(FileState::of);
        let tls = self.tls.iter().flat_map(TlsSettings::states);
        access.into_iter().chain(tls).collect()
    }

    fn loaded(&self) -> Vec<Option<FileState>> {
        let tls = self.tls.iter().flat_map(TlsSettings::loaded);
        self.access.loaded().into_iter().chain(tls).collect()
    }
}
