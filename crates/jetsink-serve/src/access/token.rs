//! Bearer tokens: made of 256 random bits, kept as their SHA-256.
//!
//! A slow hash would add nothing: such a token cannot be guessed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// Identifies a token for scanners of secrets.
const PREFIX: &str = "jst_";

pub(crate) type Hash = [u8; 32];

/// A new token. Its `Debug` hides the secret.
pub struct NewToken {
    secret: String,
}

impl NewToken {
    /// Makes a token of the system's random bytes.
    ///
    /// # Errors
    /// The system's error if it has no random bytes.
    pub fn random() -> Result<Self, std::io::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
        let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        Ok(Self { secret })
    }

    /// The token, for its sender only.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The entry for the file of credentials. `subjects` are patterns; no tenants means any.
    ///
    /// ```
    /// let token = jetsink_serve::NewToken::random()?;
    /// let entry = token.entry("ci", &["events.>".to_owned()], &[]);
    /// assert!(!entry.contains(token.secret()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn entry(&self, name: &str, subjects: &[String], tenants: &[String]) -> String {
        let hash = hash(self.secret.as_bytes());
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut entry = format!("[[token]]\nname = {}\nsha256 = \"{hash}\"\n", quoted(name));
        entry.push_str(&format!("subjects = {}\n", list(subjects)));
        if !tenants.is_empty() {
            entry.push_str(&format!("tenants = {}\n", list(tenants)));
        }
        entry
    }
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewToken").finish_non_exhaustive()
    }
}

/// A basic string of TOML. The escapes of JSON are also TOML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

pub(crate) fn hash(token: &[u8]) -> Hash {
    Sha256::digest(token).into()
}

pub(crate) fn parse_hash(text: &str) -> Option<Hash> {
    let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut hash = Hash::default();
    for (index, byte) in hash.iter_mut().enumerate() {
        let digits = text.get(index * 2..index * 2 + 2).filter(|_| is_hex)?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(hash)
}
