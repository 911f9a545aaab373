//! Operator calls.

mod inspect;
pub(crate) mod query;
pub(crate) mod reader;
pub mod streams;
