//! A dead letter: an event that the broker refused for good, and why.

use bytes::{Buf as _, BufMut as _};

use super::record::{Damage, Record, sealed, unsealed};

/// An event that was refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeadLetter {
    pub(crate) record: Record,
    /// The server's code, or 0 where it was refused before it was sent.
    pub(crate) code: u64,
    /// Milliseconds since the Unix epoch.
    pub(crate) died_at: u64,
    /// One line.
    pub(crate) reason: String,
}

impl DeadLetter {
    /// `crc32 │ code │ died at │ length of the reason │ reason │ record`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_u32_le(0);
        bytes.put_u64_le(self.code);
        bytes.put_u64_le(self.died_at);
        bytes.put_u32_le(u32::try_from(self.reason.len()).unwrap_or(u32::MAX));
        bytes.extend_from_slice(self.reason.as_bytes());
        bytes.extend_from_slice(&self.record.encode());
        sealed(bytes)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let mut rest = unsealed(bytes)?;
        let code = rest.try_get_u64_le().map_err(|_| Damage::Fields)?;
        let died_at = rest.try_get_u64_le().map_err(|_| Damage::Fields)?;
        let length = rest.try_get_u32_le().map_err(|_| Damage::Fields)? as usize;
        let (reason, record) = rest.split_at_checked(length).ok_or(Damage::Fields)?;
        Ok(Self {
            record: Record::decode(record)?,
            code,
            died_at,
            reason: String::from_utf8_lossy(reason).into_owned(),
        })
    }
}
