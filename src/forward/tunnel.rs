//! Websockets: a handshake through the gate, then bytes both ways.
//!
//! Not a byte that a client sends after its handshake is read before the upstream has agreed
//! (status 101). If it does not agree, the client's connection is closed after the answer, so that
//! those bytes are never taken for a next request.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::{CONNECTION, CONTENT_LENGTH, ORIGIN, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::observe::{Ending, Observer};
use super::{Error, Fault, Outbound, Until, Upstream, headers};
use crate::body::{self, Body};
use crate::listener::Connection;

impl Upstream {
    /// Forwards a websocket handshake and, once the upstream agrees, everything after it. The
    /// upstream accepts any `Origin`; here a page of an origin other than `origins` (each as a
    /// browser writes it: `https://gate.example`) is refused. The tunnel ends with either side, or
    /// with the hard signal of a stop. See [`Upstream::send`] for the rest.
    ///
    /// # Errors
    /// [`Error::CallerRequest`] when this is no websocket handshake, [`Error::ForeignOrigin`], and
    /// those of [`Upstream::send`].
    pub async fn tunnel<P: super::Permission>(
        &self,
        _permit: &P,
        outbound: Outbound,
        mut request: Request<Body>,
        origins: &[String],
    ) -> Result<Response<Body>, Error> {
        let mut observer = Observer::new(outbound.on_end);
        let handshake = check(&request, origins).map(|()| hyper::upgrade::on(&mut request));
        let connection = request.extensions().get::<Connection>().cloned();
        let answer = match handshake {
            Ok(client) => self
                .shake(outbound.channel, &outbound.send_as, request)
                .await
                .map(|response| (client, response)),
            Err(error) => Err(error),
        };
        let (client, mut response) = answer.inspect_err(|error| {
            observer.finish(Ending::Failed(error.fault()));
        })?;
        observer.answered(response.status(), response.headers());
        let agreed = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let upstream = agreed.then(|| hyper::upgrade::on(&mut response));
        let (mut head, answer) = response.into_parts();
        let secrets = self.secrets(&outbound.send_as);
        headers::prepare_response(&mut head.headers, &secrets, outbound.decision);
        let Some(upstream) = upstream else {
            let close = HeaderValue::from_static("close");
            head.headers.insert(CONNECTION, close);
            let body = super::observe(answer, observer, secrets, false, None, None);
            return Ok(Response::from_parts(head, body));
        };
        headers::set_upgrade(&mut head.headers);
        let carry = carry(client, upstream, observer, connection);
        let carry = bounded(outbound.until, carry);
        let hard = self.hard.clone();
        self.tasks.spawn(hard.run_until_cancelled_owned(carry));
        Ok(Response::from_parts(head, body::empty()))
    }

    async fn shake(
        &self,
        channel: super::Channel,
        send_as: &super::SendAs,
        request: Request<Body>,
    ) -> Result<Response<hyper::body::Incoming>, Error> {
        let mut request = self.prepare(channel, send_as, request)?;
        headers::set_upgrade(request.headers_mut());
        let answer = self.pools.http1.request(request);
        let answer = tokio::time::timeout(self.answer_timeout, answer);
        let after = self.answer_timeout;
        let response = answer
            .await
            .map_err(|_| Error::UpstreamTimeout { after })??;
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if switches && !headers::is_websocket(response.headers()) {
            let what = "it switched to another protocol than websocket";
            return Err(Error::UpstreamSurprise { what });
        }
        Ok(response)
    }
}

/// Whether `request` is a websocket handshake that may pass.
fn check(request: &Request<Body>, origins: &[String]) -> Result<(), Error> {
    check_handshake(request)?;
    check_origin(request.headers(), origins)
}

/// Whether `request` is a websocket handshake.
pub(crate) fn check_handshake(request: &Request<Body>) -> Result<(), Error> {
    let headers = request.headers();
    let refused = |what| Err(Error::CallerRequest { what });
    if request.method() != Method::GET || request.version() != Version::HTTP_11 {
        return refused("a websocket handshake is a GET of HTTP/1.1");
    }
    if !headers::is_websocket(headers) {
        return refused("a websocket handshake has `connection: upgrade` and `upgrade: websocket`");
    }
    if headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING) {
        return refused("a websocket handshake has no body");
    }
    Ok(())
}

/// Browsers always send `Origin` with a websocket, so its absence means that no page is behind it.
fn check_origin(headers: &HeaderMap, origins: &[String]) -> Result<(), Error> {
    for origin in headers.get_all(ORIGIN) {
        if !origins
            .iter()
            .any(|allowed| allowed.as_bytes() == origin.as_bytes())
        {
            let origin = String::from_utf8_lossy(origin.as_bytes()).into_owned();
            return Err(Error::ForeignOrigin { origin });
        }
    }
    Ok(())
}

/// `carry`, or no more of it once it has to end; both sides then see their connection closed.
pub(crate) async fn bounded(until: Option<Until>, carry: impl Future<Output = ()>) {
    match until {
        Some(until) => tokio::select! {
            _ = until => {}
            () = carry => {}
        },
        None => carry.await,
    }
}

/// Copies bytes both ways until both sides are done. Keeps `_connection`, so that the client still
/// counts as connected.
pub(crate) async fn carry(
    client: OnUpgrade,
    upstream: OnUpgrade,
    mut observer: Observer,
    _connection: Option<Connection>,
) {
    let sides: Result<(Upgraded, Upgraded), hyper::Error> = tokio::try_join!(client, upstream);
    let (client, upstream) = match sides {
        Ok(sides) => sides,
        Err(error) => {
            tracing::debug!(%error, "a websocket was given up during its handshake");
            return observer.finish(Ending::Cancelled);
        }
    };
    let (client, upstream) = (TokioIo::new(client), TokioIo::new(upstream));
    match copied(client, upstream).await {
        Ok(bytes) => {
            observer.add_bytes(bytes);
            observer.finish(Ending::Completed);
        }
        Err((ending, error)) => {
            tracing::debug!(%error, "a websocket broke off");
            observer.finish(ending);
        }
    }
}

/// Copies bytes both ways until both sides are done. Gives how many came from the upstream; or how it
/// ended, and by what, when a side broke off.
async fn copied<C, U>(client: C, upstream: U) -> Result<u64, (Ending, io::Error)>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let (mut client, mut upstream) = (Side::new(client), Side::new(upstream));
    match tokio::io::copy_bidirectional(&mut client, &mut upstream).await {
        Ok((_, bytes)) => Ok(bytes),
        Err(error) if client.broke => Err((Ending::Cancelled, error)),
        Err(error) => Err((Ending::Failed(Fault::UpstreamProtocol), error)),
    }
}

/// One side of a tunnel.
///
/// A websocket says by a frame of its own that it is over, and many programs close the connection after
/// it without the alert with which TLS ends. So a connection that ends without it has ended: what came
/// before is carried on, and the other side hears of the end. Nor does it matter that a side is gone when
/// it is to be told that nothing follows.
struct Side<T> {
    inner: T,
    /// Whether it broke off.
    broke: bool,
}

impl<T> Side<T> {
    fn new(inner: T) -> Self {
        Self {
            inner,
            broke: false,
        }
    }

    fn noted<R>(&mut self, done: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        self.broke |= matches!(done, Poll::Ready(Err(_)));
        done
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Side<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let done = match ready!(Pin::new(&mut this.inner).poll_read(context, buffer)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            done => done,
        };
        this.noted(Poll::Ready(done))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Side<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.inner).poll_write(context, buffer);
        this.noted(done)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.inner).poll_flush(context);
        this.noted(done)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
        let this = self.get_mut();
        let done = match ready!(Pin::new(&mut this.inner).poll_shutdown(context)) {
            Err(error) if matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected) => {
                Ok(())
            }
            done => done,
        };
        this.noted(Poll::Ready(done))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A side that says something and then ends in some way, and takes whatever it is told.
    struct Says {
        words: &'static [u8],
        end: Option<io::ErrorKind>,
        gone: bool,
        heard: Vec<u8>,
    }

    fn says(words: &'static str, end: Option<io::ErrorKind>) -> Says {
        let words = words.as_bytes();
        Says {
            words,
            end,
            gone: false,
            heard: Vec::new(),
        }
    }

    impl AsyncRead for Says {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let words = std::mem::take(&mut self.words);
            buffer.put_slice(words);
            match self.end {
                Some(kind) if words.is_empty() => Poll::Ready(Err(kind.into())),
                _ => Poll::Ready(Ok(())),
            }
        }
    }

    impl AsyncWrite for Says {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.heard.extend_from_slice(buffer);
            Poll::Ready(Ok(buffer.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(if self.gone {
                Err(io::ErrorKind::NotConnected.into())
            } else {
                Ok(())
            })
        }
    }

    #[tokio::test]
    async fn a_side_that_ends_without_the_alert_of_tls_has_ended_and_is_heard_to_the_end() {
        let (mut client, mut upstream) = (
            says("a question", None),
            says("the last words", Some(io::ErrorKind::UnexpectedEof)),
        );
        upstream.gone = true;
        let ended = copied(&mut client, &mut upstream).await;
        assert_eq!(ended.unwrap(), 14);
        assert_eq!(client.heard, b"the last words");
        assert_eq!(upstream.heard, b"a question");
    }

    #[tokio::test]
    async fn who_broke_off_is_told_apart() {
        let reset = Some(io::ErrorKind::ConnectionReset);
        for (client, upstream, expected) in [
            (reset, None, Ending::Cancelled),
            (None, reset, Ending::Failed(Fault::UpstreamProtocol)),
        ] {
            let (ending, error) = copied(says("", client), says("", upstream))
                .await
                .unwrap_err();
            assert_eq!(ending, expected);
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    }
}
