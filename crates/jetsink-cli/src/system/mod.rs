//! Calls that differ between systems. `unix` and `other` have the same functions.

#[cfg_attr(not(unix), path = "other.rs")]
mod unix;

pub(crate) use unix::{
    FILES_CAN_BE_FOLLOWED, Signals, file_number, is_fifo, is_out_of_descriptors, is_same_file,
    raise_file_limit, read_at, stdin_is_fifo, stdout_closed,
};
