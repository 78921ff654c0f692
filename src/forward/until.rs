//! Streams that end when their caller may not go on.
//!
//! In: the answer of an upstream, and a future that says when and why it has to end. Out: the answer until
//! then. A gRPC call is told so in its trailers (`Unauthenticated`); every other answer breaks off, since its
//! form has no place for it. Whoever sends the rest of the answer sees the call cancelled.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body as _, Frame, SizeHint};

use crate::body::{self, Body, BoxError};

/// Resolves when a stream has to end, with what its caller is told: one line of printable ASCII without `%`.
pub type Until = Pin<Box<dyn Future<Output = String> + Send>>;

/// Why an answer broke off.
#[derive(Debug, thiserror::Error)]
#[error("the answer was ended: {0}")]
struct Ended(String);

/// `answer`, until it has to end; told in trailers with `grpc`.
pub(crate) fn until(answer: Body, until: Option<Until>, grpc: bool) -> Body {
    match until {
        Some(until) if !answer.is_end_stream() => body::boxed(Bounded {
            answer: Some(answer),
            until,
            grpc,
        }),
        _ => answer,
    }
}

struct Bounded {
    /// Absent once it was ended.
    answer: Option<Body>,
    until: Until,
    grpc: bool,
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let Some(answer) = &mut this.answer else {
            return Poll::Ready(None);
        };
        let Poll::Ready(sentence) = this.until.as_mut().poll(context) else {
            let frame = ready!(Pin::new(answer).poll_frame(context));
            if frame.is_none() {
                this.answer = None;
            }
            return Poll::Ready(frame);
        };
        this.answer = None;
        if !this.grpc {
            return Poll::Ready(Some(Err(Ended(sentence).into())));
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("16"));
        if let Ok(message) = HeaderValue::try_from(sentence) {
            trailers.insert("grpc-message", message);
        }
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.answer.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        // It may end before.
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn endless() -> Body {
        let frames = futures_util::stream::pending::<Result<Frame<Bytes>, BoxError>>();
        body::boxed(http_body_util::StreamBody::new(frames))
    }

    fn now() -> Until {
        Box::pin(std::future::ready("sign in again".to_owned()))
    }

    #[tokio::test]
    async fn an_answer_ends_in_the_form_of_its_wire() {
        let mut grpc = until(endless(), Some(now()), true);
        let last = grpc.frame().await.unwrap().unwrap();
        let trailers = last.into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "16");
        assert_eq!(trailers["grpc-message"], "sign in again");
        assert!(grpc.frame().await.is_none());
        let mut rest = until(endless(), Some(now()), false);
        let broken = rest.frame().await.unwrap().unwrap_err();
        assert_eq!(broken.to_string(), "the answer was ended: sign in again");
        assert!(rest.frame().await.is_none());
    }

    #[tokio::test]
    async fn an_answer_that_is_over_before_stays_whole() {
        let never: Until = Box::pin(std::future::pending());
        let whole = until(body::full("all of it"), Some(never), true);
        let whole = whole.collect().await.unwrap();
        assert_eq!(whole.to_bytes(), "all of it");
        assert!(until(body::empty(), Some(now()), true).is_end_stream());
    }
}
