//! Takes requests in: places, and bodies within one budget of bytes.

pub(crate) mod body;
pub(crate) mod shares;
