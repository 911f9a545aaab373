//! The specification of a stream.

use std::str::FromStr as _;
use std::time::Duration;

use crate::message::pattern::{SubjectPattern, overlaps};
use crate::nats::stream_name::StreamName;

/// The default retention floor: 90 days.
const RETENTION_FLOOR: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// The server's own default.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(2 * 60);

/// The server's limit of copies.
const MAX_REPLICAS: u8 = 5;

/// 100 years; the server's signed nanoseconds end at 292 years.
const MAX_RETENTION: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The number of characters of a refused text that an error shows.
const SHOWN: usize = 64;

/// An invalid setting of a [`StreamSpec`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stream {stream:?}: {what}: {reason}")]
pub struct StreamSpecError {
    stream: String,
    what: &'static str,
    reason: String,
}

/// The storage of a stream's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StreamStorage {
    /// On disk.
    #[default]
    File,
    /// In the server's memory: lost with its process.
    Memory,
}

impl StreamStorage {
    /// Returns the server's name of it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Memory => "memory",
        }
    }
}

/// The minimum that a stream must offer. A stream that keeps events longer, in more copies or of more subjects
/// is left unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSpec {
    pub(super) name: StreamName,
    pub(super) subjects: Vec<String>,
    pub(super) retention_floor: Duration,
    pub(super) storage: StreamStorage,
    pub(super) replicas: u8,
    pub(super) duplicate_window: Duration,
    pub(super) max_bytes: Option<u64>,
    pub(super) deny_delete: bool,
    pub(super) deny_purge: bool,
    pub(super) allow_message_ttl: bool,
    pub(super) compression: Option<bool>,
    pub(super) placement_cluster: Option<String>,
    pub(super) placement_tags: Vec<String>,
}

impl StreamSpec {
    /// Specifies a stream of this name that captures these subjects. Events are kept for at least 90 days, on
    /// disk, in one copy, with a duplicate window of 2 minutes.
    ///
    /// # Errors
    /// [`StreamSpecError`] for a text that is not a [`StreamName`](crate::StreamName), no subjects, and a
    /// subject that is not a [`SubjectPattern`](crate::SubjectPattern) or overlaps with another.
    pub fn new(
        name: impl Into<String>,
        subjects: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, StreamSpecError> {
        let subjects = subjects.into_iter().map(Into::into).collect();
        let name: String = name.into();
        let name = StreamName::from_str(&name).map_err(|error| StreamSpecError {
            stream: name.chars().take(SHOWN).collect(),
            what: "name",
            reason: error.to_string(),
        })?;
        let spec = Self::unchecked(name, subjects);
        if spec.subjects.is_empty() {
            return Err(spec.error("subjects", "it needs at least one"));
        }
        for (position, subject) in spec.subjects.iter().enumerate() {
            let refused = |reason: &dyn std::fmt::Display| {
                let shown: String = subject.chars().take(SHOWN).collect();
                spec.error("subjects", &format!("{shown:?}: {reason}"))
            };
            SubjectPattern::new(subject.as_str()).map_err(|error| refused(&error))?;
            let earlier = &spec.subjects[..position];
            if earlier.iter().any(|other| overlaps(other, subject)) {
                return Err(refused(
                    &"it overlaps with an earlier one, which the server refuses",
                ));
            }
        }
        Ok(spec)
    }

    fn unchecked(name: StreamName, subjects: Vec<String>) -> Self {
        Self {
            name,
            subjects,
            retention_floor: RETENTION_FLOOR,
            storage: StreamStorage::File,
            replicas: 1,
            duplicate_window: DUPLICATE_WINDOW,
            max_bytes: None,
            deny_delete: false,
            deny_purge: false,
            allow_message_ttl: false,
            compression: None,
            placement_cluster: None,
            placement_tags: Vec::new(),
        }
    }

    /// The stream's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The subjects that it captures.
    #[must_use]
    pub fn subjects(&self) -> &[String] {
        &self.subjects
    }

    /// Sets the time for which events are kept at least. Default: 90 days.
    ///
    /// # Errors
    /// [`StreamSpecError`] for less than the duplicate window, or more than 100 years.
    pub fn retention_floor(mut self, floor: Duration) -> Result<Self, StreamSpecError> {
        self.retention_floor = floor;
        self.checked()
    }

    /// Sets the storage. Default: file. The storage of an existing stream can't be changed.
    #[must_use]
    pub fn storage(mut self, storage: StreamStorage) -> Self {
        self.storage = storage;
        self
    }

    /// Sets the number of copies in a cluster, 1 to 5. Default: 1. With 3, the loss of one server loses no
    /// acknowledged event.
    ///
    /// # Errors
    /// [`StreamSpecError`] for 0, or more than 5.
    pub fn replicas(mut self, replicas: u8) -> Result<Self, StreamSpecError> {
        self.replicas = replicas;
        self.checked()
    }

    /// Sets the time for which the server remembers message ids. Default: 2 minutes. It should be longer than
    /// the sink's deadline and a pipeline's `max_outage`.
    ///
    /// # Errors
    /// [`StreamSpecError`] for less than 100 ms, or more than the retention floor.
    pub fn duplicate_window(mut self, window: Duration) -> Result<Self, StreamSpecError> {
        self.duplicate_window = window;
        self.checked()
    }

    /// Sets a limit in bytes. A stream created with a limit refuses new events when it is full, instead of
    /// deleting old events early.
    ///
    /// # Errors
    /// [`StreamSpecError`] for 0, which the server takes for no limit, and for more than an `i64` holds.
    pub fn max_bytes(mut self, bytes: u64) -> Result<Self, StreamSpecError> {
        if bytes == 0 || i64::try_from(bytes).is_err() {
            return Err(self.error("max bytes", "1 to 9223372036854775807"));
        }
        self.max_bytes = Some(bytes);
        Ok(self)
    }

    /// Forbids to delete single messages. The server does not allow to revert this. Left unchanged if false, the default.
    #[must_use]
    pub fn deny_delete(mut self, deny: bool) -> Self {
        self.deny_delete = deny;
        self
    }

    /// Forbids to purge the stream. The server does not allow to revert this. Left unchanged if false, the default.
    #[must_use]
    pub fn deny_purge(mut self, deny: bool) -> Self {
        self.deny_purge = deny;
        self
    }

    /// Allows messages with a time to live of their own (`Nats-TTL`), which may be shorter than the retention floor. The
    /// server does not allow to revert this, and supports it since 2.11. Left unchanged if false, the default.
    #[must_use]
    pub fn allow_message_ttl(mut self, allow: bool) -> Self {
        self.allow_message_ttl = allow;
        self
    }

    /// Sets whether the file storage is compressed (S2). Left unchanged unless this is called.
    #[must_use]
    pub fn compression(mut self, on: bool) -> Self {
        self.compression = Some(on);
        self
    }

    /// Sets the cluster that stores it.
    #[must_use]
    pub fn placement_cluster(mut self, cluster: impl Into<String>) -> Self {
        self.placement_cluster = Some(cluster.into());
        self
    }

    /// Requires servers with this tag, and with all other tags set.
    #[must_use]
    pub fn placement_tag(mut self, tag: impl Into<String>) -> Self {
        self.placement_tags.push(tag.into());
        self
    }

    fn checked(self) -> Result<Self, StreamSpecError> {
        if self.replicas == 0 || self.replicas > MAX_REPLICAS {
            return Err(self.error("replicas", "1 to 5"));
        }
        if self.duplicate_window < Duration::from_millis(100) {
            return Err(self.error("duplicate window", "at least 100 ms"));
        }
        if self.duplicate_window > self.retention_floor {
            let reason = "the duplicate window can't be longer than the retention";
            return Err(self.error("retention", reason));
        }
        if self.retention_floor > MAX_RETENTION {
            return Err(self.error("retention", "at most 100 years"));
        }
        Ok(self)
    }

    fn error(&self, what: &'static str, reason: &str) -> StreamSpecError {
        StreamSpecError {
            stream: self.name.to_string(),
            what,
            reason: reason.to_owned(),
        }
    }
}
