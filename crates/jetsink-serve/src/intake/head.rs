//! The head of a request: its bytes, and its `Host`.

use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Version};

use crate::answer::problem::{Problem, ProblemKind};

/// Bytes of a header beside name and value: `: ` and the end of the line.
const BESIDE: usize = 4;

/// Checks a head that the server has parsed. Its buffer holds more than `max_bytes` if they arrive at once.
pub(crate) fn check(request: &Parts, max_bytes: usize) -> Result<(), Problem> {
    let target = request.uri.path_and_query();
    let target = target.map_or(0, |target| target.as_str().len());
    if target + bytes(&request.headers) > max_bytes {
        let detail = format!("the headers have more than {max_bytes} bytes");
        return Err(Problem::new(ProblemKind::HeadersTooLarge, detail));
    }
    let hosts = || request.headers.get_all(HOST).iter().count();
    if request.version == Version::HTTP_11 && hosts() != 1 {
        let detail = "a request of HTTP/1.1 needs one Host header (RFC 9112, section 3.2)";
        return Err(Problem::new(ProblemKind::Malformed, detail));
    }
    Ok(())
}

fn bytes(headers: &HeaderMap) -> usize {
    let lines = headers.iter();
    lines
        .map(|(name, value)| name.as_str().len() + value.len() + BESIDE)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn kind(version: Version, headers: &[(&str, &str)]) -> Option<ProblemKind> {
        let mut request = Request::builder().uri("/path").version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        check(&parts, 100).err().map(|problem| problem.kind())
    }

    #[test]
    fn bytes_of_target_names_and_values_are_bounded() {
        let host = ("host", "localhost");
        // 5 + 17 + 5 + 73
        let value = "x".repeat(73);
        assert_eq!(kind(Version::HTTP_11, &[host, ("a", &value)]), None);
        let long = value + "x";
        let too_large = Some(ProblemKind::HeadersTooLarge);
        assert_eq!(kind(Version::HTTP_11, &[host, ("a", &long)]), too_large);
        let half = &long[..35];
        let twice = [host, ("a", half), ("a", half)];
        assert_eq!(kind(Version::HTTP_11, &twice), too_large);
    }

    #[test]
    fn request_of_http_1_1_has_one_host() {
        let (one, other) = (("host", "a"), ("host", "b"));
        assert_eq!(kind(Version::HTTP_11, &[one]), None);
        for hosts in [&[][..], &[one, other], &[one, one]] {
            assert_eq!(kind(Version::HTTP_11, hosts), Some(ProblemKind::Malformed));
        }
        for version in [Version::HTTP_10, Version::HTTP_2] {
            assert_eq!(kind(version, &[]), None, "{version:?}");
        }
    }
}
