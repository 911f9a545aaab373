//! TLS: certificate, key, the authorities of clients, and the names of a client's certificate.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::access::san;
use crate::file_state::FileState;
use crate::one_line::one_line;

/// The error of a certificate or key that can't be used. It names the file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", .path.display())]
#[non_exhaustive]
pub struct TlsError {
    /// The file.
    pub path: PathBuf,
    /// The problem, in one line.
    pub reason: String,
}

/// The files of a TLS listener, PEM. Clones share the loaded certificate, so that [`reload`](Self::reload) reaches each.
#[derive(Clone)]
pub struct TlsSettings {
    certificate: PathBuf,
    key: PathBuf,
    client_authorities: Option<PathBuf>,
    loaded: Arc<RwLock<Loaded>>,
}

/// The files as they were read last.
struct Loaded {
    config: Arc<ServerConfig>,
    /// Taken before that read.
    states: Vec<Option<FileState>>,
}

impl TlsSettings {
    /// Loads a certificate chain and its key. With `client_authorities`, a client may present a certificate issued
    /// by one of these authorities; a client without a certificate needs another credential.
    ///
    /// # Errors
    /// [`TlsError`] for a file that cannot be read, is not PEM, or does not fit the others.
    pub fn load(
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        client_authorities: Option<PathBuf>,
    ) -> Result<Self, TlsError> {
        let (certificate, key) = (certificate.into(), key.into());
        let loaded = load(&certificate, &key, client_authorities.as_deref())?;
        Ok(Self {
            certificate,
            key,
            client_authorities,
            loaded: Arc::new(RwLock::new(loaded)),
        })
    }

    /// Loads the files again. Connections keep the certificate with which they began.
    ///
    /// # Errors
    /// As [`load`](Self::load); the certificate stays as it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        let authorities = self.client_authorities.as_deref();
        let new = load(&self.certificate, &self.key, authorities)?;
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// The present states of the files.
    pub(crate) fn states(&self) -> Vec<Option<FileState>> {
        let authorities = self.client_authorities.as_deref();
        states(&self.certificate, &self.key, authorities)
    }

    /// The states of the files before they were last read.
    pub(crate) fn loaded(&self) -> Vec<Option<FileState>> {
        self.read().states.clone()
    }

    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.read().config)
    }

    fn read(&self) -> RwLockReadGuard<'_, Loaded> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsSettings")
            .field("certificate", &self.certificate)
            .field("client_authorities", &self.client_authorities)
            .finish_non_exhaustive()
    }
}

fn states(certificate: &Path, key: &Path, authorities: Option<&Path>) -> Vec<Option<FileState>> {
    let paths = [certificate, key].into_iter().chain(authorities);
    paths.map(FileState::of).collect()
}

fn load(certificate: &Path, key: &Path, authorities: Option<&Path>) -> Result<Loaded, TlsError> {
    let states = states(certificate, key, authorities);
    let config = Arc::new(config(certificate, key, authorities)?);
    Ok(Loaded { config, states })
}

fn config(
    certificate: &Path,
    key: &Path,
    authorities: Option<&Path>,
) -> Result<ServerConfig, TlsError> {
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?;
    jetsink::select_tls_provider();
    let builder = ServerConfig::builder();
    let builder = match authorities {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                roots.add(authority).map_err(|error| wrong(path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
                .allow_unauthenticated()
                .build()
                .map_err(|error| wrong(path, &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(chain, private)
        .map_err(|error| wrong(certificate, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|error| wrong(path, &error))?
        .collect();
    let found = found.map_err(|error| wrong(path, &error))?;
    if found.is_empty() {
        return Err(wrong(path, &"it has no certificate"));
    }
    Ok(found)
}

fn wrong(path: &Path, error: &dyn std::fmt::Display) -> TlsError {
    TlsError {
        path: path.to_owned(),
        reason: one_line(&error.to_string()),
    }
}

/// The names in a certificate's subject alternative name. Its common name is not one.
pub(crate) fn names(certificate: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = names.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(san::dns(name)),
            GeneralName::URI(name) => Some(san::uri(name)),
            GeneralName::RFC822Name(name) => Some(san::email(name)),
            GeneralName::IPAddress(bytes) => address(bytes).map(san::ip),
            _ => None,
        })
        .collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}
