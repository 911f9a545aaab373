//! An event as its publisher knows it.

/// The outcome of a publish: it decides how often a stream must contain the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The publish returned `Ok`: the event must be stored once.
    Acknowledged,
    /// The publish returned an error or no answer: the event may be stored, once.
    Unknown,
    /// The publish returned an error that rules out that the event is stored.
    NotStored,
    /// A copy of an event waits outside the stream, such as in a spool.
    ///
    /// Each copy excuses one equal [`Acknowledged`](Self::Acknowledged) event (same key, same subject)
    /// from being stored. A copy without an equal event may be stored itself, once.
    Pending,
}

/// One event of a [`Ledger`](crate::Ledger).
///
/// Without a subject it may be stored on any subject. Its order is compared if its outcome is
/// [`Outcome::Acknowledged`].
///
/// ```
/// use delivery_audit::Event;
///
/// let event: Event<'_, u64> = Event::unknown(7).on("events.a").ordered(true);
/// ```
#[derive(Debug, Clone)]
pub struct Event<'a, K, I = ()> {
    pub(crate) key: K,
    pub(crate) outcome: Outcome,
    pub(crate) is_ordered: bool,
    pub(crate) subject: Option<&'a str>,
    pub(crate) identity: Option<I>,
}

impl<'a, K, I> Event<'a, K, I> {
    /// An event and the outcome of its publish.
    pub fn new(key: K, outcome: Outcome) -> Self {
        Self {
            key,
            outcome,
            is_ordered: outcome == Outcome::Acknowledged,
            subject: None,
            identity: None,
        }
    }

    /// An event that must be stored once.
    pub fn acknowledged(key: K) -> Self {
        Self::new(key, Outcome::Acknowledged)
    }

    /// An event that may be stored, once.
    pub fn unknown(key: K) -> Self {
        Self::new(key, Outcome::Unknown)
    }

    /// An event that must not be stored.
    pub fn not_stored(key: K) -> Self {
        Self::new(key, Outcome::NotStored)
    }

    /// A copy that waits outside the stream: see [`Outcome::Pending`].
    pub fn pending(key: K) -> Self {
        Self::new(key, Outcome::Pending)
    }

    /// Sets the subject on which the event must be stored.
    #[must_use]
    pub fn on(self, subject: &'a str) -> Self {
        Self {
            subject: Some(subject),
            ..self
        }
    }

    /// Sets whether the order of the event is compared.
    ///
    /// Concurrent publishes have no order. The order of an event of unknown outcome is known only if its
    /// publisher waited for the outcome before it went on.
    #[must_use]
    pub fn ordered(self, is_ordered: bool) -> Self {
        Self { is_ordered, ..self }
    }

    /// Sets the identity by which an altered copy of the event is recognised.
    #[must_use]
    pub fn identity(self, identity: I) -> Self {
        Self {
            identity: Some(identity),
            ..self
        }
    }
}
