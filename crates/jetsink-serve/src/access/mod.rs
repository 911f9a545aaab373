//! Credentials of senders, with the subjects and tenants of each.

mod append;
pub(crate) mod file;
mod grant;
pub(crate) mod host;
pub(crate) mod san;
pub(crate) mod token;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

pub use file::AccessError;
pub(crate) use grant::{Grant, TenantChoice};

use crate::answer::problem::{Problem, ProblemKind};
use crate::file_state::FileState;
use crate::listen::Client;
use file::Table;

/// Which senders the gateway accepts.
///
/// Cloning shares the credentials, so that [`reload`](Self::reload) reaches each clone.
#[derive(Clone)]
pub struct Access {
    file: Option<Arc<AccessFile>>,
    anonymous: bool,
}

/// A file of credentials, as it was read last.
struct AccessFile {
    path: PathBuf,
    /// Counts all senders without a credential together. No credential has an empty name.
    anonymous: Arc<str>,
    table: RwLock<Arc<Table>>,
    /// Taken before that read.
    state: Mutex<Option<FileState>>,
}

/// The sender of one request.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// No credential, and none is needed. If other senders have credentials, all senders without one have one share.
    Anonymous { share: Option<Arc<str>> },
    /// A credential.
    Known(Arc<Grant>),
}

impl Access {
    /// Accepts every sender, for any subject and tenant.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            file: None,
            anonymous: true,
        }
    }

    /// Accepts the senders of a file of credentials; `docs/serve/README.md` describes it.
    ///
    /// # Errors
    /// [`AccessError`] if the file cannot be read, is writable by others, or has an invalid entry.
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Self, AccessError> {
        let path = path.into();
        let state = FileState::of(&path);
        let table = Table::read(&path)?;
        let file = AccessFile {
            path,
            anonymous: "".into(),
            table: RwLock::new(Arc::new(table)),
            state: Mutex::new(state),
        };
        Ok(Self {
            file: Some(Arc::new(file)),
            anonymous: false,
        })
    }

    /// Sets whether senders without a credential are accepted as well, for any subject and tenant. Default: not with a file.
    #[must_use]
    pub fn allow_anonymous(mut self, allow: bool) -> Self {
        self.anonymous = allow;
        self
    }

    /// Whether each sender needs a credential.
    #[must_use]
    pub fn is_required(&self) -> bool {
        !self.anonymous
    }

    /// The file of credentials.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| &*file.path)
    }

    /// Reads the file again. Requests in flight keep their credential.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file); the credentials stay as they were.
    pub fn reload(&self) -> Result<(), AccessError> {
        if let Some(file) = &self.file {
            let state = FileState::of(&file.path);
            let new = Arc::new(Table::read(&file.path)?);
            *file.table.write().unwrap_or_else(PoisonError::into_inner) = new;
            *file.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        }
        Ok(())
    }

    /// The state of the file before it was last read; `None` without a file.
    pub(crate) fn loaded(&self) -> Option<Option<FileState>> {
        let file = self.file.as_ref()?;
        Some(*file.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Identifies the sender. A presented token decides: a request with an unknown one is refused even if its
    /// connection has another credential.
    pub(crate) fn caller(&self, headers: &HeaderMap, client: &Client) -> Result<Caller, Problem> {
        let Some(file) = &self.file else {
            return Ok(Caller::Anonymous { share: None });
        };
        let table = Arc::clone(&file.table.read().unwrap_or_else(PoisonError::into_inner));
        let mut values = headers.get_all(AUTHORIZATION).iter();
        if let Some(value) = values.next() {
            if values.next().is_some() {
                return Err(Problem::new(
                    ProblemKind::Unauthenticated,
                    "there are several Authorization headers; send one",
                ));
            }
            let token = bearer(value.as_bytes()).ok_or_else(|| {
                Problem::new(
                    ProblemKind::Unauthenticated,
                    "the Authorization header has no bearer token; send `Authorization: Bearer TOKEN`",
                )
            })?;
            let grant = table.by_token(token);
            return grant.map(Caller::Known).ok_or_else(|| {
                Problem::new(
                    ProblemKind::Unauthenticated,
                    "the bearer token is not known",
                )
            });
        }
        let by_connection = client
            .names
            .iter()
            .find_map(|name| table.by_certificate(name))
            .or_else(|| client.uid.and_then(|uid| table.by_user(uid)));
        match by_connection {
            Some(grant) => Ok(Caller::Known(grant)),
            None if self.anonymous => Ok(Caller::Anonymous {
                share: Some(Arc::clone(&file.anonymous)),
            }),
            None => Err(Problem::new(
                ProblemKind::Unauthenticated,
                "send a token as `Authorization: Bearer`, or a client certificate",
            )),
        }
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("path", &self.path())
            .field("anonymous", &self.anonymous)
            .finish_non_exhaustive()
    }
}

/// The token of an `Authorization` header. The scheme has no case (RFC 9110, section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests;
