//! The host that a request names, on a loopback address.
//!
//! A web page can send requests to its reader's loopback by a name that resolves to 127.0.0.1 (DNS rebinding). Such a
//! request names the page's host. Before HTTP/1.1 a request may name none; no browser sends such a request.

use std::net::IpAddr;

use axum::http::Version;
use axum::http::header::HOST;
use axum::http::request::Parts;

use crate::answer::problem::{Problem, ProblemKind};

/// Checks the host of a request that came in by loopback. `others` are further names of this host.
pub(crate) fn check(request: &Parts, others: &[String]) -> Result<(), Problem> {
    let mut headers = request.headers.get_all(HOST).iter();
    let header = headers.next().map(|value| value.to_str().unwrap_or("?"));
    let named = request.uri.authority().map(|authority| authority.as_str());
    let is_ours = |authority: &str| is_local(host_of(authority), others);
    let has_name = header.is_some() || named.is_some() || request.version <= Version::HTTP_10;
    if has_name && headers.next().is_none() && named.into_iter().chain(header).all(is_ours) {
        return Ok(());
    }
    let detail =
        "the Host header must name localhost or a loopback address; --allow-host adds a name";
    Err(Problem::new(ProblemKind::WrongHost, detail))
}

fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    match authority.rsplit_once(':') {
        Some((host, _)) => host,
        None => authority,
    }
}

fn is_local(host: &str, others: &[String]) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
        || others.iter().any(|other| other.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn is_accepted(uri: &str, hosts: &[&str]) -> bool {
        is_accepted_by(Version::HTTP_11, uri, hosts)
    }

    fn is_accepted_by(version: Version, uri: &str, hosts: &[&str]) -> bool {
        let mut request = Request::builder().uri(uri).version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        check(&parts, &["gateway.local".to_owned()]).is_ok()
    }

    #[test]
    fn only_names_of_this_host_are_accepted() {
        for host in [
            "localhost",
            "LOCALHOST:80",
            "127.0.0.1",
            "127.1.2.3:1",
            "[::1]:8080",
            "localhost.",
            "gateway.local:1",
        ] {
            assert!(is_accepted("/", &[host]), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "[::2]",
            "",
            "127.0.0.1.evil.example",
            "a@localhost",
        ] {
            assert!(!is_accepted("/", &[host]), "{host}");
        }
        for (version, accepted) in [
            (Version::HTTP_09, true),
            (Version::HTTP_10, true),
            (Version::HTTP_11, false),
            (Version::HTTP_2, false),
        ] {
            assert_eq!(is_accepted_by(version, "/", &[]), accepted, "{version:?}");
        }
        assert!(is_accepted_by(Version::HTTP_2, "https://localhost/", &[]));
        assert!(!is_accepted("/", &["localhost", "evil.example"]));
        assert!(!is_accepted("http://evil.example/", &["localhost"]));
        assert!(!is_accepted("http://localhost/", &["evil.example"]));
    }
}
