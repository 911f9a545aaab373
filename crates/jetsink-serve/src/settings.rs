//! How a gateway behaves. Checked here.

use std::num::NonZeroU32;
use std::time::Duration;

use jetsink::{ContentMode, SubjectTemplate, TenantPolicy};

use crate::access::Access;
use crate::intake::body::BodyLimits;

/// Intermediaries must forward events of this size (CloudEvents 1.0.2, Size Limits).
const MIN_BODY: usize = 64 << 10;

/// An invalid setting of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// A route's path is not one literal path.
    #[error("route {path:?}: {reason}")]
    Route {
        /// The path.
        path: String,
        /// The broken rule.
        reason: &'static str,
    },
    /// A number is out of its range.
    #[error("{limit} is {value}; it must be from {min} to {max}")]
    Range {
        /// The setting.
        limit: GatewayLimit,
        /// Its value.
        value: u64,
        /// The smallest valid value.
        min: u64,
        /// The largest valid value.
        max: u64,
    },
    /// The sink has a spool that passes the identities of its events to another gateway.
    #[error("the sink has a spool and another gateway; make one gateway per sink, and clone it")]
    SinkInUse,
}

/// A number or a time of [`GatewaySettings`] or [`ServerSettings`](crate::ServerSettings). `Display` names it, with the unit of
/// a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GatewayLimit {
    /// [`GatewaySettings::deadline`].
    Deadline,
    /// [`MaxBytes::body`].
    Body,
    /// [`MaxBytes::decompressed`].
    Decompressed,
    /// [`MaxBytes::in_flight`].
    InFlight,
    /// [`GatewaySettings::body_time`].
    BodyTime,
    /// [`GatewaySettings::max_batch`].
    Batch,
    /// [`GatewaySettings::max_requests`].
    Requests,
    /// The number of [`GatewaySettings::identities`].
    Identities,
    /// The time of [`GatewaySettings::identities`].
    IdentityTime,
    /// [`ServerSettings::max_connections`](crate::ServerSettings::max_connections).
    Connections,
    /// [`ServerSettings::max_header_bytes`](crate::ServerSettings::max_header_bytes).
    HeaderBytes,
    /// [`ServerSettings::header_time`](crate::ServerSettings::header_time).
    HeaderTime,
}

impl std::fmt::Display for GatewayLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Deadline => "the deadline in milliseconds",
            Self::Body => "the limit of a body",
            Self::Decompressed => "the limit of a decompressed body",
            Self::InFlight => "the limit of all bodies",
            Self::BodyTime => "the time of a body in milliseconds",
            Self::Batch => "the limit of a batch",
            Self::Requests => "the limit of requests",
            Self::Identities => "the limit of identities",
            Self::IdentityTime => "the time of identities in milliseconds",
            Self::Connections => "the limit of connections",
            Self::HeaderBytes => "the limit of headers",
            Self::HeaderTime => "the time of headers in milliseconds",
        })
    }
}

impl GatewayLimit {
    pub(crate) fn check(self, value: usize, min: usize, max: usize) -> Result<usize, GatewayError> {
        if (min..=max).contains(&value) {
            return Ok(value);
        }
        Err(GatewayError::Range {
            limit: self,
            value: value as u64,
            min: min as u64,
            max: max as u64,
        })
    }

    /// Checks a time of 1 ms to 1 hour.
    pub(crate) fn check_time(self, time: Duration) -> Result<Duration, GatewayError> {
        self.check(millis(time), 1, 3_600_000).map(|_| time)
    }
}

fn millis(time: Duration) -> usize {
    usize::try_from(time.as_millis()).unwrap_or(usize::MAX)
}

/// A path, and the subjects of the events that are posted to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub(crate) path: String,
    pub(crate) template: SubjectTemplate,
}

impl Route {
    /// A route. The path is literal, such as `/` or `/orders`.
    ///
    /// # Errors
    /// [`GatewayError::Route`] for a path that does not begin with `/`, or has another character than letters, digits
    /// and `/-._~`.
    pub fn new(path: impl Into<String>, template: SubjectTemplate) -> Result<Self, GatewayError> {
        let path = path.into();
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        let reason = if !path.starts_with('/') {
            "a path begins with '/'"
        } else if !path.bytes().all(is_allowed) {
            "a path has only letters, digits and /-._~"
        } else {
            return Ok(Self { path, template });
        };
        Err(GatewayError::Route { path, reason })
    }
}

/// The maximum bytes of bodies, for [`GatewaySettings::max_bytes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxBytes {
    /// The limit of a body as it is sent.
    pub body: usize,
    /// The limit of its decompressed form.
    pub decompressed: usize,
    /// The limit of all bodies in flight. One credential has at most half of it.
    pub in_flight: usize,
}

/// How a gateway behaves.
///
/// Defaults: events are stored as received; tenant ids that are not subject tokens are refused; every sender is
/// accepted; a deadline of 3 s; bodies up to 1 MiB, 4 MiB decompressed, within 10 s; 64 MiB for all bodies; 1,000
/// events per batch; 1,024 requests in flight; 100,000 identities for 10 minutes.
///
/// ```
/// use std::time::Duration;
/// use jetsink_serve::GatewaySettings;
///
/// let settings = GatewaySettings::default()
///     .deadline(Duration::from_secs(5))?
///     .max_requests(256)?;
/// # Ok::<(), jetsink_serve::GatewayError>(())
/// ```
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    pub(crate) mode: Option<ContentMode>,
    pub(crate) tenant_policy: TenantPolicy,
    pub(crate) access: Access,
    pub(crate) hosts: Vec<String>,
    pub(crate) deadline: Duration,
    pub(crate) body: BodyLimits,
    pub(crate) budget: usize,
    pub(crate) max_batch: usize,
    pub(crate) max_requests: usize,
    pub(crate) max_identities: usize,
    pub(crate) identity_window: Duration,
    pub(crate) access_log: Option<NonZeroU32>,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            mode: None,
            tenant_policy: TenantPolicy::default(),
            access: Access::anonymous(),
            hosts: Vec::new(),
            deadline: Duration::from_secs(3),
            body: BodyLimits {
                bytes: 1 << 20,
                decompressed: 4 << 20,
                time: Duration::from_secs(10),
            },
            budget: 64 << 20,
            max_batch: 1_000,
            max_requests: 1_024,
            max_identities: 100_000,
            identity_window: Duration::from_secs(600),
            access_log: None,
        }
    }
}

impl GatewaySettings {
    /// The content mode of the stored messages. Default: as received.
    #[must_use]
    pub fn mode(mut self, mode: ContentMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// The treatment of tenant ids that are not subject tokens. Default: refuse.
    #[must_use]
    pub fn tenant_policy(mut self, policy: TenantPolicy) -> Self {
        self.tenant_policy = policy;
        self
    }

    /// The accepted senders. Default: every sender.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Further names that the `Host` header may have on a loopback address, such as one of `/etc/hosts`.
    #[must_use]
    pub fn hosts(mut self, hosts: Vec<String>) -> Self {
        self.hosts = hosts;
        self
    }

    /// The maximum time from a read body to its answer. Keep it above the sink's deadline: otherwise the answer is
    /// `outcome-unknown` where the sink's own result would come a moment later. A client can set a shorter time, which counts
    /// from its headers.
    ///
    /// # Errors
    /// [`GatewayError::Range`] outside 1 ms to 1 hour.
    pub fn deadline(mut self, deadline: Duration) -> Result<Self, GatewayError> {
        self.deadline = GatewayLimit::Deadline.check_time(deadline)?;
        Ok(self)
    }

    /// The maximum bytes of bodies.
    ///
    /// # Errors
    /// [`GatewayError::Range`] for a body under 64 KiB, which every intermediary must forward, for a decompressed form
    /// that is smaller than the body, and unless half of the bytes of all bodies hold both.
    pub fn max_bytes(mut self, max: MaxBytes) -> Result<Self, GatewayError> {
        const MAX: usize = 1 << 30;
        let MaxBytes {
            body,
            decompressed,
            in_flight,
        } = max;
        self.body.bytes = GatewayLimit::Body.check(body, MIN_BODY, MAX)?;
        self.body.decompressed = GatewayLimit::Decompressed.check(decompressed, body, MAX)?;
        // A compressed body and its text are held together.
        let min = 2 * (body + decompressed);
        self.budget = GatewayLimit::InFlight.check(in_flight, min, MAX * 4)?;
        Ok(self)
    }

    /// The maximum time for a body to arrive.
    ///
    /// # Errors
    /// [`GatewayError::Range`] outside 1 ms to 1 hour.
    pub fn body_time(mut self, time: Duration) -> Result<Self, GatewayError> {
        self.body.time = GatewayLimit::BodyTime.check_time(time)?;
        Ok(self)
    }

    /// The maximum number of events in a batch.
    ///
    /// # Errors
    /// [`GatewayError::Range`] outside 1 to 100,000.
    pub fn max_batch(mut self, events: usize) -> Result<Self, GatewayError> {
        self.max_batch = GatewayLimit::Batch.check(events, 1, 100_000)?;
        Ok(self)
    }

    /// The maximum number of requests in flight. One credential has at most half of the places.
    ///
    /// # Errors
    /// [`GatewayError::Range`] outside 2 to 1,000,000.
    pub fn max_requests(mut self, requests: usize) -> Result<Self, GatewayError> {
        self.max_requests = GatewayLimit::Requests.check(requests, 2, 1_000_000)?;
        Ok(self)
    }

    /// The memory of answered events: their number, about 150 bytes each, and their time.
    ///
    /// # Errors
    /// [`GatewayError::Range`] for a number outside 1,000 to 100,000,000, or a time outside 1 ms to 30 days.
    pub fn identities(mut self, max: usize, window: Duration) -> Result<Self, GatewayError> {
        self.max_identities = GatewayLimit::Identities.check(max, 1_000, 100_000_000)?;
        GatewayLimit::IdentityTime.check(millis(window), 1, 30 * 86_400_000)?;
        self.identity_window = window;
        Ok(self)
    }

    /// Logs one in this many requests by `tracing`, at level `INFO` with the target [`ACCESS_LOG`](crate::ACCESS_LOG).
    /// Accepted requests and others are counted apart. Default: none.
    #[must_use]
    pub fn access_log(mut self, one_in: NonZeroU32) -> Self {
        self.access_log = Some(one_in);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_of_a_route_is_literal() {
        let route = |path: &str| Route::new(path, "events".parse().unwrap());
        assert!(route("/").is_ok());
        assert!(route("/a/b-c.d_~").is_ok());
        for path in ["", "a", "/{x}", "/*", "/a b", "/ü", "/a?b", "/%41"] {
            assert!(route(path).is_err(), "{path}");
        }
    }

    #[test]
    fn limits_are_checked() {
        let settings = GatewaySettings::default;
        let max_bytes = |body, decompressed, in_flight| {
            settings().max_bytes(MaxBytes {
                body,
                decompressed,
                in_flight,
            })
        };
        assert!(max_bytes(64 << 10, 64 << 10, 256 << 10).is_ok());
        assert!(max_bytes(64 << 10, 64 << 10, (256 << 10) - 1).is_err());
        assert!(max_bytes((64 << 10) - 1, 1 << 20, 1 << 24).is_err());
        assert!(max_bytes(1 << 20, 1 << 19, 1 << 24).is_err());
        assert!(max_bytes(1 << 20, 1 << 20, 1 << 20).is_err());
        assert!(settings().deadline(Duration::ZERO).is_err());
        assert!(settings().max_requests(1).is_err());
        assert!(settings().max_batch(0).is_err());
        let error = settings().identities(1, Duration::ZERO).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the limit of identities is 1; it must be from 1000 to 100000000"
        );
    }
}
