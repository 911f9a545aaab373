//! The file of credentials: TOML, with tokens by their hash, certificates by their name, and users by their id.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jetsink::{SubjectError, SubjectPattern, check_tenant_id};
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use super::grant::Grant;
use super::san;
use super::token::{self, Hash};
use crate::one_line::{MAX_TEXT, one_line};

/// The error of a file of credentials that can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// It cannot be read, or not be written.
    #[error("{}: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// Users other than its owner can write to it, and so add credentials.
    #[error("{} is writable by other users; run chmod go-w on it", .path.display())]
    Writable {
        /// The file.
        path: PathBuf,
    },
    /// It is not TOML of credentials.
    #[error("{}: {reason}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The problem, in one line.
        reason: String,
    },
    /// An entry is invalid.
    #[error("{}: credential {name:?}: {reason}", .path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The credential's name.
        name: String,
        /// The problem.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<TokenEntry>,
    #[serde(default)]
    certificate: Vec<CertificateEntry>,
    #[serde(default)]
    user: Vec<UserEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenEntry {
    name: String,
    sha256: String,
    subjects: Vec<String>,
    #[serde(default)]
    tenants: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateEntry {
    name: String,
    san: String,
    subjects: Vec<String>,
    #[serde(default)]
    tenants: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserEntry {
    name: String,
    uid: u32,
    subjects: Vec<String>,
    #[serde(default)]
    tenants: Vec<String>,
}

/// The credentials of a file.
#[derive(Default)]
pub(crate) struct Table {
    tokens: Vec<(Hash, Arc<Grant>)>,
    certificates: HashMap<String, Arc<Grant>>,
    users: HashMap<u32, Arc<Grant>>,
}

impl Table {
    pub(crate) fn read(path: &Path) -> Result<Self, AccessError> {
        let failed = |error| AccessError::Read {
            path: path.to_owned(),
            error,
        };
        let file = std::fs::File::open(path).map_err(failed)?;
        check_mode(path, &file.metadata().map_err(failed)?)?;
        let text = std::io::read_to_string(file).map_err(failed)?;
        Self::parse(path, &text)
    }

    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, AccessError> {
        let file: File = toml::from_str(text).map_err(|error| AccessError::Format {
            path: path.to_owned(),
            reason: match error.span().and_then(|span| text.get(..span.start)) {
                Some(before) => {
                    let line = before.matches('\n').count() + 1;
                    format!("line {line}: {}", one_line(error.message()))
                }
                None => one_line(error.message()),
            },
        })?;
        let mut names = std::collections::HashSet::new();
        let mut table = Self::default();
        let wrong = |name: &str, reason: &str| AccessError::Entry {
            path: path.to_owned(),
            name: name.chars().take(MAX_TEXT).collect(),
            reason: one_line(reason),
        };
        let mut grant = |name: String, subjects: Vec<String>, tenants: Vec<String>| {
            let checked = checked_grant(&name, subjects, tenants);
            let checked = checked.map_err(|reason| wrong(&name, &reason))?;
            if !names.insert(name.clone()) {
                return Err(wrong(&name, "the name appears twice"));
            }
            Ok(Arc::new(checked))
        };
        for entry in file.token {
            let hash = token::parse_hash(&entry.sha256);
            let hash =
                hash.ok_or_else(|| wrong(&entry.name, "sha256 must be 64 hexadecimal digits"))?;
            if table.tokens.iter().any(|(other, _)| *other == hash) {
                return Err(wrong(&entry.name, "the token appears twice"));
            }
            let grant = grant(entry.name, entry.subjects, entry.tenants)?;
            table.tokens.push((hash, grant));
        }
        for entry in file.certificate {
            let san = san::parse(&entry.san).map_err(|reason| wrong(&entry.name, reason))?;
            if table.certificates.contains_key(&san) {
                return Err(wrong(&entry.name, "the san appears twice"));
            }
            let grant = grant(entry.name, entry.subjects, entry.tenants)?;
            table.certificates.insert(san, grant);
        }
        for entry in file.user {
            if table.users.contains_key(&entry.uid) {
                return Err(wrong(&entry.name, "the uid appears twice"));
            }
            let grant = grant(entry.name, entry.subjects, entry.tenants)?;
            table.users.insert(entry.uid, grant);
        }
        Ok(table)
    }

    /// Compares with each token, so that the time depends on none of them.
    pub(crate) fn by_token(&self, token: &[u8]) -> Option<Arc<Grant>> {
        let hash = token::hash(token);
        let mut found = None;
        for (expected, grant) in &self.tokens {
            if bool::from(hash.ct_eq(expected)) {
                found = Some(Arc::clone(grant));
            }
        }
        found
    }

    pub(crate) fn by_certificate(&self, name: &str) -> Option<Arc<Grant>> {
        self.certificates.get(name).cloned()
    }

    pub(crate) fn by_user(&self, uid: u32) -> Option<Arc<Grant>> {
        self.users.get(&uid).cloned()
    }
}

fn checked_grant(name: &str, subjects: Vec<String>, tenants: Vec<String>) -> Result<Grant, String> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err("name must not be empty or have control characters".to_owned());
    }
    if subjects.is_empty() {
        return Err("subjects must not be empty; [\">\"] allows any".to_owned());
    }
    let subjects: Result<Vec<SubjectPattern>, SubjectError> =
        subjects.into_iter().map(SubjectPattern::new).collect();
    for tenant in &tenants {
        check_tenant_id(tenant).map_err(|error| format!("tenants: {error}"))?;
    }
    Ok(Grant {
        name: name.into(),
        subjects: subjects.map_err(|error| format!("subjects: {error}"))?,
        tenants,
    })
}

/// `metadata` is that of the opened file: another one may be at `path` by now.
pub(super) fn check_mode(path: &Path, metadata: &std::fs::Metadata) -> Result<(), AccessError> {
    use std::os::unix::fs::PermissionsExt as _;
    if metadata.permissions().mode() & 0o022 != 0 {
        return Err(AccessError::Writable {
            path: path.to_owned(),
        });
    }
    Ok(())
}
