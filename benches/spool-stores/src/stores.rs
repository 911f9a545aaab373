//! The candidates, each behind [`crate::store::Store`].

pub(crate) mod file;
#[cfg(feature = "fjall")]
pub(crate) mod fjall;
#[cfg(feature = "redb")]
pub(crate) mod redb;
#[cfg(feature = "redb")]
mod redb_backends;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
