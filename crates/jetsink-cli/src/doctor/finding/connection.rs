//! Addresses, certificates, the login and the clock.

use std::time::Duration;

use super::Finding;

const RENEW: &str =
    "renew the server's certificate, and reload the server (nats-server --signal reload)";

#[derive(Debug, Clone, PartialEq)]
pub(in crate::doctor) enum ConnectionFinding {
    Reached {
        place: String,
    },
    IsNats {
        place: String,
        version: String,
    },
    NameUnresolved {
        host: String,
        error: String,
    },
    Refused {
        place: String,
        error: String,
    },
    Silent {
        place: String,
        after: Duration,
    },
    NotNats {
        place: String,
    },
    HandshakeFailed {
        host: String,
        reason: String,
    },
    CertificateFits {
        host: String,
        until: String,
    },
    CertificateUnreadable {
        host: String,
    },
    CertificateExpired {
        host: String,
        on: String,
    },
    CertificateExpiresSoon {
        host: String,
        on: String,
    },
    CertificateNotYetValid {
        host: String,
        from: String,
    },
    CertificateForOtherNames {
        host: String,
    },
    /// Marked as an authority's. Clients based on webpki, as this one, accept none from a server.
    CertificateOfAuthority {
        host: String,
    },
    LoginAccepted,
    UntrustedAuthority {
        reason: String,
    },
    ClientCertificateRequired {
        reason: String,
    },
    LoginRefused {
        reason: String,
    },
    NoConnection {
        reason: String,
    },
    /// The seconds by which this host's clock is ahead; negative if it is behind.
    ClockSkew {
        seconds: f64,
    },
}

impl From<ConnectionFinding> for Finding {
    fn from(finding: ConnectionFinding) -> Self {
        use ConnectionFinding as F;
        match finding {
            F::Reached { place } => {
                Self::ok("address.reached", format!("{place} accepts connections"))
            }
            F::IsNats { place, version } => Self::ok(
                "address.reached",
                format!("{place} is nats-server {version}"),
            ),
            F::NameUnresolved { host, error } => Self::problem(
                "address.unresolved",
                format!("the name {host} has no address: {error}"),
                "correct the name, or check /etc/hosts and the resolver",
            ),
            F::Refused { place, error } => Self::problem(
                "address.refused",
                format!("{place} accepts no connection: {error}"),
                "start the server, or correct the port",
            ),
            F::Silent { place, after } => Self::problem(
                "address.silent",
                format!("{place} does not answer within {after:?}"),
                "check firewalls and routes, and whether the server's process hangs",
            ),
            F::NotNats { place } => Self::problem(
                "address.no-nats",
                format!("{place} does not answer as a NATS server"),
                "correct the address; a server with handshake_first needs --tlsfirst; restart a frozen server",
            ),
            F::HandshakeFailed { host, reason } => Self::problem(
                "tls.handshake",
                format!("the TLS handshake with {host} fails: {reason}"),
                "check the server's tls block and its log",
            ),
            F::CertificateFits { host, until } => Self::ok(
                "tls.certificate",
                format!("the certificate of {host} names it and is valid until {until}"),
            ),
            F::CertificateUnreadable { host } => Self::problem(
                "tls.unreadable",
                format!("the certificate of {host} can't be read"),
                RENEW,
            ),
            F::CertificateExpired { host, on } => Self::problem(
                "tls.expired",
                format!("the certificate of {host} expired on {on}"),
                RENEW,
            ),
            F::CertificateExpiresSoon { host, on } => Self::warning(
                "tls.expires-soon",
                format!("the certificate of {host} expires on {on}"),
                RENEW,
            ),
            F::CertificateNotYetValid { host, from } => Self::problem(
                "tls.not-yet-valid",
                format!("the certificate of {host} is not valid before {from}"),
                "check the clocks of this host and of the server",
            ),
            F::CertificateForOtherNames { host } => Self::problem(
                "tls.name",
                format!("the certificate of {host} is for other names"),
                format!(
                    "connect by a name in the certificate, or issue one with {host} among its subjectAltNames"
                ),
            ),
            F::CertificateOfAuthority { host } => Self::problem(
                "tls.authority",
                format!(
                    "the certificate of {host} is one of an authority (CA:TRUE), which can't be a server's own"
                ),
                "issue the server a certificate with CA:FALSE (openssl req -x509: -addext \
                 basicConstraints=critical,CA:FALSE), and name it or its authority: --tlsca FILE",
            ),
            F::LoginAccepted => Self::ok("login", "the server accepts the login"),
            F::UntrustedAuthority { reason } => Self::problem(
                "tls.untrusted",
                reason,
                "name the authority's certificate: --tlsca FILE, or NATS_CA",
            ),
            F::ClientCertificateRequired { reason } => Self::problem(
                "tls.client-certificate",
                reason,
                "present a client certificate: --tlscert FILE --tlskey FILE",
            ),
            F::LoginRefused { reason } => Self::problem(
                "login.refused",
                reason,
                "compare user and password, token, --creds or --nkey with the server's configuration",
            ),
            F::NoConnection { reason } => {
                Self::problem("connect.failed", reason, "read the server's log")
            }
            F::ClockSkew { seconds } => {
                let direction = if seconds > 0.0 { "ahead of" } else { "behind" };
                let seconds = seconds.abs();
                Self::warning(
                    "clock.skew",
                    format!("this host's clock is {seconds:.1} s {direction} the server's"),
                    "run a time service (chrony, systemd-timesyncd) on both",
                )
            }
        }
    }
}
