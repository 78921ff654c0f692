//! The stream of changes: one JSON value a line, as grpc-gateway writes it.

use bytes::{Buf as _, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::Value;

use super::{Error, MAX_ANSWER_BYTES};

/// A running watch. Dropped, it ends upstream.
pub struct Watch {
    body: Incoming,
    buffer: BytesMut,
}

/// One change.
#[derive(Debug, Deserialize)]
pub struct Event {
    /// `ADDED`, `MODIFIED` or `DELETED`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The application, as it is now.
    pub application: Value,
}

#[derive(Deserialize)]
struct Line {
    result: Option<Event>,
}

impl Watch {
    pub(super) fn new(body: Incoming) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
        }
    }

    /// The next change; `None` when the upstream has ended the stream. Waits for as long as it takes.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the stream breaks off, [`Error::BadAnswer`] for a line that is no
    /// event or has no end.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                let line: Line =
                    serde_json::from_slice(&line).map_err(|e| Error::BadAnswer(e.to_string()))?;
                return match line.result {
                    Some(event) => Ok(Some(event)),
                    None => Err(Error::BadAnswer("the watch ended with an error".to_owned())),
                };
            }
            if self.buffer.len() > MAX_ANSWER_BYTES {
                return Err(Error::BadAnswer("an event without an end".to_owned()));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(Error::Unreachable(error.into())),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}
