//! Reads a body within its limits, its time, and the budget of bytes that all requests share.

use std::error::Error;
use std::io::{self, Read as _};
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::time::{Instant, timeout_at};

use super::shares::Share;
use crate::answer::problem::{Problem, ProblemKind};
use crate::protocol::content::Encoding;

/// The bounds of one body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    pub(crate) bytes: usize,
    pub(crate) decompressed: usize,
    pub(crate) time: Duration,
}

impl BodyLimits {
    /// The limits for a client that does not wait longer than `deadline`.
    pub(crate) fn within(self, deadline: Option<Duration>) -> Self {
        Self {
            time: deadline.map_or(self.time, |deadline| deadline.min(self.time)),
            ..self
        }
    }
}

/// Why a body was not read.
#[derive(Debug)]
pub(crate) enum BodyError {
    Problem(Problem),
    /// The client closed or reset its connection or stream.
    ClientGone,
}

impl From<Problem> for BodyError {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// Takes bytes as they arrive: a length that a client announces takes none.
fn hold(held: &mut Share, bytes: usize) -> Result<(), Problem> {
    if held.add(bytes) {
        return Ok(());
    }
    let detail = "the bodies in flight have reached the gateway's budget of bytes, or the half of it that one credential, or all senders without one, can have";
    Err(Problem::new(ProblemKind::TooManyRequests, detail))
}

/// Reads the whole body by the deadline, and decompresses it. `held` takes the bytes of both.
pub(crate) async fn read<B>(
    mut body: B,
    encoding: Encoding,
    limits: BodyLimits,
    deadline: Instant,
    held: &mut Share,
) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes, Error: Error + 'static> + Unpin,
{
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while !body.is_end_stream() {
        let Ok(frame) = timeout_at(deadline, body.frame()).await else {
            let detail = format!("the body did not arrive within {:?}", limits.time);
            return Err(Problem::new(ProblemKind::SlowBody, detail).into());
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| of_transfer(&error))?;
        let Ok(data) = frame.into_data() else {
            continue;
        }; // trailers
        let length = first.len() + rest.len() + data.len();
        check_length(length, limits.bytes, "body")?;
        hold(held, data.len())?;
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    let mut read = first;
    if !rest.is_empty() {
        let mut joined = BytesMut::with_capacity(read.len() + rest.len());
        joined.extend_from_slice(&read);
        joined.extend_from_slice(&rest);
        read = joined.freeze();
    }
    match encoding {
        Encoding::Identity => Ok(read),
        Encoding::Gzip => Ok(decompress(&read, limits.decompressed, held)?),
    }
}

/// Only a wrong transfer coding is the request's fault. hyper reports it as invalid input or data.
fn of_transfer(error: &(dyn Error + 'static)) -> BodyError {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    let is_invalid = causes.any(|cause| {
        let kind = cause.downcast_ref().map(io::Error::kind);
        matches!(
            kind,
            Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
        )
    });
    match is_invalid {
        true => Problem::new(
            ProblemKind::Malformed,
            "the body's transfer coding is invalid",
        )
        .into(),
        false => BodyError::ClientGone,
    }
}

/// Refuses a body that its headers announce as too large.
pub(crate) fn check_announced(headers: &HeaderMap, limits: BodyLimits) -> Result<(), Problem> {
    let announced = content_length(headers);
    announced.map_or(Ok(()), |bytes| check_length(bytes, limits.bytes, "body"))
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn check_length(bytes: usize, limit: usize, what: &str) -> Result<(), Problem> {
    if bytes <= limit {
        return Ok(());
    }
    let detail = format!("the {what} has more than {limit} bytes");
    Err(Problem::new(ProblemKind::TooLarge, detail))
}

/// Decompresses in steps, so that a small body never takes more memory than the limit.
fn decompress(body: &[u8], limit: usize, held: &mut Share) -> Result<Bytes, Problem> {
    let mut decoder = MultiGzDecoder::new(body);
    let mut text = Vec::new();
    let mut step = [0; 16 << 10];
    loop {
        let length = decoder
            .read(&mut step)
            .map_err(|_| Problem::new(ProblemKind::Malformed, "the body is not valid gzip"))?;
        if length == 0 {
            return Ok(text.into());
        }
        check_length(text.len() + length, limit, "decompressed body")?;
        hold(held, length)?;
        text.extend_from_slice(&step[..length]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use futures_util::{StreamExt as _, stream};
    use std::io::Write as _;
    use std::sync::Arc;

    use crate::intake::shares::Shares;

    const LIMITS: BodyLimits = BodyLimits {
        bytes: 100_000,
        decompressed: 200_000,
        time: Duration::from_secs(5),
    };

    fn soon() -> Instant {
        Instant::now() + LIMITS.time
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn kind_of(error: BodyError) -> ProblemKind {
        match error {
            BodyError::Problem(problem) => problem.kind(),
            BodyError::ClientGone => panic!("the client is there"),
        }
    }

    async fn take(
        body: impl Into<Body>,
        encoding: Encoding,
        budget: &Arc<Shares>,
    ) -> Result<Bytes, ProblemKind> {
        let mut held = budget.empty(None);
        let read = read(body.into(), encoding, LIMITS, soon(), &mut held).await;
        read.map_err(kind_of)
    }

    fn chunks(count: usize, bytes: usize) -> Body {
        let chunk = Bytes::from(vec![b'x'; bytes]);
        Body::from_stream(stream::iter(
            (0..count).map(move |_| Ok::<_, std::io::Error>(chunk.clone())),
        ))
    }

    #[tokio::test]
    async fn limits_hold_with_and_without_a_content_length() {
        let budget = Shares::new(1 << 20);
        assert_eq!(
            take(chunks(10, 10_000), Encoding::Identity, &budget)
                .await
                .unwrap()
                .len(),
            100_000
        );
        assert_eq!(
            take(chunks(11, 10_000), Encoding::Identity, &budget).await,
            Err(ProblemKind::TooLarge)
        );
        let mut headers = HeaderMap::new();
        check_announced(&headers, LIMITS).unwrap();
        headers.insert(CONTENT_LENGTH, 100_000.into());
        check_announced(&headers, LIMITS).unwrap();
        headers.insert(CONTENT_LENGTH, 100_001.into());
        let problem = check_announced(&headers, LIMITS).unwrap_err();
        assert_eq!(problem.kind(), ProblemKind::TooLarge);
    }

    #[tokio::test]
    async fn bomb_ends_at_the_limit_and_gzip_is_decoded() {
        let budget = Shares::new(1 << 20);
        let text = vec![b'a'; 200_000];
        assert_eq!(
            take(gzip(&text), Encoding::Gzip, &budget).await.unwrap(),
            text
        );
        assert_eq!(
            take(gzip(&vec![0; 10 << 20]), Encoding::Gzip, &budget).await,
            Err(ProblemKind::TooLarge)
        );
        assert_eq!(
            take("not gzip", Encoding::Gzip, &budget).await,
            Err(ProblemKind::Malformed)
        );
        let cut = &gzip(b"text")[..12];
        assert_eq!(
            take(cut.to_vec(), Encoding::Gzip, &budget).await,
            Err(ProblemKind::Malformed)
        );
    }

    #[tokio::test]
    async fn bodies_share_the_budget_and_return_it() {
        let budget = Shares::new(64 << 10);
        let mut one = budget.empty(None);
        let body = chunks(1, 60_000);
        read(body, Encoding::Identity, LIMITS, soon(), &mut one)
            .await
            .unwrap();
        assert_eq!(
            take(chunks(1, 10_000), Encoding::Identity, &budget).await,
            Err(ProblemKind::TooManyRequests)
        );
        drop(one);
        assert!(
            take(chunks(1, 10_000), Encoding::Identity, &budget)
                .await
                .is_ok()
        );
        // The decompressed form counts as well.
        assert_eq!(
            take(gzip(&[0; 100_000]), Encoding::Gzip, &budget).await,
            Err(ProblemKind::TooManyRequests)
        );
        assert!(
            take(chunks(1, 60_000), Encoding::Identity, &budget)
                .await
                .is_ok()
        );
    }

    // A reviewer's finding: 1,000 clients that announced 1 MB each and sent nothing starved all others.
    #[tokio::test(start_paused = true)]
    async fn slow_body_takes_only_the_bytes_that_arrived() {
        let budget = Shares::new(64 << 10);
        let one = Body::from_stream(
            stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"x"))])
                .chain(stream::pending()),
        );
        let mut held = budget.empty(None);
        let slow = read(one, Encoding::Identity, LIMITS, soon(), &mut held);
        let others = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            take(chunks(1, 60_000), Encoding::Identity, &budget).await
        };
        let (slow, others) = tokio::join!(slow, others);
        assert_eq!(others.unwrap().len(), 60_000);
        assert_eq!(kind_of(slow.unwrap_err()), ProblemKind::SlowBody);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_body_ends_by_its_time_however_it_trickles() {
        let budget = Shares::new(1 << 20);
        let trickle = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        });
        let started = Instant::now();
        let result = take(Body::from_stream(trickle), Encoding::Identity, &budget).await;
        assert_eq!(result, Err(ProblemKind::SlowBody));
        assert_eq!(started.elapsed(), LIMITS.time);
    }
}
