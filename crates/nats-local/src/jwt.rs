//! An operator, an account with JetStream and its users: JWTs as `nsc` makes them.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::NatsLocalError;

/// Keys and names of one operator and one account.
pub struct JwtAccount {
    operator: KeyPair,
    account: KeyPair,
    system: KeyPair,
}

/// A user of a [`JwtAccount`].
#[derive(Debug, Clone)]
pub struct JwtUser {
    /// The text of a credentials file.
    pub credentials: String,
    /// The public key (`U…`), by which the account revokes the user.
    pub public_key: String,
}

impl JwtAccount {
    /// Generates new keys.
    #[must_use]
    pub fn generate() -> Self {
        Self {
            operator: KeyPair::new_operator(),
            account: KeyPair::new_account(),
            system: KeyPair::new_account(),
        }
    }

    /// Returns lines for the server's configuration: the trusted operator, and the account with these
    /// users revoked.
    ///
    /// # Errors
    /// [`NatsLocalError::Broker`] if signing fails.
    pub fn server_config(&self, revoked: &[&JwtUser]) -> Result<String, NatsLocalError> {
        let revocations: serde_json::Map<String, Value> = revoked
            .iter()
            .map(|user| (user.public_key.clone(), json!(now())))
            .collect();
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
            "conn": -1, "leaf": -1,
            "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
        });
        let system_account = self.system.public_key();
        let operator = json!({
            "type": "operator", "version": 2, "system_account": system_account,
        });
        let operator = token(&self.operator, &self.operator.public_key(), "op", operator)?;
        let account = json!({
            "type": "account", "version": 2, "limits": limits, "revocations": revocations,
        });
        let account = token(&self.operator, &self.account.public_key(), "app", account)?;
        let system = json!({ "type": "account", "version": 2, "limits": { "conn": -1, "subs": -1, "data": -1, "payload": -1 } });
        let system = token(&self.operator, &system_account, "sys", system)?;
        Ok(format!(
            "operator: {operator}\nresolver: MEMORY\nresolver_preload: {{ {}: {account}, {system_account}: {system} }}",
            self.account.public_key(),
        ))
    }

    /// Creates a user of the account.
    ///
    /// # Errors
    /// [`NatsLocalError::Broker`] if signing fails.
    pub fn user(&self, name: &str) -> Result<JwtUser, NatsLocalError> {
        self.user_with_max_payload(name, -1)
    }

    /// Creates a user of the account whose messages have at most this many bytes; -1 for no limit.
    ///
    /// # Errors
    /// [`NatsLocalError::Broker`] if signing fails.
    pub fn user_with_max_payload(&self, name: &str, bytes: i64) -> Result<JwtUser, NatsLocalError> {
        self.user_with(name, bytes, None)
    }

    /// Creates a user of the account whose login expires at this time.
    ///
    /// # Errors
    /// [`NatsLocalError::Broker`] if signing fails.
    pub fn user_until(&self, name: &str, end: SystemTime) -> Result<JwtUser, NatsLocalError> {
        self.user_with(name, -1, Some(seconds(end)))
    }

    fn user_with(
        &self,
        name: &str,
        bytes: i64,
        end: Option<u64>,
    ) -> Result<JwtUser, NatsLocalError> {
        let user = KeyPair::new_user();
        let claims = json!({
            "type": "user", "version": 2, "subs": -1, "data": -1, "payload": bytes,
        });
        let jwt = token_until(&self.account, &user.public_key(), name, claims, end)?;
        let seed = user
            .seed()
            .map_err(NatsLocalError::broker("a user's seed"))?;
        Ok(JwtUser {
            credentials: format!(
                "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
                 -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
            ),
            public_key: user.public_key(),
        })
    }
}

fn now() -> u64 {
    seconds(SystemTime::now())
}

fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn token(
    issuer: &KeyPair,
    subject: &str,
    name: &str,
    claims: Value,
) -> Result<String, NatsLocalError> {
    token_until(issuer, subject, name, claims, None)
}

/// `end` in seconds since 1970; `None` for a token that does not expire.
fn token_until(
    issuer: &KeyPair,
    subject: &str,
    name: &str,
    claims: Value,
    end: Option<u64>,
) -> Result<String, NatsLocalError> {
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = encoded(&json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let body = encoded(&json!({
        "jti": format!("local-{name}"),
        "iat": now() - 60,
        "exp": end.unwrap_or(0),
        "iss": issuer.public_key(),
        "name": name,
        "sub": subject,
        "nats": claims,
    }));
    let signed = format!("{header}.{body}");
    let signature = issuer.sign(signed.as_bytes());
    let signature = signature.map_err(NatsLocalError::broker("signing a JWT"))?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

impl std::fmt::Debug for JwtAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtAccount")
            .field("account", &self.account.public_key())
            .finish_non_exhaustive()
    }
}
