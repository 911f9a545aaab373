//! TLS for servers whose certificate has another name than the address that is dialled.

use std::path::Path;
use std::sync::Arc;

use async_nats::rustls::client::WebPkiServerVerifier;
use async_nats::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use async_nats::rustls::pki_types::pem::PemObject as _;
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use async_nats::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::{ConnectCause, ConnectError, ConnectSettings, error::file_error};

/// Returns a configuration that accepts a certificate for the dialled address or for one of `names`, with the
/// trust and the client certificate of the settings.
pub(super) async fn client_config(
    settings: &ConnectSettings,
    names: &[String],
) -> Result<ClientConfig, ConnectError> {
    let (settings, names) = (settings.clone(), names.to_vec());
    // It reads files.
    let built = tokio::task::spawn_blocking(move || build(&settings, &names));
    built.await.unwrap_or_else(|error| {
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
    let Some((certificate, key)) = &settings.client_certificate else {
        return Ok(builder.with_no_client_auth());
    };
    let certificates = certificates("client certificate", certificate)?;
    let key =
        PrivateKeyDer::from_pem_file(key).map_err(|error| file_error("client key", key, &error))?;
    builder
        .with_client_auth_cert(certificates, key)
        .map_err(|error| failed(format!("client certificate: {error}")))
}

fn roots(settings: &ConnectSettings) -> Result<RootCertStore, ConnectError> {
    let mut roots = RootCertStore::empty();
    match &settings.root_certificates {
        Some(path) => {
            const WHAT: &str = "root certificates";
            for certificate in certificates(WHAT, path)? {
                let added = roots.add(certificate);
                added.map_err(|error| file_error(WHAT, path, &error))?;
            }
        }
        None => {
            let native = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(native.certs);
        }
    }
    Ok(roots)
}

fn certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    certificates.map_err(|error| file_error(what, path, &error))
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
