//! URIs by RFC 3986.

use iri_string::spec::UriSpec;
use iri_string::validate;

/// Whether `text` is a `URI-reference` (section 4.1).
pub(super) fn is_reference(text: &str) -> bool {
    // A path of these is a reference whatever their order, also where it begins with `//`.
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/');
    text.bytes().all(is_plain) || validate::iri_reference::<UriSpec>(text).is_ok()
}

/// Whether `text` is an `absolute-URI` (section 4.3): with a scheme, without a fragment.
pub(super) fn is_absolute(text: &str) -> bool {
    validate::absolute_iri::<UriSpec>(text).is_ok()
}
