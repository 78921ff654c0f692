//! Websockets: a handshake through the gate, then bytes both ways.
//!
//! Not a byte that a client sends after its handshake is read before the upstream has agreed
//! (status 101). If it does not agree, the client's connection is closed after the answer, so that
//! those bytes are never taken for a next request.

use http::header::{CONNECTION, CONTENT_LENGTH, ORIGIN, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;

use super::observe::{Ending, Observer};
use super::{Error, Fault, Outbound, Upstream, headers};
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
                .shake(outbound.channel, outbound.send_as, request)
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
        headers::prepare_response(&mut head.headers, &self.token, outbound.decision);
        let Some(upstream) = upstream else {
            let close = HeaderValue::from_static("close");
            head.headers.insert(CONNECTION, close);
            let body = self.observe(answer, observer, false, None, None);
            return Ok(Response::from_parts(head, body));
        };
        headers::set_upgrade(&mut head.headers);
        let carry = carry(client, upstream, observer, connection);
        let hard = self.hard.clone();
        self.tasks.spawn(hard.run_until_cancelled_owned(carry));
        Ok(Response::from_parts(head, body::empty()))
    }

    async fn shake(
        &self,
        channel: super::Channel,
        send_as: super::SendAs,
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
    let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
    match tokio::io::copy_bidirectional(&mut client, &mut upstream).await {
        Ok((_, bytes)) => {
            observer.add_bytes(bytes);
            observer.finish(Ending::Completed);
        }
        Err(error) => {
            tracing::debug!(%error, "a websocket broke off");
            observer.finish(Ending::Failed(Fault::UpstreamProtocol));
        }
    }
}
