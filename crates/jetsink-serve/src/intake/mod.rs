//! Takes requests in: their heads, places, and bodies within one budget of bytes.

pub(crate) mod body;
pub(crate) mod head;
pub(crate) mod shares;
pub(crate) mod unread;
