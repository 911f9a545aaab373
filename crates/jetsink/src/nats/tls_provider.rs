//! The process's provider of TLS, by the features `ring`, `aws-lc-rs` and `fips`.

use std::fmt;
use std::sync::OnceLock;

use async_nats::rustls::crypto::CryptoProvider;
#[cfg(any(feature = "aws-lc-rs", feature = "fips"))]
use async_nats::rustls::crypto::aws_lc_rs::default_provider;
#[cfg(not(any(feature = "aws-lc-rs", feature = "fips")))]
use async_nats::rustls::crypto::ring::default_provider;

/// The name of the provider that the features select.
const NAME: &str = if cfg!(feature = "fips") {
    "aws-lc-rs with the FIPS module"
} else if cfg!(feature = "aws-lc-rs") {
    "aws-lc-rs"
} else {
    "ring"
};

/// The cryptography that the process uses for TLS. `Display` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsProvider {
    name: &'static str,
    is_fips: bool,
}

impl TlsProvider {
    /// Whether all its algorithms come from a FIPS module that is in its FIPS mode.
    #[must_use]
    pub fn is_fips(&self) -> bool {
        self.is_fips
    }
}

impl fmt::Display for TlsProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Sets the process's default provider of rustls, unless the application has set one before, and returns the provider
/// in use.
///
/// Each connection to a broker calls it first, so a program that is content with the features `ring`, `aws-lc-rs` and
/// `fips` never has to. The features of other crates have no effect on the choice: a program that contains two
/// providers works. If several of our features are enabled, `fips` precedes `aws-lc-rs`, which precedes `ring`.
///
/// ```
/// let provider = jetsink::select_tls_provider();
/// println!("TLS by {provider}, FIPS: {}", provider.is_fips());
/// ```
pub fn select_tls_provider() -> TlsProvider {
    static SELECTED: OnceLock<TlsProvider> = OnceLock::new();
    *SELECTED.get_or_init(|| TlsProvider {
        name: match default_provider().install_default() {
            Ok(()) => NAME,
            Err(_) => "a provider of the application",
        },
        is_fips: CryptoProvider::get_default().is_some_and(|provider| provider.fips()),
    })
}
