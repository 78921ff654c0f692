//! The one body type of requests and answers, and how to make and read one.
//!
//! In: bytes, or any HTTP body. Out: [`Body`]. What is read as a whole is read up to a limit; what
//! is longer is refused, never cut short.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};

/// Any error of a body: the transport's, or of whoever makes the body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body of any origin. Frames (data, then trailers) pass through it one by one.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// How long a body that is read as a whole may take to come.
const WITHIN: Duration = Duration::from_mins(1);

/// Why a body could not be read as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The body broke off.
    #[error("the body could not be read")]
    Read(#[source] BoxError),
    /// The body is longer than what is accepted here.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
}

/// A body of nothing.
#[must_use]
pub fn empty() -> Body {
    boxed(Empty::new())
}

/// A body of `bytes`.
#[must_use]
pub fn full(bytes: impl Into<Bytes>) -> Body {
    boxed(Full::new(bytes.into()))
}

/// `body` as a [`Body`]; its frames are not touched.
pub fn boxed<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// All data of `body`; trailers are dropped.
///
/// # Errors
/// [`Error::TooLarge`] as soon as more than `limit` bytes came, [`Error::Read`] when it broke off or took longer
/// than a minute.
pub async fn collect(body: Body, limit: usize) -> Result<Bytes, Error> {
    in_time(all(body, limit)).await
}

/// SECURITY: whoever is asked about was verified before the body came; a body that waits must not carry a
/// credential of then.
async fn in_time<T>(read: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let read = tokio::time::timeout(WITHIN, read).await;
    read.unwrap_or_else(|_| Err(Error::Read("it took longer than a minute".into())))
}

async fn all(mut body: Body, limit: usize) -> Result<Bytes, Error> {
    let mut collected = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(Error::Read)?.into_data() {
            if data.len() > limit - collected.len() {
                return Err(Error::TooLarge { limit });
            }
            collected.extend_from_slice(&data);
        }
    }
    Ok(collected.freeze())
}

/// The first `size(bytes)` bytes of `body`, as soon as they have come, and the rest as it comes.
/// `size` is asked with what has come so far, until it knows.
///
/// # Errors
/// [`Error::TooLarge`] when that is more than `limit` bytes, [`Error::Read`] when the body broke off or they took
/// longer than a minute. A body that ends before is given as far as it came.
pub async fn head(
    body: Body,
    limit: usize,
    size: impl Fn(&[u8]) -> Option<usize>,
) -> Result<(Bytes, Body), Error> {
    in_time(first(body, limit, size)).await
}

async fn first(
    mut body: Body,
    limit: usize,
    size: impl Fn(&[u8]) -> Option<usize>,
) -> Result<(Bytes, Body), Error> {
    let mut collected = BytesMut::new();
    loop {
        match size(&collected) {
            Some(size) if size > limit => return Err(Error::TooLarge { limit }),
            Some(size) if collected.len() >= size => {
                let first = collected.split_to(size).freeze();
                return Ok((first, chain(collected.freeze(), body)));
            }
            _ => {}
        }
        match body.frame().await {
            None => return Ok((collected.freeze(), empty())),
            Some(frame) => {
                if let Ok(data) = frame.map_err(Error::Read)?.into_data() {
                    collected.extend_from_slice(&data);
                }
            }
        }
    }
}

/// `first`, then all of `rest`.
pub fn chain(first: impl Into<Bytes>, rest: Body) -> Body {
    let first = futures_util::stream::iter([Ok(Frame::data(first.into()))]);
    let rest = rest.into_data_stream().map_ok(Frame::data);
    boxed(StreamBody::new(first.chain(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_read_up_to_the_limit_and_refused_beyond_it() {
        assert_eq!(collect(full("12345"), 5).await.unwrap(), "12345");
        let refused = collect(full("123456"), 5).await.unwrap_err();
        assert_eq!(refused.to_string(), "the body is larger than 5 bytes");
    }

    #[tokio::test]
    async fn the_first_bytes_are_given_before_the_rest_has_come() {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(4);
        let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
            let bytes = receiver.recv().await?;
            Some((Ok::<_, BoxError>(Frame::data(bytes)), receiver))
        });
        let body = boxed(StreamBody::new(stream));
        let five = |bytes: &[u8]| (bytes.len() >= 2).then_some(5);
        sender.send("123".into()).await.unwrap();
        sender.send("4567".into()).await.unwrap();
        let (first, rest) = head(body, 10, five).await.unwrap();
        assert_eq!(first, "12345");
        sender.send("89".into()).await.unwrap();
        drop(sender);
        assert_eq!(collect(rest, 10).await.unwrap(), "6789");
    }

    #[tokio::test]
    async fn a_body_that_ends_early_is_given_as_it_is_and_a_large_one_refused() {
        let (first, rest) = head(full("12"), 10, |_| Some(5)).await.unwrap();
        assert_eq!(
            (first, collect(rest, 10).await.unwrap()),
            ("12".into(), "".into())
        );
        assert!(matches!(
            head(full("12"), 4, |_| Some(5)).await,
            Err(Error::TooLarge { limit: 4 })
        ));
    }
}
