//! The settings of a spool and its replay. Checked here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::publish::settings::SettingsError;
use crate::publisher::window::WindowSize;

const DEFAULT_WINDOW: WindowSize = WindowSize::new(512).unwrap();

/// The settings of a spool. Defaults: at most 1 GiB, or half of the disk's free space if that is less; events of any age; replay
/// with 512 events in flight, without a rate limit.
///
/// ```
/// use jetsink::SpoolSettings;
///
/// let settings = SpoolSettings::new("/var/lib/app/spool").limit_bytes(64 << 20)?;
/// # Ok::<(), jetsink::SettingsError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolSettings {
    directory: PathBuf,
    limit_bytes: Option<u64>,
    max_age: Option<Duration>,
    window: WindowSize,
    events_per_second: Option<u32>,
    when_unconfirmed: WhenUnconfirmed,
}

/// The treatment of an event that may be stored already, if no look-up in its stream can tell: the stream can't be
/// read, could not be read for 10 minutes while JetStream answered other requests, or has removed messages since.
///
/// Only events whose acknowledgement is missing are concerned, and those behind them on their subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WhenUnconfirmed {
    /// It is sent, and may be stored twice. [`SpoolStatus::possible_duplicates`](crate::SpoolStatus) and the metric
    /// `jetsink_possible_duplicates_total` count it, and the log has a warning per subject.
    #[default]
    Deliver,
    /// It stays in the spool, and its subject waits, until a look-up succeeds.
    /// [`SpoolStatus::held_subjects`](crate::SpoolStatus) counts such subjects.
    Hold,
}

impl SpoolSettings {
    /// Returns the settings of a spool in `directory`, which is created if it does not exist. One sink owns it at a time.
    ///
    /// Use a local disk: file locks and syncs over a network are not reliable.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            limit_bytes: None,
            max_age: None,
            window: DEFAULT_WINDOW,
            events_per_second: None,
            when_unconfirmed: WhenUnconfirmed::default(),
        }
    }

    /// Sets the maximum bytes of events and dead letters. An emit that would exceed it fails at once. The default is 1 GiB,
    /// or half of the disk's free space plus the bytes of the spool's own files if that is less, and at least 1 MiB. The files
    /// also have at most one segment (a sixteenth of the limit, 256 KiB to 16 MiB) that is being filled, the
    /// copy of another, and up to three quarters of delivered events beside pending ones.
    ///
    /// # Errors
    /// [`SettingsError::SpoolLimit`] for 0.
    pub fn limit_bytes(mut self, bytes: u64) -> Result<Self, SettingsError> {
        if bytes == 0 {
            return Err(SettingsError::SpoolLimit);
        }
        self.limit_bytes = Some(bytes);
        Ok(self)
    }

    /// Sets the maximum age of an event. An older event is not sent any more. It becomes a dead letter with that reason: within
    /// a minute or, if only its subject fails, at the subject's next attempt. An event that may be stored is looked up
    /// first. The age is measured by the monotonic clock, and over a restart by the system's.
    ///
    /// # Errors
    /// [`SettingsError::MaxAge`] for 0.
    pub fn max_age(mut self, age: Duration) -> Result<Self, SettingsError> {
        if age.is_zero() {
            return Err(SettingsError::MaxAge);
        }
        self.max_age = Some(age);
        Ok(self)
    }

    /// Sets the maximum number of events that replay has in flight.
    #[must_use]
    pub fn window(mut self, window: WindowSize) -> Self {
        self.window = window;
        self
    }

    /// Bounds the rate of replay, so that it leaves room for new events.
    ///
    /// # Errors
    /// [`SettingsError::EventsPerSecond`] for 0.
    pub fn events_per_second(mut self, rate: u32) -> Result<Self, SettingsError> {
        if rate == 0 {
            return Err(SettingsError::EventsPerSecond);
        }
        self.events_per_second = Some(rate);
        Ok(self)
    }

    /// Sets the treatment of events that no look-up can confirm. The default is
    /// [`WhenUnconfirmed::Deliver`].
    #[must_use]
    pub fn when_unconfirmed(mut self, choice: WhenUnconfirmed) -> Self {
        self.when_unconfirmed = choice;
        self
    }

    /// Returns the folder.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn chosen_limit(&self) -> Option<u64> {
        self.limit_bytes
    }

    pub(crate) fn age_limit(&self) -> Option<Duration> {
        self.max_age
    }

    pub(crate) fn replay_window(&self) -> WindowSize {
        self.window
    }

    pub(crate) fn choice_when_unconfirmed(&self) -> WhenUnconfirmed {
        self.when_unconfirmed
    }

    pub(crate) fn replay_rate(&self) -> Option<u32> {
        self.events_per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_those_of_replay_and_invalid_ones_are_refused() {
        let settings = || SpoolSettings::new("folder");
        let usual = settings();
        assert_eq!(usual.directory(), Path::new("folder"));
        assert_eq!((usual.replay_rate(), usual.age_limit()), (None, None));
        let set = settings().window(WindowSize::MAX);
        let set = set.events_per_second(7).unwrap();
        let set = set.max_age(Duration::from_secs(9)).unwrap();
        let set = set.limit_bytes(5).unwrap();
        assert_eq!(
            (set.replay_window(), set.chosen_limit()),
            (WindowSize::MAX, Some(5))
        );
        assert_eq!(set.replay_rate(), Some(7));
        assert_eq!(set.age_limit(), Some(Duration::from_secs(9)));
        for (refused, error) in [
            (
                settings().events_per_second(0),
                SettingsError::EventsPerSecond,
            ),
            (settings().max_age(Duration::ZERO), SettingsError::MaxAge),
            (settings().limit_bytes(0), SettingsError::SpoolLimit),
        ] {
            assert_eq!(refused, Err(error));
        }
    }
}
