//! Reads a body within its limits, its time, and the budget of bytes that all requests share.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::answer::problem::{Kind, Problem};
use crate::protocol::content::Encoding;

/// The unit of the budget.
const UNIT: usize = 1 << 10;

/// The bounds of one body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    pub(crate) bytes: usize,
    pub(crate) decompressed: usize,
    pub(crate) time: Duration,
}

/// Bytes that bodies in flight may have together.
#[derive(Debug)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.div_ceil(UNIT))))
    }

    fn hold(&self) -> Held {
        Held {
            budget: Arc::clone(&self.0),
            permits: None,
            bytes: 0,
        }
    }
}

/// The part of the budget that one request holds. A drop returns it.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Semaphore>,
    permits: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Held {
    /// Grows to `bytes`.
    fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let more = bytes
            .div_ceil(UNIT)
            .saturating_sub(self.bytes.div_ceil(UNIT));
        self.bytes = self.bytes.max(bytes);
        if more == 0 {
            return Ok(());
        }
        let semaphore = Arc::clone(&self.budget);
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let Ok(permits) = semaphore.try_acquire_many_owned(more) else {
            let detail = "the bodies in flight have reached the gateway's budget of bytes";
            return Err(Problem::new(Kind::TooManyRequests, detail));
        };
        match &mut self.permits {
            None => self.permits = Some(permits),
            Some(held) => held.merge(permits),
        }
        Ok(())
    }
}

/// Reads the whole body, and decompresses it.
pub(crate) async fn read(
    mut body: Body,
    headers: &HeaderMap,
    encoding: Encoding,
    limits: BodyLimits,
    budget: &Budget,
) -> Result<(Bytes, Held), Problem> {
    let mut held = budget.hold();
    if let Some(announced) = content_length(headers) {
        check_length(announced, limits.bytes, "body")?;
        held.grow(announced)?;
    }
    let deadline = Instant::now() + limits.time;
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        let Ok(frame) = timeout_at(deadline, body.frame()).await else {
            let detail = format!("the body did not arrive within {:?}", limits.time);
            return Err(Problem::new(Kind::SlowBody, detail));
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| Problem::new(Kind::Malformed, "the body ended early"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        }; // trailers
        let length = first.len() + rest.len() + data.len();
        check_length(length, limits.bytes, "body")?;
        held.grow(length)?;
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
        Encoding::Identity => Ok((read, held)),
        Encoding::Gzip => {
            let text = decompress(&read, limits.decompressed, &mut held)?;
            Ok((text, held))
        }
    }
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn check_length(bytes: usize, limit: usize, what: &str) -> Result<(), Problem> {
    if bytes <= limit {
        return Ok(());
    }
    let detail = format!("the {what} has more than {limit} bytes");
    Err(Problem::new(Kind::TooLarge, detail))
}

/// Decompresses in steps, so that a small body never takes more memory than the limit.
fn decompress(body: &[u8], limit: usize, held: &mut Held) -> Result<Bytes, Problem> {
    let mut decoder = MultiGzDecoder::new(body);
    let mut text = Vec::new();
    let mut step = [0; 16 << 10];
    loop {
        let length = decoder
            .read(&mut step)
            .map_err(|_| Problem::new(Kind::Malformed, "the body is not valid gzip"))?;
        if length == 0 {
            return Ok(text.into());
        }
        check_length(text.len() + length, limit, "decompressed body")?;
        held.grow(body.len() + text.len() + length)?;
        text.extend_from_slice(&step[..length]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use futures_util::stream;
    use std::io::Write as _;

    const LIMITS: BodyLimits = BodyLimits {
        bytes: 100_000,
        decompressed: 200_000,
        time: Duration::from_secs(5),
    };

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    async fn take(
        body: impl Into<Body>,
        encoding: Encoding,
        budget: &Budget,
    ) -> Result<Bytes, Kind> {
        let read = read(body.into(), &HeaderMap::new(), encoding, LIMITS, budget).await;
        read.map(|(bytes, _)| bytes)
            .map_err(|problem| problem.kind())
    }

    fn chunks(count: usize, bytes: usize) -> Body {
        let chunk = Bytes::from(vec![b'x'; bytes]);
        Body::from_stream(stream::iter(
            (0..count).map(move |_| Ok::<_, std::io::Error>(chunk.clone())),
        ))
    }

    #[tokio::test]
    async fn limits_hold_with_and_without_a_content_length() {
        let budget = Budget::new(1 << 20);
        assert_eq!(
            take(chunks(10, 10_000), Encoding::Identity, &budget)
                .await
                .unwrap()
                .len(),
            100_000
        );
        assert_eq!(
            take(chunks(11, 10_000), Encoding::Identity, &budget).await,
            Err(Kind::TooLarge)
        );
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, 100_001.into());
        // Refused before anything is read.
        let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let result = read(never, &headers, Encoding::Identity, LIMITS, &budget).await;
        assert_eq!(result.unwrap_err().kind(), Kind::TooLarge);
    }

    #[tokio::test]
    async fn bomb_ends_at_the_limit_and_gzip_is_decoded() {
        let budget = Budget::new(1 << 20);
        let text = vec![b'a'; 200_000];
        assert_eq!(
            take(gzip(&text), Encoding::Gzip, &budget).await.unwrap(),
            text
        );
        assert_eq!(
            take(gzip(&vec![0; 10 << 20]), Encoding::Gzip, &budget).await,
            Err(Kind::TooLarge)
        );
        assert_eq!(
            take("not gzip", Encoding::Gzip, &budget).await,
            Err(Kind::Malformed)
        );
        let cut = &gzip(b"text")[..12];
        assert_eq!(
            take(cut.to_vec(), Encoding::Gzip, &budget).await,
            Err(Kind::Malformed)
        );
    }

    #[tokio::test]
    async fn bodies_share_the_budget_and_return_it() {
        let budget = Budget::new(64 << 10);
        let one = read(
            chunks(1, 60_000),
            &HeaderMap::new(),
            Encoding::Identity,
            LIMITS,
            &budget,
        )
        .await
        .unwrap();
        assert_eq!(
            take(chunks(1, 10_000), Encoding::Identity, &budget).await,
            Err(Kind::TooManyRequests)
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
            Err(Kind::TooManyRequests)
        );
        assert!(
            take(chunks(1, 60_000), Encoding::Identity, &budget)
                .await
                .is_ok()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn slow_body_ends_by_its_time_however_it_trickles() {
        let budget = Budget::new(1 << 20);
        let trickle = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        });
        let started = Instant::now();
        let result = take(Body::from_stream(trickle), Encoding::Identity, &budget).await;
        assert_eq!(result, Err(Kind::SlowBody));
        assert_eq!(started.elapsed(), LIMITS.time);
    }
}
