//! The end of a JWT, for the error of a refused login.

use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;

#[derive(Deserialize)]
struct Claims {
    /// Seconds since 1970; absent or 0 if it does not expire.
    #[serde(default)]
    exp: u64,
}

/// Returns the time at which the JWT of a credentials file expired; `None` if it is valid at `now` or can't be read.
pub(super) async fn expired_at(path: &Path, now: SystemTime) -> Option<Timestamp> {
    let text = tokio::fs::read_to_string(path).await.ok()?;
    let end = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(expiry(&text)?))?;
    (end <= now).then(|| Timestamp::try_from(end).ok())?
}

fn expiry(credentials: &str) -> Option<u64> {
    // A JWT begins with its header, which begins with `{"`.
    let jwt = credentials.lines().find(|line| line.starts_with("eyJ"))?;
    let claims = URL_SAFE_NO_PAD.decode(jwt.trim().split('.').nth(1)?).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    (claims.exp > 0).then_some(claims.exp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn expiry_is_read_from_the_claims() {
        let credentials = |claims: &str| {
            let [header, claims] = [r#"{"typ":"JWT"}"#, claims].map(|t| URL_SAFE_NO_PAD.encode(t));
            format!("-----BEGIN NATS USER JWT-----\n{header}.{claims}.x\n------END\n")
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("user.creds");
        std::fs::write(&path, credentials(r#"{"exp":1700000000}"#)).unwrap();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let expired = expired_at(&path, at(1_700_000_000)).await.unwrap();
        assert_eq!(expired.to_string(), "2023-11-14T22:13:20Z");
        assert_eq!(expired_at(&path, at(1_699_999_999)).await, None);
        let for_ever = credentials(&format!(r#"{{"exp":{}}}"#, u64::MAX));
        std::fs::write(&path, for_ever).unwrap();
        assert_eq!(expired_at(&path, at(1_700_000_000)).await, None);
        assert_eq!(expiry(&credentials("{}")), None);
        assert_eq!(expiry("no JWT"), None);
    }
}
