//! Answers: problems, receipts, and the table from the engine's outcomes to them. Pure.

pub(crate) mod outcome;
pub(crate) mod problem;
pub(crate) mod receipt;
