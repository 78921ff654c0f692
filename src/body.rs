//! The one body type of requests and answers, and how to make and read one.
//!
//! In: bytes, or any HTTP body. Out: [`Body`]. What is read as a whole is read up to a limit; what
//! is longer is refused, never cut short.

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};

/// Any error of a body: the transport's, or of whoever makes the body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body of any origin. Frames (data, then trailers) pass through it one by one.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

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
/// [`Error::TooLarge`] as soon as more than `limit` bytes came, [`Error::Read`] when it broke off.
pub async fn collect(mut body: Body, limit: usize) -> Result<Bytes, Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_read_up_to_the_limit_and_refused_beyond_it() {
        assert_eq!(collect(full("12345"), 5).await.unwrap(), "12345");
        let refused = collect(full("123456"), 5).await.unwrap_err();
        assert_eq!(refused.to_string(), "the body is larger than 5 bytes");
    }
}
