//! A private certificate authority, and certificates for a server and a client on loopback.

use std::path::PathBuf;
use std::sync::Arc;
#[cfg(feature = "certificates")]
use std::time::{SystemTime, UNIX_EPOCH};

#[cfg(feature = "certificates")]
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use tempfile::TempDir;

#[cfg(feature = "certificates")]
use crate::NatsLocalError;

/// PEM files in a temporary folder, which is removed with the last clone.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The authority's certificate.
    pub root: PathBuf,
    /// The server's certificate.
    pub server_certificate: PathBuf,
    /// The server's key.
    pub server_key: PathBuf,
    /// A client's certificate.
    pub client_certificate: PathBuf,
    /// The client's key.
    pub client_key: PathBuf,
    /// Whether the server requires a client certificate.
    pub verify_clients: bool,
    _folder: Arc<TempDir>,
}

/// Requires the feature `certificates`.
#[cfg(feature = "certificates")]
impl TlsFiles {
    /// Generates a certificate authority and its certificates.
    ///
    /// # Errors
    /// [`NatsLocalError`] if the files cannot be written.
    pub fn generate(verify_clients: bool) -> Result<Self, NatsLocalError> {
        Self::generate_for(&["127.0.0.1", "localhost"], None, verify_clients)
    }

    /// Generates one self-signed certificate for all: its own authority, the server's and the client's.
    /// `is_authority` marks it as an authority's (CA:TRUE), as `openssl req -x509` does by default.
    ///
    /// # Errors
    /// [`NatsLocalError`] if the files cannot be written.
    pub fn self_signed(is_authority: bool) -> Result<Self, NatsLocalError> {
        let folder = tempfile::tempdir().map_err(NatsLocalError::io("creating a folder"))?;
        let failed = || NatsLocalError::broker::<rcgen::Error>("making a certificate");
        let names = ["127.0.0.1", "localhost"].map(str::to_owned);
        let mut params = CertificateParams::new(names).map_err(failed())?;
        params.is_ca = match is_authority {
            true => IsCa::Ca(BasicConstraints::Unconstrained),
            false => IsCa::ExplicitNoCa,
        };
        let key = KeyPair::generate().map_err(failed())?;
        let certificate = params.self_signed(&key).map_err(failed())?;
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).map_err(NatsLocalError::io(format!("writing {name}")))?;
            Ok::<_, NatsLocalError>(path)
        };
        let certificate = write("certificate.pem", certificate.pem())?;
        let key = write("key.pem", key.serialize_pem())?;
        Ok(Self {
            root: certificate.clone(),
            server_certificate: certificate.clone(),
            server_key: key.clone(),
            client_certificate: certificate,
            client_key: key,
            verify_clients: false,
            _folder: Arc::new(folder),
        })
    }

    /// As [`generate`](Self::generate), with these names and this end in the server's certificate.
    ///
    /// # Errors
    /// [`NatsLocalError`] if the files cannot be written.
    pub fn generate_for(
        server_names: &[&str],
        ends: Option<SystemTime>,
        verify_clients: bool,
    ) -> Result<Self, NatsLocalError> {
        let folder = tempfile::tempdir().map_err(NatsLocalError::io("creating a folder"))?;
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).map_err(NatsLocalError::io(format!("writing {name}")))?;
            Ok::<_, NatsLocalError>(path)
        };
        let key = || KeyPair::generate().map_err(NatsLocalError::broker("making a key"));
        let failed = || NatsLocalError::broker::<rcgen::Error>("making a certificate");

        let root_key = key()?;
        let mut root = CertificateParams::new(Vec::new()).map_err(failed())?;
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_pem = root.self_signed(&root_key).map_err(failed())?.pem();
        let issuer = Issuer::new(root, root_key);

        let leaf = |usage| {
            let names: Vec<String> = server_names.iter().map(|&name| name.to_owned()).collect();
            let mut params = CertificateParams::new(names).map_err(failed())?;
            if let Some(since) = ends.and_then(|end| end.duration_since(UNIX_EPOCH).ok()) {
                params.not_after = date_time_ymd(1970, 1, 1) + since;
            }
            params.extended_key_usages = vec![usage];
            let leaf_key = key()?;
            let certificate = params.signed_by(&leaf_key, &issuer).map_err(failed())?;
            Ok::<_, NatsLocalError>((certificate.pem(), leaf_key.serialize_pem()))
        };
        let (server_certificate, server_key) = leaf(ExtendedKeyUsagePurpose::ServerAuth)?;
        let (client_certificate, client_key) = leaf(ExtendedKeyUsagePurpose::ClientAuth)?;
        Ok(Self {
            root: write("root.pem", root_pem)?,
            server_certificate: write("server.pem", server_certificate)?,
            server_key: write("server-key.pem", server_key)?,
            client_certificate: write("client.pem", client_certificate)?,
            client_key: write("client-key.pem", client_key)?,
            verify_clients,
            _folder: Arc::new(folder),
        })
    }
}
