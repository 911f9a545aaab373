//! Our features select the provider of TLS, with any features of other crates. The tests of a build contain ring in
//! any case, by nats-local: with another provider the program has two, and rustls alone would panic.

use jetsink::select_tls_provider;

#[test]
fn features_select_the_provider() {
    let provider = select_tls_provider();
    let expected = if cfg!(feature = "fips") {
        "aws-lc-rs with the FIPS module"
    } else if cfg!(feature = "aws-lc-rs") {
        "aws-lc-rs"
    } else {
        "ring"
    };
    assert_eq!(provider.to_string(), expected);
    assert_eq!(provider.is_fips(), cfg!(feature = "fips"));
    assert_eq!(select_tls_provider(), provider);
    // Without a selection this panics in a program with two providers.
    let builder = async_nats::rustls::ClientConfig::builder();
    assert_eq!(builder.crypto_provider().fips(), cfg!(feature = "fips"));
}
