//! What a stream should be.

use std::str::FromStr as _;
use std::time::Duration;

use crate::message::pattern::SubjectPattern;
use crate::nats::stream_name::StreamName;

/// Events are kept for this long, unless told otherwise: 90 days.
const RETENTION_FLOOR: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// The server's own default.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(2 * 60);

/// The most copies that a server keeps.
const MOST_REPLICAS: u8 = 5;

/// The longest time that the server's signed nanoseconds hold is 292 years; this is plenty.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// How much of a name that is refused an error shows.
const SHOWN: usize = 64;

/// What a setting of a [`StreamSpec`] lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stream {stream:?}: {what}: {reason}")]
pub struct StreamSpecError {
    stream: String,
    what: &'static str,
    reason: String,
}

/// Where a stream keeps its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Storage {
    /// On disk.
    #[default]
    File,
    /// In the server's memory: gone with its process.
    Memory,
}

impl Storage {
    /// As the server has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Memory => "memory",
        }
    }
}

/// What a stream should be, at least: a stream that keeps events longer, in more copies or of more
/// subjects is left so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSpec {
    pub(super) name: StreamName,
    pub(super) subjects: Vec<String>,
    pub(super) retention_floor: Duration,
    pub(super) storage: Storage,
    pub(super) replicas: u8,
    pub(super) duplicate_window: Duration,
    pub(super) max_bytes: Option<u64>,
    pub(super) deny_delete: bool,
    pub(super) deny_purge: bool,
    pub(super) compression: Option<bool>,
    pub(super) placement_cluster: Option<String>,
    pub(super) placement_tags: Vec<String>,
}

impl StreamSpec {
    /// A stream of this name that captures these subjects (`*` and `>` allowed): kept for 90 days at
    /// least, on disk, in one copy, with a duplicate window of 2 minutes.
    ///
    /// # Errors
    /// [`StreamSpecError`] for a name or a subject that the server would not take.
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
        for subject in &spec.subjects {
            SubjectPattern::new(subject.as_str()).map_err(|error| {
                let shown: String = subject.chars().take(SHOWN).collect();
                spec.error("subjects", &format!("{shown:?}: {error}"))
            })?;
        }
        Ok(spec)
    }

    /// What the CellOS server reads: `CELLOS_EVENTS` over `cellos.events.>`, on disk, for 90 days.
    #[must_use]
    pub fn cellos() -> Self {
        Self::unchecked(
            StreamName::trusted("CELLOS_EVENTS"),
            vec!["cellos.events.>".to_owned()],
        )
    }

    fn unchecked(name: StreamName, subjects: Vec<String>) -> Self {
        Self {
            name,
            subjects,
            retention_floor: RETENTION_FLOOR,
            storage: Storage::File,
            replicas: 1,
            duplicate_window: DUPLICATE_WINDOW,
            max_bytes: None,
            deny_delete: false,
            deny_purge: false,
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

    /// Events are kept for at least this long.
    ///
    /// # Errors
    /// [`StreamSpecError`] for less than the duplicate window, or more than 100 years.
    pub fn retention_floor(mut self, floor: Duration) -> Result<Self, StreamSpecError> {
        self.retention_floor = floor;
        self.checked()
    }

    /// File by default. An existing stream's can't be changed.
    #[must_use]
    pub fn storage(mut self, storage: Storage) -> Self {
        self.storage = storage;
        self
    }

    /// Copies on servers of a cluster, 1 to 5; 3 survive the loss of one without losing an
    /// acknowledged event.
    ///
    /// # Errors
    /// [`StreamSpecError`] for 0, or more than 5.
    pub fn replicas(mut self, replicas: u8) -> Result<Self, StreamSpecError> {
        self.replicas = replicas;
        self.checked()
    }

    /// How long the server remembers message ids. Longer than the sink's deadline and a pipeline's
    /// patience.
    ///
    /// # Errors
    /// [`StreamSpecError`] for less than 100 ms, or more than the retention floor.
    pub fn duplicate_window(mut self, window: Duration) -> Result<Self, StreamSpecError> {
        self.duplicate_window = window;
        self.checked()
    }

    /// A bound in bytes. A stream that is made with one refuses new events when it is full, rather
    /// than throw old ones away before their time.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Nobody may delete single messages. The server never lets this be taken back.
    #[must_use]
    pub fn deny_delete(mut self) -> Self {
        self.deny_delete = true;
        self
    }

    /// Nobody may purge the stream. The server never lets this be taken back.
    #[must_use]
    pub fn deny_purge(mut self) -> Self {
        self.deny_purge = true;
        self
    }

    /// Whether the file storage is compressed (S2). Left alone unless this is called.
    #[must_use]
    pub fn compression(mut self, on: bool) -> Self {
        self.compression = Some(on);
        self
    }

    /// The cluster that keeps it.
    #[must_use]
    pub fn placement_cluster(mut self, cluster: impl Into<String>) -> Self {
        self.placement_cluster = Some(cluster.into());
        self
    }

    /// A tag that servers have which may keep it; several must all be there.
    #[must_use]
    pub fn placement_tag(mut self, tag: impl Into<String>) -> Self {
        self.placement_tags.push(tag.into());
        self
    }

    fn checked(self) -> Result<Self, StreamSpecError> {
        if self.replicas == 0 || self.replicas > MOST_REPLICAS {
            return Err(self.error("replicas", "1 to 5"));
        }
        if self.duplicate_window < Duration::from_millis(100) {
            return Err(self.error("duplicate window", "at least 100 ms"));
        }
        if self.duplicate_window > self.retention_floor {
            let reason = "the duplicate window can't be longer than the retention";
            return Err(self.error("retention", reason));
        }
        if self.retention_floor > LONGEST {
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
