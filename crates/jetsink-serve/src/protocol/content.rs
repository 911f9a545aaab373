//! The content mode and the encoding of a request, from its headers.

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use crate::answer::problem::{Problem, ProblemKind};

/// The prefix of the headers of attributes.
pub(crate) const ATTRIBUTE: &str = "ce-";

const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json";

/// The start of the media types of all event formats.
const FORMATS: &str = "application/cloudevents";

/// The content mode of a request (HTTP binding 1.0.2, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Binary,
    Structured,
    Batched,
}

/// The encoding of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
}

impl Mode {
    /// Media types compare without regard to case.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let (first, second) = (types.next(), types.next());
        if second.is_some() {
            return Err(Problem::new(
                ProblemKind::Malformed,
                "the request has two Content-Type headers",
            ));
        }
        let content_type = match first.map(|value| value.to_str()) {
            None => "",
            Some(Ok(text)) => text,
            Some(Err(_)) => {
                let detail = "the Content-Type header is not visible ASCII";
                return Err(Problem::new(ProblemKind::Malformed, detail));
            }
        };
        let (media_type, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        let media_type = media_type.trim();
        if media_type.eq_ignore_ascii_case(STRUCTURED) {
            utf8(parameters).map(|()| Self::Structured)
        } else if media_type.eq_ignore_ascii_case(BATCHED) {
            utf8(parameters).map(|()| Self::Batched)
        } else if has_prefix(media_type, FORMATS) || !has_attributes(headers) {
            Err(unsupported())
        } else {
            Ok(Self::Binary)
        }
    }
}

fn has_prefix(text: &str, prefix: &str) -> bool {
    let start = text.get(..prefix.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn has_attributes(headers: &HeaderMap) -> bool {
    headers
        .keys()
        .any(|name| name.as_str().starts_with(ATTRIBUTE))
}

fn unsupported() -> Problem {
    Problem::new(
        ProblemKind::UnsupportedMediaType,
        "send application/cloudevents+json, application/cloudevents-batch+json, or ce-* headers with any data",
    )
}

/// JSON is UTF-8; another charset is refused and not ignored.
fn utf8(parameters: &str) -> Result<(), Problem> {
    let mut parameters = parameters.split(';');
    let is_other = parameters.any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, "utf-8"));
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("charset")
            && !value.eq_ignore_ascii_case("utf-8")
            && !value.eq_ignore_ascii_case("utf8")
            && !value.eq_ignore_ascii_case("us-ascii")
    });
    if is_other {
        return Err(Problem::new(
            ProblemKind::UnsupportedMediaType,
            "send events as UTF-8",
        ));
    }
    Ok(())
}

impl Encoding {
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut encoding = Self::Identity;
        let values = headers.get_all(CONTENT_ENCODING).iter();
        let values = values.flat_map(|value| value.to_str().unwrap_or("?").split(','));
        for value in values.map(str::trim) {
            encoding = match (value.to_ascii_lowercase().as_str(), encoding) {
                ("identity" | "", encoding) => encoding,
                ("gzip" | "x-gzip", Self::Identity) => Self::Gzip,
                _ => {
                    let detail = "send the body as it is, or compressed once by gzip";
                    return Err(Problem::new(ProblemKind::UnsupportedEncoding, detail));
                }
            };
        }
        Ok(encoding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(headers: &[(&'static str, &str)]) -> Result<Mode, ProblemKind> {
        Mode::of(&map(headers)).map_err(|problem| problem.kind())
    }

    fn map(headers: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn content_type_decides_and_otherwise_the_attributes() {
        let structured = "application/cloudevents+json";
        let of = |content_type| mode(&[("content-type", content_type)]);
        assert_eq!(of(structured), Ok(Mode::Structured));
        assert_eq!(
            of("Application/CloudEvents+JSON; Charset=UTF-8"),
            Ok(Mode::Structured)
        );
        assert_eq!(of("application/cloudevents-batch+json"), Ok(Mode::Batched));
        assert_eq!(
            of("application/cloudevents+xml"),
            Err(ProblemKind::UnsupportedMediaType)
        );
        assert_eq!(
            of("application/cloudevents+json;charset=utf-16"),
            Err(ProblemKind::UnsupportedMediaType)
        );
        assert_eq!(
            of("application/json"),
            Err(ProblemKind::UnsupportedMediaType)
        );
        assert_eq!(mode(&[]), Err(ProblemKind::UnsupportedMediaType));
        assert_eq!(mode(&[("ce-id", "1")]), Ok(Mode::Binary));
        assert_eq!(
            mode(&[("ce-id", "1"), ("content-type", "text/plain")]),
            Ok(Mode::Binary)
        );
        assert_eq!(
            mode(&[("ce-id", "1"), ("content-type", structured)]),
            Ok(Mode::Structured)
        );
        let twice = [("content-type", structured), ("content-type", structured)];
        assert_eq!(mode(&twice), Err(ProblemKind::Malformed));
    }

    #[test]
    fn only_gzip_is_decoded_and_only_once() {
        let of = |value| Encoding::of(&map(&[("content-encoding", value)])).map_err(|p| p.kind());
        assert_eq!(
            Encoding::of(&HeaderMap::new()).ok(),
            Some(Encoding::Identity)
        );
        assert_eq!(of("identity"), Ok(Encoding::Identity));
        assert_eq!(of("GZIP"), Ok(Encoding::Gzip));
        for refused in ["br", "gzip, gzip", "gzip, br", "deflate"] {
            assert_eq!(
                of(refused),
                Err(ProblemKind::UnsupportedEncoding),
                "{refused}"
            );
        }
    }
}
