//! Reads the body of a review, within the limit on the bytes of all request bodies.

use axum::body::{Body, BodyDataStream};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use http::{StatusCode, header};

use super::LARGEST_REVIEW;
use crate::connections::{Evicted, HeldBytes};

/// The largest body that is accepted at all, in bytes. The API server sends less: etcd stores objects up to
/// 1.5 MiB (`--max-request-bytes`), as protobuf, and JSON writes one byte of that as at most six (`\u003c`).
const LONGEST_BODY: usize = 16 << 20;

/// How many bytes of a body that is too large are kept for the answer: the API server writes the uid first.
const BEGINNING: usize = 4 << 10;

/// The first allocation for a body, in bytes. The second one is for all of its Content-Length, so that
/// several waiting requests do not each hold one half of a body.
const FIRST_CAPACITY: usize = 64 << 10;

#[derive(Debug)]
pub(super) enum ReceivedBody {
    Complete(Vec<u8>),
    /// The beginning of a body above [`LARGEST_REVIEW`].
    TooLarge(Vec<u8>),
}

#[derive(Debug)]
pub(super) enum BodyError {
    /// The body is longer than [`LONGEST_BODY`].
    TooLong,
    /// The client closed the connection or broke the framing of HTTP.
    Broken,
    /// Other requests needed the memory.
    Evicted,
}

/// Reads a body to its end; `held_bytes` accounts for its bytes.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    held_bytes: &mut HeldBytes<'_>,
) -> Result<ReceivedBody, BodyError> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > LONGEST_BODY) {
        return Err(BodyError::TooLong);
    }
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| BodyError::Broken)?;
        let size = bytes.len() + chunk.len();
        if size > LARGEST_REVIEW {
            bytes.truncate(BEGINNING);
            bytes.shrink_to_fit();
            held_bytes.shrink_to(bytes.capacity());
            skip(chunks, size).await?;
            held_bytes.mark_complete();
            return Ok(ReceivedBody::TooLarge(bytes));
        }
        if size > bytes.capacity() {
            let capacity = capacity(bytes.capacity(), size, length);
            held_bytes.grow(capacity - bytes.capacity()).await?;
            bytes.reserve_exact(capacity - bytes.len());
        }
        bytes.extend_from_slice(&chunk);
    }
    held_bytes.mark_complete();
    Ok(ReceivedBody::Complete(bytes))
}

/// Reads the rest and discards it: a client that is still sending may not read the response. `size` bytes
/// were read before.
async fn skip(mut chunks: BodyDataStream, mut size: usize) -> Result<(), BodyError> {
    while let Some(chunk) = chunks.next().await {
        size += chunk.map_err(|_| BodyError::Broken)?.len();
        if size > LONGEST_BODY {
            return Err(BodyError::TooLong);
        }
    }
    Ok(())
}

/// The new capacity of a body that has no room for `wanted` bytes.
fn capacity(current: usize, wanted: usize, length: Option<usize>) -> usize {
    let all = length.unwrap_or(LARGEST_REVIEW).min(LARGEST_REVIEW);
    if current == 0 { all.min(FIRST_CAPACITY).max(wanted) } else { all.max(wanted) }
}

impl From<Evicted> for BodyError {
    fn from(_: Evicted) -> Self {
        Self::Evicted
    }
}

impl IntoResponse for BodyError {
    fn into_response(self) -> Response {
        match self {
            Self::TooLong => {
                (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large for an admission review\n")
            }
            Self::Broken => (StatusCode::BAD_REQUEST, "cannot read the request body\n"),
            Self::Evicted => (StatusCode::SERVICE_UNAVAILABLE, "too many unfinished requests\n"),
        }
        .into_response()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::stream;

    use super::*;
    use crate::connections::{Connections, Limits};
    use crate::metrics::Metrics;

    fn read_in_chunks(chunk: &'static [u8], chunks: usize) -> Result<ReceivedBody, BodyError> {
        let chunks = stream::iter((0..chunks).map(move |_| Ok::<_, std::io::Error>(chunk)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let limits = Limits { connections: 1, bytes: 2 * LARGEST_REVIEW };
            let connections = Connections::new(limits, Arc::new(Metrics::default()));
            let slot = connections.admit([10, 0, 0, 1].into(), None).await;
            read(&HeaderMap::new(), Body::from_stream(chunks), &mut slot.begin_request()).await
        })
    }

    #[test]
    fn a_body_of_one_byte_chunks_takes_as_much_memory_as_it_has_bytes() {
        let mut received = None;
        let allocated = allocation_counter::measure(|| received = Some(read_in_chunks(b" ", 200_000)));
        assert!(matches!(received, Some(Ok(ReceivedBody::Complete(bytes))) if bytes.len() == 200_000));
        assert!(allocated.bytes_max < 2 * LARGEST_REVIEW as u64, "{} bytes", allocated.bytes_max);
    }

    #[test]
    fn oversized_body_is_truncated_and_endless_body_is_rejected() {
        const CHUNK: &[u8] = &[b' '; 1 << 10];
        let received = read_in_chunks(CHUNK, LARGEST_REVIEW / CHUNK.len() + 1);
        assert!(matches!(received, Ok(ReceivedBody::TooLarge(beginning)) if beginning.len() == BEGINNING));
        let received = read_in_chunks(CHUNK, LONGEST_BODY / CHUNK.len() + 1);
        assert!(matches!(received, Err(BodyError::TooLong)));
    }

    #[test]
    fn body_buffer_starts_small_then_grows_to_content_length() {
        let length = 1 << 20;
        for (current, wanted, length, expected) in [
            (0, 100, Some(8_000), 8_000),
            (0, 100, None, FIRST_CAPACITY),
            (0, 100, Some(length), FIRST_CAPACITY),
            (FIRST_CAPACITY, FIRST_CAPACITY + 1, Some(length), length),
            (FIRST_CAPACITY, FIRST_CAPACITY + 1, None, LARGEST_REVIEW),
            (FIRST_CAPACITY, FIRST_CAPACITY + 1, Some(10 * LARGEST_REVIEW), LARGEST_REVIEW),
            (0, 100, Some(50), 100),
        ] {
            assert_eq!(capacity(current, wanted, length), expected, "{current} {wanted} {length:?}");
        }
    }
}
