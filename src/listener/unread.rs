//! Requests whose body was not read to its end.
//!
//! A refusal needs no body. On HTTP/1.1 the rest of it then stands in the way of the next request, so
//! the connection has to end, and the client must be told: one that is not would send its next request
//! into a connection that is being closed, and could not know whether it was taken.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};

/// A body, and whether it was read to its end.
pub(super) struct Watched<B> {
    inner: B,
    mark: Mark,
}

/// Tells whether the body that it belongs to was read to its end.
#[derive(Clone)]
pub(super) struct Mark(Arc<AtomicBool>);

impl<B: Body> Watched<B> {
    pub(super) fn new(inner: B) -> (Self, Mark) {
        let mark = Mark(Arc::new(AtomicBool::new(inner.is_end_stream())));
        let watched = Self {
            inner,
            mark: mark.clone(),
        };
        (watched, mark)
    }
}

impl Mark {
    /// `response`, which ends the connection if the body is in the way of the next request.
    pub(super) fn heeded<T>(&self, version: Version, mut response: Response<T>) -> Response<T> {
        let shared =
            version < Version::HTTP_2 && response.status() != StatusCode::SWITCHING_PROTOCOLS;
        if shared && !self.0.load(Ordering::Acquire) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        response
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.inner.is_end_stream() {
            self.mark.0.store(true, Ordering::Release);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Empty, Full};

    use super::*;

    fn closes(mark: &Mark, version: Version) -> bool {
        let response = mark.heeded(version, Response::new(()));
        response.headers().get(CONNECTION).is_some()
    }

    #[tokio::test]
    async fn a_connection_ends_only_after_a_body_that_was_not_read() {
        let (body, mark) = Watched::new(Full::new(Bytes::from("{}")));
        assert!(closes(&mark, Version::HTTP_11));
        assert!(!closes(&mark, Version::HTTP_2));
        body.collect().await.unwrap();
        assert!(!closes(&mark, Version::HTTP_11));

        let (_, mark) = Watched::new(Empty::<bytes::Bytes>::new());
        assert!(!closes(&mark, Version::HTTP_11));
    }
}
