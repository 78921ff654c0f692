//! How an answer ended, told once.
//!
//! The body of every answer passes through [`Observed`], frame by frame and unbuffered. It counts
//! bytes, reads the gRPC status wherever the wire puts it (headers, trailers, or the trailer frame
//! of gRPC-Web), scrubs trailers, and heeds the deadline. Whatever happens, the hook of the call is
//! called exactly once: when the body ended, broke off, or was dropped because the client left.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::error::Fault;
use super::pool::Place;
use crate::body::BoxError;

/// Removes from the trailers of an answer what is not for the client.
pub(crate) type Scrub = Arc<dyn Fn(&mut HeaderMap) + Send + Sync>;

/// Called once with how the answer ended.
pub type OnEnd = Box<dyn FnOnce(StreamEnd) + Send>;

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamEnd {
    /// The upstream's HTTP status; absent when there was no answer.
    pub status: Option<StatusCode>,
    /// The gRPC status, where the wire has one and it came.
    pub grpc_status: Option<u32>,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// From the start of forwarding to the end of the body.
    pub elapsed: Duration,
    /// In which way.
    pub how: Ending,
}

/// In which way an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client left before the end, or the gate cut the call.
    Cancelled,
    /// The answer is complete.
    Completed,
    /// No answer, or it broke off.
    Failed(Fault),
}

/// Holds the hook until the end is known.
pub(crate) struct Observer {
    on_end: Option<OnEnd>,
    started: Instant,
    status: Option<StatusCode>,
    grpc_status: Option<u32>,
    bytes: u64,
}

impl Observer {
    pub(crate) fn new(on_end: Option<OnEnd>) -> Self {
        Self {
            on_end,
            started: Instant::now(),
            status: None,
            grpc_status: None,
            bytes: 0,
        }
    }

    pub(crate) fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.status = Some(status);
        self.grpc_status = grpc_status(headers);
    }

    pub(crate) fn add_bytes(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    pub(crate) fn finish(&mut self, how: Ending) {
        if let Some(on_end) = self.on_end.take() {
            on_end(StreamEnd {
                status: self.status,
                grpc_status: self.grpc_status,
                bytes: self.bytes,
                elapsed: self.started.elapsed(),
                how,
            });
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.finish(Ending::Cancelled);
    }
}

fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// The upstream's body on its way to the client.
pub(crate) struct Observed {
    inner: Incoming,
    observer: Observer,
    web_trailer: Option<WebTrailer>,
    deadline: Option<(Pin<Box<Sleep>>, Duration)>,
    scrub: Scrub,
    /// The place on the upstream connection, held until the body is gone.
    _place: Option<Place>,
}

impl Observed {
    pub(crate) fn new(
        inner: Incoming,
        observer: Observer,
        grpc_web: bool,
        deadline: Option<(Instant, Duration)>,
        scrub: Scrub,
        place: Option<Place>,
    ) -> Self {
        let mut passed = Self {
            inner,
            observer,
            web_trailer: grpc_web.then(WebTrailer::default),
            deadline: deadline.map(|(at, after)| (Box::pin(tokio::time::sleep_until(at)), after)),
            scrub,
            _place: place,
        };
        passed.settle();
        passed
    }

    /// Servers do not poll a body that says it has ended, so the end is looked for after each frame.
    fn settle(&mut self) {
        if self.inner.is_end_stream() {
            self.observer.finish(Ending::Completed);
        }
    }

    fn pass_data(&mut self, data: &Bytes) {
        self.observer.add_bytes(data.len() as u64);
        if let Some(trailer) = &mut self.web_trailer {
            trailer.read(data);
            if let Some(status) = trailer.status() {
                self.observer.grpc_status = Some(status);
            }
        }
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let frame = match frame.into_trailers() {
            Ok(mut trailers) => {
                if let Some(status) = grpc_status(&trailers) {
                    self.observer.grpc_status = Some(status);
                }
                (self.scrub)(&mut trailers);
                Frame::trailers(trailers)
            }
            Err(frame) => {
                if let Some(data) = frame.data_ref() {
                    self.pass_data(data);
                }
                frame
            }
        };
        self.settle();
        frame
    }
}

impl http_body::Body for Observed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Some((sleep, after)) = &mut this.deadline
            && sleep.as_mut().poll(context).is_ready()
        {
            let error = super::Error::UpstreamTimeout { after: *after };
            this.observer.finish(Ending::Failed(error.fault()));
            return Poll::Ready(Some(Err(error.into())));
        }
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                this.observer.finish(Ending::Completed);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                this.observer
                    .finish(Ending::Failed(Fault::UpstreamProtocol));
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(this.pass(frame)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Looks for the trailer frame of a gRPC-Web body (flag 0x80) without holding the messages.
#[derive(Default)]
struct WebTrailer {
    head: Vec<u8>,
    /// Payload bytes of the current message that are still to come.
    skip: u64,
    /// The trailer frame's text so far.
    text: Option<Vec<u8>>,
}

/// Trailers longer than this are not read.
const WEB_TRAILER_LIMIT: usize = 16 * 1024;

impl WebTrailer {
    fn read(&mut self, data: &Bytes) {
        let mut rest = data.clone();
        while !rest.is_empty() {
            if let Some(text) = &mut self.text {
                let room = WEB_TRAILER_LIMIT.saturating_sub(text.len());
                text.extend(rest.iter().take(room));
                return;
            }
            let skip = usize::try_from(self.skip)
                .unwrap_or(usize::MAX)
                .min(rest.len());
            rest.advance(skip);
            self.skip -= skip as u64;
            if self.skip == 0 {
                let wanted = 5_usize.saturating_sub(self.head.len()).min(rest.len());
                self.head.extend_from_slice(&rest.split_to(wanted));
                self.enter();
            }
        }
    }

    fn enter(&mut self) {
        let &[flags, a, b, c, d] = self.head.as_slice() else {
            return;
        };
        self.head.clear();
        if flags & 0x80 == 0 {
            self.skip = u64::from(u32::from_be_bytes([a, b, c, d]));
        } else {
            self.text = Some(Vec::new());
        }
    }

    fn status(&self) -> Option<u32> {
        let text = std::str::from_utf8(self.text.as_deref()?).ok()?;
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let ours = name.trim().eq_ignore_ascii_case("grpc-status");
            ours.then(|| value.trim().parse().ok())?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_grpc_web_is_found_however_the_bytes_are_cut() {
        let mut body = vec![0, 0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 33];
        body.extend(b"Grpc-Message: no\r\nGrpc-Status: 7\r\n");
        for size in 1..=body.len() {
            let mut trailer = WebTrailer::default();
            for chunk in body.chunks(size) {
                trailer.read(&Bytes::copy_from_slice(chunk));
            }
            assert_eq!(trailer.status(), Some(7), "cut into {size}");
        }
    }
}
