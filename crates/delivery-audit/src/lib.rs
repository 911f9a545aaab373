//! Compares acknowledged events with the messages of a stream.
//!
//! A publisher that returns `Ok` promises that an event is stored. This crate checks the promise: the
//! caller records each event and the outcome of its publish in a [`Ledger`], then passes the stream's
//! messages to an [`Audit`], one after another. The crate does no I/O and knows no broker.
//!
//! ```
//! use delivery_audit::{Event, Ledger, Verdict};
//!
//! let mut ledger: Ledger<&str> = Ledger::new();
//! ledger.add(Event::acknowledged("created").on("orders"));
//! ledger.add(Event::acknowledged("paid").on("orders"));
//! ledger.add(Event::unknown("shipped").on("orders"));
//!
//! let mut audit = ledger.seal();
//! assert_eq!(audit.observe("orders", &"paid"), Verdict::Expected);
//! assert_eq!(audit.observe("orders", &"paid"), Verdict::Duplicated);
//!
//! let report = audit.finish();
//! assert_eq!(report.lost().collect::<Vec<_>>(), [0]); // "created"
//! assert_eq!(report.to_string(), "1 lost, 0 altered, 1 duplicated, 0 out of order, 0 unexpected");
//! ```
//!
//! # Outcomes
//!
//! | outcome of the publish | the stream must contain the event |
//! | --- | --- |
//! | [`Acknowledged`](Outcome::Acknowledged): it returned `Ok` | once |
//! | [`Unknown`](Outcome::Unknown): it returned an error or was cancelled, and may be stored | at most once |
//! | [`NotStored`](Outcome::NotStored): the error says that the event is not stored | never |
//! | [`Pending`](Outcome::Pending): a copy of it waits elsewhere, such as in a spool | at most once; excuses an equal acknowledged event |
//!
//! # Verdicts
//!
//! Per message ([`Verdict`]): expected, out of order, on the wrong subject, duplicated, stored despite an
//! error, unexpected. Per event ([`Report`]): lost, altered, duplicated, stored despite an error.
//!
//! # Keys
//!
//! Two payloads are the same if their keys are equal. The key can be the payload itself, a hash of it, a
//! canonical form, or a number that identifies the event:
//!
//! - If the key covers the content, an altered event has another key: it is lost, and its message is
//!   unexpected. With an identity besides the key ([`Event::identity`],
//!   [`Audit::observe_identified`]) the two are reported as one altered event.
//! - If the key is only a number, the caller compares the content of each message.
//! - If a message can have one of two forms, such as the original bytes or a re-encoding, events have a
//!   second key each ([`Aliases`]).
//!
//! # Invariants
//!
//! 1. An event is matched with at most one message and a message with at most one event. Further messages
//!    with the key are duplicates.
//! 2. Events with equal keys are interchangeable. A message takes, among those without a message, an event
//!    that is expected on the message's subject before others, then an acknowledged event before one of
//!    unknown outcome before one that is not stored, then the first that keeps the order.
//! 3. A report is clean if and only if the stream contains each event as often as the first table
//!    says, on its subject and in order, and nothing else. One exception: equal events of one subject
//!    with different outcomes can be reported as out of order although another matching keeps the order.
//!    A loss is never hidden that way.
//! 4. Order is compared per subject, in the order in which events were added. An event is out of order if
//!    a later event of its subject was observed before it. Acknowledged events are compared;
//!    others are only if they are [ordered](Event::ordered).
//! 5. Memory depends on the ledger, not on the stream: per event 3 bytes and one sorted entry of
//!    `size_of::<(K, u32)>()` for the key, the alias and the identity each; 4 bytes if events have
//!    subjects; the text of each subject once; and 8 bytes per unmatched message, at most one per
//!    event.

mod audit;
mod event;
mod findings;
mod index;
mod ledger;
mod report;
mod state;

pub use audit::{Audit, Content, Message, Verdict};
pub use event::{Event, Outcome};
pub use findings::Findings;
pub use ledger::{AliasCountError, Aliases, Ledger, TooManyEvents};
pub use report::{Altered, Counts, Report};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
