//! TLS: certificate, key, the authorities of clients, and the names of a client's certificate.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Why TLS cannot be served. It names the file.
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
    config: Arc<RwLock<Arc<ServerConfig>>>,
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
        let config = config(&certificate, &key, client_authorities.as_deref())?;
        Ok(Self {
            certificate,
            key,
            client_authorities,
            config: Arc::new(RwLock::new(Arc::new(config))),
        })
    }

    /// Loads the files again. Connections keep the certificate with which they began.
    ///
    /// # Errors
    /// As [`load`](Self::load); the certificate stays as it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = config(
            &self.certificate,
            &self.key,
            self.client_authorities.as_deref(),
        )?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(())
    }

    /// The files, for a watch on their changes.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let authorities = self.client_authorities.as_deref();
        [&*self.certificate, &*self.key]
            .into_iter()
            .chain(authorities)
    }

    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
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
        reason: error.to_string().escape_debug().to_string(),
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
            GeneralName::DNSName(name) => Some(format!("dns:{name}")),
            GeneralName::URI(name) => Some(format!("uri:{name}")),
            GeneralName::RFC822Name(name) => Some(format!("email:{name}")),
            GeneralName::IPAddress(bytes) => address(bytes).map(|address| format!("ip:{address}")),
            _ => None,
        })
        .collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}
