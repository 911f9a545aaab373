//! Randomness from the client's own generator of names.

/// Returns a random byte.
pub(crate) fn random_byte() -> u8 {
    nuid::next().as_bytes().last().copied().unwrap_or_default()
}
