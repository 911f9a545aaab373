//! The keys by which events are compared. Pure.

use sha2::{Digest as _, Sha256};

/// The first half of a SHA-256: no two of ten million lines share it. In pieces, so that an index entry
/// has no padding.
pub(super) type Hash = [u32; 4];

pub(super) fn hash(bytes: &[u8]) -> Hash {
    let digest = Sha256::digest(bytes);
    let mut hash = [0; 4];
    for (piece, bytes) in hash.iter_mut().zip(digest.chunks(4)) {
        *piece = bytes
            .iter()
            .fold(0, |all, byte| (all << 8) | u32::from(*byte));
    }
    hash
}

/// The identity of an event: half a hash, since a false match only reports a loss as an altered event.
pub(super) type IdentityHash = [u32; 2];

pub(super) fn identity(source: &str, id: &str) -> IdentityHash {
    let mut bytes = Vec::with_capacity(source.len() + id.len() + 1);
    bytes.extend_from_slice(source.as_bytes());
    // Usually in neither. If one contains it, two events may share an identity.
    bytes.push(0);
    bytes.extend_from_slice(id.as_bytes());
    let [first, second, ..] = hash(&bytes);
    [first, second]
}
