//! Message framing of gRPC and gRPC-Web: five bytes (flags, length) before each message.
//!
//! In: bytes of a body, whole or piece by piece. Out: messages. Refused: compressed messages (they
//! could not be looked into), messages over the limit, bytes after the one message of a unary call.
//! Source: gRPC over HTTP/2 and gRPC-Web, protocol documents of the gRPC project.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// The largest message that is taken: what argocd-server and the argocd CLI take.
pub const MAX_MESSAGE_BYTES: usize = 200 << 20;

/// Flags and length.
const HEAD_BYTES: usize = 5;
const COMPRESSED: u8 = 0x01;
const TRAILERS: u8 = 0x80;

/// Why a body is not a sequence of messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The message is compressed.
    #[error("the message is compressed; send it without compression")]
    Compressed,
    /// Flags that are not known.
    #[error("the frame has the flags {0:#04x}")]
    Flags(u8),
    /// There is no message.
    #[error("there is no message")]
    Missing,
    /// There is more than the one message.
    #[error("{0} bytes follow the message")]
    Trailing(usize),
    /// The body ends inside of a frame.
    #[error("the body ends inside of a message")]
    Truncated,
    /// The message is over the limit.
    #[error("the message has {bytes} bytes; {limit} is the most")]
    TooLarge {
        /// What its frame says.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A message.
    Message(Bytes),
    /// The trailers of a gRPC-Web answer, as lines of a header.
    Trailers(Bytes),
}

/// Takes bytes piece by piece and gives whole frames.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    limit: usize,
}

impl Decoder {
    /// A decoder of messages of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            limit,
        }
    }

    /// Adds a piece of the body.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next frame, if it is whole.
    ///
    /// # Errors
    /// [`Error`] for a frame that is not taken, as soon as its head has been read.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Error> {
        let Some((flags, length)) = head(&self.buffer, self.limit)? else {
            return Ok(None);
        };
        if self.buffer.len() - HEAD_BYTES < length {
            return Ok(None);
        }
        self.buffer.advance(HEAD_BYTES);
        let payload = self.buffer.split_to(length).freeze();
        Ok(Some(if flags == TRAILERS {
            Frame::Trailers(payload)
        } else {
            Frame::Message(payload)
        }))
    }

    /// How many bytes wait for the rest of their frame.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }
}

/// Flags and length of the frame at the start of `bytes`, once its head is there.
fn head(bytes: &[u8], limit: usize) -> Result<Option<(u8, usize)>, Error> {
    let Some(&[flags, a, b, c, d]) = bytes.first_chunk::<HEAD_BYTES>() else {
        return Ok(None);
    };
    match flags {
        0 | TRAILERS => {}
        _ if flags & COMPRESSED != 0 => return Err(Error::Compressed),
        _ => return Err(Error::Flags(flags)),
    }
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if length > limit {
        return Err(Error::TooLarge {
            bytes: length,
            limit,
        });
    }
    Ok(Some((flags, length)))
}

/// The one message of the whole body of a unary or server-streaming request.
///
/// # Errors
/// [`Error`] when it is not exactly one message, uncompressed, of at most `limit` bytes.
pub fn read_message(body: &[u8], limit: usize) -> Result<&[u8], Error> {
    let (message, rest) = read_first_message(body, limit)?;
    if rest.is_empty() {
        Ok(message)
    } else {
        Err(Error::Trailing(rest.len()))
    }
}

/// The first message of the body of a client-streaming request, and what follows it.
///
/// # Errors
/// [`Error`] when the first message is not there as a whole, is compressed or over `limit`.
pub fn read_first_message(body: &[u8], limit: usize) -> Result<(&[u8], &[u8]), Error> {
    if body.is_empty() {
        return Err(Error::Missing);
    }
    let (flags, length) = head(body, limit)?.ok_or(Error::Truncated)?;
    if flags == TRAILERS {
        return Err(Error::Flags(flags));
    }
    body.get(HEAD_BYTES..)
        .and_then(|payload| payload.split_at_checked(length))
        .ok_or(Error::Truncated)
}

/// `message` as one frame.
///
/// # Errors
/// [`Error::TooLarge`] when its length does not fit the frame.
pub fn write_message(message: &[u8]) -> Result<Bytes, Error> {
    write_frame(0, message)
}

/// `lines` (a header block: `grpc-status: 0`) as the trailer frame of a gRPC-Web answer.
///
/// # Errors
/// [`Error::TooLarge`] when its length does not fit the frame.
pub fn write_trailers(lines: &[u8]) -> Result<Bytes, Error> {
    write_frame(TRAILERS, lines)
}

fn write_frame(flags: u8, payload: &[u8]) -> Result<Bytes, Error> {
    let length = u32::try_from(payload.len()).map_err(|_| Error::TooLarge {
        bytes: payload.len(),
        limit: MAX_MESSAGE_BYTES,
    })?;
    let mut out = BytesMut::with_capacity(HEAD_BYTES + payload.len());
    out.put_u8(flags);
    out.put_u32(length);
    out.put_slice(payload);
    Ok(out.freeze())
}

/// How many bytes the first frame of `body` takes with its head, once the head has come.
#[must_use]
pub fn first_frame_size(body: &[u8]) -> Option<usize> {
    let [_, a, b, c, d] = *body.first_chunk::<HEAD_BYTES>()?;
    usize::try_from(u32::from_be_bytes([a, b, c, d]))
        .ok()?
        .checked_add(HEAD_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_compressed_message_is_refused_before_its_length_is_believed() {
        assert_eq!(
            read_message(&[1, 0xff, 0xff, 0xff, 0xff], 10),
            Err(Error::Compressed)
        );
    }

    #[test]
    fn a_message_over_the_limit_is_refused_by_its_head() {
        assert_eq!(
            read_message(&[0, 0, 0, 0, 11], 10),
            Err(Error::TooLarge {
                bytes: 11,
                limit: 10
            })
        );
    }

    #[test]
    fn a_second_message_or_a_missing_byte_is_refused() {
        let one = write_message(b"abc").unwrap();
        let two = [&one[..], &one[..]].concat();
        assert_eq!(read_message(&two, 10), Err(Error::Trailing(8)));
        assert_eq!(read_message(&one[..7], 10), Err(Error::Truncated));
        assert_eq!(read_message(&one[..4], 10), Err(Error::Truncated));
        assert_eq!(read_message(&[], 10), Err(Error::Missing));
    }

    #[test]
    fn a_request_cannot_be_a_trailer_frame() {
        let trailers = write_trailers(b"grpc-status: 0\r\n").unwrap();
        assert_eq!(read_message(&trailers, 100), Err(Error::Flags(0x80)));
    }

    #[test]
    fn unknown_flags_are_refused() {
        let mut decoder = Decoder::new(10);
        decoder.push(&[2, 0, 0, 0, 0]);
        assert_eq!(decoder.next_frame(), Err(Error::Flags(2)));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_however_it_is_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..5),
            cut in 1_usize..9,
        ) {
            let mut body = Vec::new();
            for message in &messages {
                body.extend_from_slice(&write_message(message).unwrap());
            }
            body.extend_from_slice(&write_trailers(b"x").unwrap());
            let mut decoder = Decoder::new(MAX_MESSAGE_BYTES);
            let mut frames = Vec::new();
            for piece in body.chunks(cut) {
                decoder.push(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    frames.push(frame);
                }
            }
            let mut expected: Vec<Frame> = messages
                .into_iter()
                .map(|m| Frame::Message(m.into()))
                .collect();
            expected.push(Frame::Trailers(Bytes::from_static(b"x")));
            prop_assert_eq!(frames, expected);
            prop_assert_eq!(decoder.pending(), 0);
        }

        #[test]
        fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(message) = read_message(&body, 32) {
                prop_assert_eq!(&write_message(message).unwrap()[..], &body[..]);
            }
        }
    }
}
