//! Base64 by RFC 4648, section 4.

const ALPHABET: [bool; 256] = {
    let mut alphabet = [false; 256];
    let mut byte = 0;
    while byte < 128_u8 {
        alphabet[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
        byte += 1;
    }
    alphabet
};

/// Whether `text` is padded Base64 whose unused bits are zero, as section 3.5 wants them.
pub(crate) fn is_base64(text: &str) -> bool {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) {
        return false;
    }
    let (digits, unused) = match text {
        [digits @ .., b'=', b'='] => (digits, "AQgw"),
        [digits @ .., b'='] => (digits, "AEIMQUYcgkosw048"),
        digits => (digits, ""),
    };
    let all = digits
        .iter()
        .fold(true, |all, byte| all & ALPHABET[usize::from(*byte)]);
    let last = digits
        .last()
        .is_none_or(|last| unused.is_empty() || unused.as_bytes().contains(last));
    all && last && (unused.is_empty() || !digits.is_empty())
}
