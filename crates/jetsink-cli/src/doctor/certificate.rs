//! Checks the names and dates of a server's certificate. The login checks whether it is trusted, but
//! does not report dates or names; this handshake accepts any certificate and sends nothing over it.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use x509_parser::parse_x509_certificate;

use super::finding::ConnectionFinding;

/// The remaining lifetime, in seconds, below which a certificate is reported.
const SOON: i64 = 30 * 24 * 60 * 60;

/// Performs the TLS handshake over `stream` and judges the certificate.
pub(super) async fn look_at(stream: &mut TcpStream, host: &str) -> Vec<ConnectionFinding> {
    match shown(stream, host).await {
        Ok(certificate) => judge(&certificate, host, Timestamp::now().as_second()),
        Err(reason) => vec![ConnectionFinding::HandshakeFailed {
            host: host.to_owned(),
            reason,
        }],
    }
}

async fn shown(stream: &mut TcpStream, host: &str) -> Result<CertificateDer<'static>, String> {
    jetsink::select_tls_provider();
    let builder = ClientConfig::builder();
    let schemes = builder
        .crypto_provider()
        .signature_verification_algorithms
        .supported_schemes();
    let config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(LookOnly(schemes)))
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let connected = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await;
    let connected = connected.map_err(|error| error.to_string())?;
    let (_, session) = connected.get_ref();
    let shown = session.peer_certificates().and_then(|all| all.first());
    shown
        .map(|certificate| certificate.clone().into_owned())
        .ok_or_else(|| "it shows no certificate".to_owned())
}

fn judge(certificate: &CertificateDer<'_>, host: &str, now: i64) -> Vec<ConnectionFinding> {
    use ConnectionFinding as F;
    let name = || host.to_owned();
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else {
        return vec![F::CertificateUnreadable { host: name() }];
    };
    let mut found = Vec::new();
    let (from, until) = (
        parsed.validity().not_before.timestamp(),
        parsed.validity().not_after.timestamp(),
    );
    let day = |second: i64| match Timestamp::from_second(second) {
        Ok(time) => time.strftime("%Y-%m-%d").to_string(),
        Err(_) => "a time that no calendar has".to_owned(),
    };
    let (host, on) = (name(), day(until));
    if until < now {
        found.push(F::CertificateExpired { host, on });
    } else if until - now < SOON {
        found.push(F::CertificateExpiresSoon { host, on });
    }
    if now < from {
        found.push(F::CertificateNotYetValid {
            host: name(),
            from: day(from),
        });
    }
    if let Ok(Some(constraints)) = parsed.basic_constraints()
        && constraints.value.ca
    {
        found.push(F::CertificateOfAuthority { host: name() });
    }
    let names_host = match (
        ParsedCertificate::try_from(certificate),
        ServerName::try_from(name()),
    ) {
        (Ok(parsed), Ok(name)) => verify_server_name(&parsed, &name).is_ok(),
        _ => false,
    };
    if !names_host {
        found.push(F::CertificateForOtherNames { host: name() });
    }
    if found.is_empty() {
        found.push(F::CertificateFits {
            host: name(),
            until: day(until),
        });
    }
    found
}

#[derive(Debug)]
struct LookOnly(Vec<SignatureScheme>);

impl ServerCertVerifier for LookOnly {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
