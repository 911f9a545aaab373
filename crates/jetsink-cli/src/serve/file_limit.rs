//! The connections that the limit of open files allows.

use crate::output;
use crate::system::raise_file_limit;

/// Files that are not connections of senders: those of the spool, the connection to NATS, the listeners, and the
/// operators' connections.
const RESERVE: u64 = 128;

/// Raises the limit of open files. Returns `wanted`, or the number that the limit allows if that is less, with a note.
/// Idle connections would otherwise take the files of the spool and of the connection to NATS.
pub(super) fn connections(wanted: u32) -> usize {
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let Some(files) = raise_file_limit() else {
        return wanted;
    };
    let connections = wanted.min(allowed(files));
    if connections < wanted {
        output::note(&format!(
            "at most {connections} connections, since the limit of open files is {files}; raise it by ulimit -n or \
             LimitNOFILE=, or lower --max-connections"
        ));
    }
    connections
}

fn allowed(files: u64) -> usize {
    let allowed = files.saturating_sub(RESERVE).max(files / 2).max(1);
    usize::try_from(allowed).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserve_is_kept_and_a_small_limit_leaves_half() {
        assert_eq!(allowed(1024), 896);
        assert_eq!(allowed(256), 128);
        assert_eq!(allowed(100), 50);
        assert_eq!(allowed(0), 1);
    }
}
