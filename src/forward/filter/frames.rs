//! Where one message ends and the next begins, on each wire.

use std::borrow::Cow;

use bytes::{Buf as _, Bytes, BytesMut};

use super::fields::Asked;
use super::{Error, Layout, Rule, json, protobuf};

/// The largest message that Argo CD sends and the CLI takes by default.
pub(super) const MESSAGE_LIMIT: usize = 200 * 1024 * 1024;
const GRPC_HEAD: usize = 5;

/// How messages are put one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Server-sent events: lines that begin with `data:`, comments, and empty lines.
    Events,
    /// Length-prefixed protobuf.
    Grpc,
    /// The same, with the trailers in a last frame.
    GrpcWeb,
    /// JSON, one event a line.
    Lines,
    /// One JSON message, which is the whole body.
    Whole,
}

/// Collects bytes until a message is there, and filters it.
pub(super) struct Splitter {
    framing: Framing,
    layout: &'static Layout,
    /// What the caller chose of JSON, where more was asked of the upstream.
    asked: Option<Asked>,
    buffer: BytesMut,
    /// Bytes of the buffer in which no line end was found.
    searched: usize,
    /// Whether the last event was dropped, so that the empty line after it goes too.
    dropped: bool,
}

impl Splitter {
    pub(super) fn new(framing: Framing, layout: &'static Layout, asked: Option<Asked>) -> Self {
        Self {
            framing,
            layout,
            asked,
            buffer: BytesMut::new(),
            searched: 0,
            dropped: false,
        }
    }

    pub(super) fn push(&mut self, data: &Bytes) -> Result<(), Error> {
        self.buffer.extend_from_slice(data);
        // A single chunk may hold the end of one message and the beginning of the next, but
        // transports give chunks far smaller than a message may be.
        if self.buffer.len() > MESSAGE_LIMIT + GRPC_HEAD + data.len() {
            return Err(Error::TooLarge);
        }
        Ok(())
    }

    /// Whether it waits for no byte and holds none, so that a body without bytes is complete.
    pub(super) fn is_idle(&self) -> bool {
        self.buffer.is_empty() && self.framing != Framing::Whole
    }

    /// The next message that may be seen, framed; none when more bytes are needed for one.
    pub(super) fn next(&mut self, rule: &dyn Rule) -> Result<Option<Bytes>, Error> {
        match self.framing {
            Framing::Events | Framing::Lines => self.next_line(rule),
            Framing::Grpc | Framing::GrpcWeb => self.next_frame(rule),
            Framing::Whole => Ok(None),
        }
    }

    /// What is left at the end of the body: all of a whole message, and of anything else nothing.
    pub(super) fn end(&mut self, rule: &dyn Rule) -> Result<Option<Bytes>, Error> {
        if self.buffer.is_empty() && self.framing != Framing::Whole {
            return Ok(None);
        }
        match self.framing {
            Framing::Whole => {
                let text = self.buffer.split();
                let kept = json::filter_whole(&text, self.layout, rule, self.asked.as_ref())?;
                Ok(Some(Bytes::from(kept)))
            }
            Framing::Events | Framing::Grpc | Framing::GrpcWeb | Framing::Lines => {
                Err(Error::CutShort)
            }
        }
    }

    fn next_frame(&mut self, rule: &dyn Rule) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(&[flags, a, b, c, d]) = self.buffer.first_chunk::<GRPC_HEAD>() else {
                return Ok(None);
            };
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            if length > MESSAGE_LIMIT {
                return Err(Error::TooLarge);
            }
            let trailers = match flags {
                0 => false,
                0x80 if self.framing == Framing::GrpcWeb => true,
                1 | 0x81 => return Err(Error::Compressed),
                _ => return Err(Error::Malformed),
            };
            if self.buffer.len() < GRPC_HEAD + length {
                return Ok(None);
            }
            let frame = self.buffer.split_to(GRPC_HEAD + length).freeze();
            if trailers {
                return Ok(Some(frame));
            }
            let mut message = frame;
            message.advance(GRPC_HEAD);
            if let Some(kept) = protobuf::filter(&message, self.layout, rule)? {
                return grpc_frame(&kept).map(Some);
            }
        }
    }

    fn next_line(&mut self, rule: &dyn Rule) -> Result<Option<Bytes>, Error> {
        while let Some(line) = self.line() {
            if let Some(kept) = self.kept_of_line(line, rule)? {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }

    /// The next line with its line end.
    fn line(&mut self) -> Option<Bytes> {
        let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(at) = unsearched.iter().position(|b| *b == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.searched + at + 1).freeze();
        self.searched = 0;
        Some(line)
    }

    /// What of `line` may be seen, with its line end.
    fn kept_of_line(&mut self, line: Bytes, rule: &dyn Rule) -> Result<Option<Bytes>, Error> {
        let text = line.trim_ascii();
        if text.is_empty() {
            return Ok((!self.dropped).then_some(line));
        }
        let event = match self.framing {
            Framing::Events if text.starts_with(b":") => return Ok(Some(line)),
            // A line that begins otherwise, or a second line of the same event, is not how Argo CD
            // writes; the JSON of the first would be incomplete and is refused as such.
            Framing::Events => text.strip_prefix(b"data:").ok_or(Error::Malformed)?,
            Framing::Grpc | Framing::GrpcWeb | Framing::Lines | Framing::Whole => text,
        };
        let kept = json::filter_event(event, self.layout, rule, self.asked.as_ref())?;
        self.dropped = kept.is_none();
        let kept = match kept {
            None => return Ok(None),
            Some(Cow::Borrowed(_)) => return Ok(Some(line)),
            Some(Cow::Owned(kept)) => kept,
        };
        // What stands around the event stays: `data: `, and a line end that may have blanks before it.
        let begin = line.len() - line.trim_ascii_start().len() + text.len() - event.len();
        let end = line.len() - line.trim_ascii_end().len();
        let before = line.slice(..begin);
        let after = line.slice(line.len() - end..);
        let space: &[u8] = if event.starts_with(b" ") { b" " } else { b"" };
        Ok(Some([&before, space, &kept, &after].concat().into()))
    }
}

fn grpc_frame(message: &[u8]) -> Result<Bytes, Error> {
    let length = u32::try_from(message.len()).map_err(|_| Error::TooLarge)?;
    let mut frame = BytesMut::with_capacity(message.len() + GRPC_HEAD);
    frame.extend_from_slice(&[0]);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(message);
    Ok(frame.freeze())
}
