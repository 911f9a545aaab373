//! Randomness from the operating system, for each value anew: processes that share a memory image, after a fork or a
//! restored snapshot of a machine, get different values.

use std::hash::{BuildHasher as _, RandomState};
use std::time::SystemTime;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// 22 digits have 130 bits.
const ID_LEN: usize = 22;

/// Returns a random byte.
pub(crate) fn random_byte() -> u8 {
    let [byte] = random_bytes();
    byte
}

/// Returns a random number.
pub(crate) fn random_number() -> u64 {
    u64::from_le_bytes(random_bytes())
}

/// Returns a random token of a subject or a message id, with about 130 bits.
pub(crate) fn random_id() -> String {
    let bytes: [u8; ID_LEN] = random_bytes();
    let digits = bytes.map(|byte| DIGITS[usize::from(byte) % DIGITS.len()]);
    digits.map(char::from).into_iter().collect()
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        // No supported system fails here. A process id and the time still tell processes apart.
        let keys = RandomState::new();
        for (index, byte) in bytes.iter_mut().enumerate() {
            let seed = (index, std::process::id(), SystemTime::now());
            *byte = keys.hash_one(seed) as u8;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_fit_into_subjects_and_headers() {
        let ids: std::collections::HashSet<String> = (0..1_000).map(|_| random_id()).collect();
        assert_eq!(ids.len(), 1_000);
        for id in ids {
            assert_eq!(id.len(), ID_LEN);
            assert!(crate::Subject::new(&*id).is_ok(), "{id}");
        }
    }
}
