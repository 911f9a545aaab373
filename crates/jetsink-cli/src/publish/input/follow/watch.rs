//! Changes of folders: notifications of the system (inotify), or polling on systems without them.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// The changes of the watched folders since the last call.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Keys of folders that have changed.
    pub(super) folders: Vec<usize>,
    /// Names that were created in a folder, or moved there.
    pub(super) created: Vec<(usize, OsString)>,
    /// Keys of folders that are no longer watched.
    pub(super) ended: Vec<usize>,
    /// Whether changes are missing.
    pub(super) has_overflowed: bool,
}

#[cfg(target_os = "linux")]
mod system {
    use std::collections::HashMap;
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::OsStrExt as _;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};

    use super::{Changes, Duration, OsString, Path};

    /// Watches folders.
    pub(in super::super) struct Watch {
        /// `None` if the system has no more instances: folders are polled then.
        inotify: Option<OwnedFd>,
        folders: HashMap<i32, usize>,
    }

    impl Watch {
        pub(in super::super) fn new() -> Self {
            let flags = CreateFlags::NONBLOCK | CreateFlags::CLOEXEC;
            Self {
                inotify: inotify::init(flags).ok(),
                folders: HashMap::new(),
            }
        }

        /// Watches a folder under a key. Returns `false` if it has to be polled.
        pub(in super::super) fn add(&mut self, path: &Path, key: usize) -> bool {
            let Some(inotify) = &self.inotify else {
                return false;
            };
            let flags = WatchFlags::CREATE
                | WatchFlags::MOVED_FROM
                | WatchFlags::MOVED_TO
                | WatchFlags::DELETE
                | WatchFlags::CLOSE_WRITE
                // A file that could not be opened may be allowed now.
                | WatchFlags::ATTRIB
                | WatchFlags::MOVE_SELF
                | WatchFlags::ONLYDIR;
            match inotify::add_watch(inotify, path, flags) {
                Ok(descriptor) => {
                    self.folders.insert(descriptor, key);
                    true
                }
                Err(_) => false,
            }
        }

        /// Waits for a change, at most `timeout`.
        pub(in super::super) fn wait(&mut self, timeout: Duration) -> Changes {
            let mut changes = Changes::default();
            let Some(inotify) = &self.inotify else {
                std::thread::sleep(timeout);
                return changes;
            };
            let mut ready = [PollFd::new(inotify, PollFlags::IN)];
            // Its only error is an interruption.
            let _ = poll(&mut ready, Timespec::try_from(timeout).ok().as_ref());
            let mut buffer = [MaybeUninit::uninit(); 16 << 10];
            let mut reader = Reader::new(inotify, &mut buffer);
            while let Ok(event) = reader.next() {
                let kind = event.events();
                if kind.contains(ReadFlags::QUEUE_OVERFLOW) {
                    changes.has_overflowed = true;
                    continue;
                }
                let Some(key) = self.folders.get(&event.wd()).copied() else {
                    continue;
                };
                changes.folders.push(key);
                if kind.intersects(ReadFlags::IGNORED | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT) {
                    self.folders.remove(&event.wd());
                    changes.ended.push(key);
                }
                let created = ReadFlags::CREATE | ReadFlags::MOVED_TO;
                if kind.intersects(created)
                    && !kind.contains(ReadFlags::ISDIR)
                    && let Some(name) = event.file_name()
                {
                    let name = std::ffi::OsStr::from_bytes(name.to_bytes());
                    changes.created.push((key, OsString::from(name)));
                }
            }
            changes
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::{Changes, Duration, Path};

    /// Polls: no change is ever reported.
    pub(in super::super) struct Watch;

    impl Watch {
        pub(in super::super) fn new() -> Self {
            Self
        }

        pub(in super::super) fn add(&mut self, _path: &Path, _key: usize) -> bool {
            false
        }

        pub(in super::super) fn wait(&mut self, timeout: Duration) -> Changes {
            std::thread::sleep(timeout);
            Changes::default()
        }
    }
}

pub(super) use system::Watch;
