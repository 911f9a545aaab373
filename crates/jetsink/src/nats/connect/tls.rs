//! The TLS files of the settings, and TLS for servers whose certificate has another name than the address that is dialled.

use std::path::Path;
use std::sync::Arc;

use async_nats::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use async_nats::rustls::client::{WantsClientCert, WebPkiServerVerifier};
use async_nats::rustls::pki_types::pem::{self, PemObject as _};
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use async_nats::rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, InconsistentKeys,
    RootCertStore, SignatureScheme,
};

use super::{ConnectCause, ConnectError, ConnectSettings, error::file_error};

/// The client's own text is about the certificate of the other side.
const UNREADABLE: &str = "a certificate in it can't be decoded";

/// Returns a configuration that accepts a certificate for the dialled address or for one of `names`, with the
/// trust and the client certificate of the settings.
pub(super) async fn client_config(
    settings: &ConnectSettings,
    names: &[String],
) -> Result<ClientConfig, ConnectError> {
    let names = names.to_vec();
    reading_files(settings, move |settings| build(settings, &names)).await
}

/// Checks that the TLS files of the settings can be used. The client takes a file without a certificate for an empty
/// list of authorities, and its errors do not name the file.
///
/// # Errors
/// [`ConnectError::File`] for the first file that can't be used.
pub(super) async fn check_files(settings: &ConnectSettings) -> Result<(), ConnectError> {
    reading_files(settings, |settings| {
        let roots = match &settings.root_certificates {
            Some(path) => roots_of(path)?,
            None => RootCertStore::empty(),
        };
        let builder = ClientConfig::builder().with_root_certificates(roots);
        with_client_certificate(builder, settings).map(drop)
    })
    .await
}

async fn reading_files<T: Send + 'static>(
    settings: &ConnectSettings,
    read: impl FnOnce(&ConnectSettings) -> Result<T, ConnectError> + Send + 'static,
) -> Result<T, ConnectError> {
    let settings = settings.clone();
    let read = tokio::task::spawn_blocking(move || read(&settings));
    read.await.unwrap_or_else(|error| {
        Err(ConnectError::Setting {
            what: "TLS",
            reason: error.to_string(),
        })
    })
}

fn build(settings: &ConnectSettings, names: &[String]) -> Result<ClientConfig, ConnectError> {
    let failed = |reason: String| settings.refused(ConnectCause::Other, reason);
    let roots = Arc::new(roots(settings)?);
    let verifier = WebPkiServerVerifier::builder(roots)
        .build()
        .map_err(|error| failed(format!("TLS: {error}")))?;
    let names = names
        .iter()
        .filter_map(|name| ServerName::try_from(name.clone()).ok());
    let verifier = AnyName {
        verifier,
        names: names.collect(),
    };
    let builder = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    with_client_certificate(builder, settings)
}

fn with_client_certificate(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    settings: &ConnectSettings,
) -> Result<ClientConfig, ConnectError> {
    const CERTIFICATE: &str = "client certificate";
    const KEY: &str = "client key";
    let Some((certificate, key)) = &settings.client_certificate else {
        return Ok(builder.with_no_client_auth());
    };
    let certificates = certificates(CERTIFICATE, certificate)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
        let reason = pem_reason(&error, "unencrypted private key");
        file_error(KEY, key, &reason)
    })?;
    let built = builder.with_client_auth_cert(certificates, private);
    built.map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            let certificate = certificate.display();
            file_error(KEY, key, &format!("it is not the key of {certificate}"))
        }
        Error::InvalidCertificate(_) => file_error(CERTIFICATE, certificate, &UNREADABLE),
        _ => file_error(KEY, key, &error),
    })
}

fn roots(settings: &ConnectSettings) -> Result<RootCertStore, ConnectError> {
    match &settings.root_certificates {
        Some(path) => roots_of(path),
        None => {
            let mut roots = RootCertStore::empty();
            let native = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(native.certs);
            Ok(roots)
        }
    }
}

fn roots_of(path: &Path) -> Result<RootCertStore, ConnectError> {
    const WHAT: &str = "root certificates";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(WHAT, path)? {
        let added = roots.add(certificate);
        added.map_err(|_| file_error(WHAT, path, &UNREADABLE))?;
    }
    Ok(roots)
}

fn certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let reason = match read {
        Ok(certificates) if !certificates.is_empty() => return Ok(certificates),
        Ok(_) => pem_reason(&pem::Error::NoItemsFound, "certificate"),
        Err(error) => pem_reason(&error, "certificate"),
    };
    Err(file_error(what, path, &reason))
}

fn pem_reason(error: &pem::Error, content: &str) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => format!("it contains no {content} in PEM format"),
        // Their texts may quote the file.
        _ => format!("it contains no complete {content} in PEM format; it may be cut off"),
    }
}

/// Verifies a certificate as usual, with several names for the server.
#[derive(Debug)]
struct AnyName {
    verifier: Arc<WebPkiServerVerifier>,
    names: Vec<ServerName<'static>>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |name: &ServerName<'_>| {
            self.verifier
                .verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
        };
        let mut result = verify(server_name);
        for name in &self.names {
            match result {
                Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. },
                )) => result = verify(name),
                Ok(_) | Err(_) => break,
            }
        }
        result
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
