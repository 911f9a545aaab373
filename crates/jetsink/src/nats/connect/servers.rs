//! Server addresses, and the waits between connection attempts.

use std::time::Duration;

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;

use crate::random::random_byte;

/// The port and scheme where a URL names none are `nats` and 4222.
pub(crate) const DEFAULT_SERVER: &str = "nats://127.0.0.1:4222";

const SCHEMES: [&str; 4] = ["nats", "tls", "ws", "wss"];

/// Reconnects at once, then after 20 ms, doubling up to a quarter of a second: short enough that
/// delivery resumes within a second of the broker's return. One connection per process needs no
/// longer one, and the spread keeps many processes from arriving together.
pub(crate) fn reconnect_delay(attempts: usize) -> Duration {
    let exponent = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    if exponent == 0 {
        return Duration::ZERO;
    }
    let millis = 10_u64.saturating_mul(1 << exponent.min(5)).min(250);
    let spread = u64::from(random_byte());
    Duration::from_millis(millis * (192 + spread % 64) / 256)
}

pub(super) type UrlLogin = (String, Option<String>);

/// The address without its login, and the login.
pub(super) fn parse_server(text: &str) -> Result<(ServerAddr, Option<UrlLogin>), String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    // The parser quotes an unknown scheme, which may be part of a password. Its other texts describe the syntax only.
    if let Some((scheme, _)) = text.split_once("://")
        && !SCHEMES
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
    {
        return Err("its scheme is none of nats, tls, ws and wss".to_owned());
    }
    let server: ServerAddr = text.parse().map_err(|e: std::io::Error| e.to_string())?;
    if server.host().is_empty() {
        return Err("it names no host".to_owned());
    }
    let decoded = |part: &str| -> Result<String, String> {
        percent_decode_str(part)
            .decode_utf8()
            .map(|text| text.into_owned())
            .map_err(|_| "its login is not UTF-8".to_owned())
    };
    let login = match server.username() {
        None => None,
        Some(user) => Some((decoded(user)?, server.password().map(decoded).transpose()?)),
    };
    let is_websocket = server.is_websocket();
    let mut url = server.into_inner();
    let behind_the_host = [Some(url.path()), url.query(), url.fragment()];
    if behind_the_host
        .into_iter()
        .flatten()
        .any(|part| part.contains('@'))
    {
        // The host is then one part of the login, and the path, which errors show, another.
        return Err(
            "it has '@' behind its host; percent-encode '/', '?', '#' and '@' in a login"
                .to_owned(),
        );
    }
    let has_path =
        !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some();
    if has_path && !is_websocket {
        // `nats:/host` names a host `nats`.
        return Err("it has a path behind its host; write '//' before the host".to_owned());
    }
    // Both can fail only for URLs without a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let server = ServerAddr::from_url(url).map_err(|e| e.to_string())?;
    Ok((server, login))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_that_is_none_is_not_quoted() {
        let reason = parse_server("hunter2://me@h").unwrap_err();
        assert!(
            reason.contains("scheme") && !reason.contains("hunter2"),
            "{reason}"
        );
    }

    #[test]
    fn a_password_with_a_slash_is_not_taken_for_a_path_and_shown() {
        for text in [
            "nats://me:12/34@h",
            "nats://me:12?34@h",
            "nats://me:12#34@h",
        ] {
            let reason = parse_server(text).unwrap_err();
            assert!(
                reason.contains("percent-encode") && !reason.contains("34"),
                "{reason}"
            );
        }
        assert!(parse_server("wss://me:12%2F34@h/path?a=b").is_ok());
    }

    // A user's finding: a missing slash made the scheme the host.
    #[test]
    fn path_behind_the_host_is_refused_unless_it_is_a_websockets() {
        for text in [
            "nats:/host:1",
            "tls:/host",
            "host/path",
            "nats://host:4222/path",
            "tls://host?a=b",
            "nats://host#part",
        ] {
            let reason = parse_server(text).unwrap_err();
            assert!(reason.contains("path"), "{text}: {reason}");
        }
        for text in ["nats://host/", "host:4222", "ws://host/path", "wss://h?a=b"] {
            assert!(parse_server(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn reconnecting_stays_within_a_quarter_of_a_second() {
        assert_eq!(reconnect_delay(0), Duration::ZERO);
        assert_eq!(reconnect_delay(1), Duration::ZERO);
        for attempts in [2, 3, 10, usize::MAX] {
            let delay = reconnect_delay(attempts);
            assert!(
                delay > Duration::ZERO && delay <= Duration::from_millis(250),
                "{delay:?}"
            );
        }
    }
}
