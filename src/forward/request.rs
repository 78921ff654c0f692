//! A client's request in the upstream's form.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::HOST;
use http::uri::{PathAndQuery, Uri};
use http::{HeaderValue, Method, Request, Version};
use http_body::{Frame, SizeHint};

use super::{Channel, Error, SendAs, Upstream, headers};
use crate::body::{self, Body, BoxError};
use crate::listener::Connection;

impl Upstream {
    /// `request` with the upstream's address and the headers of ours, and nothing else of the
    /// client's but path, method and body.
    pub(super) fn prepare(
        &self,
        channel: Channel,
        send_as: &SendAs,
        request: Request<Body>,
    ) -> Result<Request<Body>, Error> {
        let refused = |what| Error::CallerRequest { what };
        let (mut head, body) = request.into_parts();
        if head.method == Method::CONNECT {
            return Err(refused("the method is CONNECT"));
        }
        let connection = head
            .extensions
            .get::<Connection>()
            .ok_or(refused("nothing is known of its connection"))?;
        let host = host(&head.headers, &head.uri);
        headers::prepare_request(
            &mut head.headers,
            channel,
            self.credential(send_as).map(|token| &**token),
            connection,
            host.as_ref(),
        );
        let mut request = Request::new(body::boxed(WithoutTrailers(body)));
        *request.uri_mut() = self
            .uri(&head.uri)
            .ok_or(refused("its path is malformed"))?;
        *request.method_mut() = head.method;
        *request.headers_mut() = head.headers;
        *request.version_mut() = match channel {
            Channel::Grpc => Version::HTTP_2,
            Channel::Cookie | Channel::GrpcWeb | Channel::Rest => Version::HTTP_11,
        };
        Ok(request)
    }

    fn uri(&self, asked: &Uri) -> Option<Uri> {
        let path = asked.path_and_query().map_or("/", PathAndQuery::as_str);
        // Without a slash it would be another authority or no path at all.
        if !path.starts_with('/') {
            return None;
        }
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{path}", self.root))
            .build()
            .ok()
    }
}

/// The host that the client named: in `Host`, or in HTTP/2 with the path.
pub(crate) fn host(headers: &http::HeaderMap, uri: &Uri) -> Option<HeaderValue> {
    let authority = uri.authority().map(|a| HeaderValue::try_from(a.as_str()));
    match authority {
        Some(authority) => authority.ok(),
        None => headers.get(HOST).cloned(),
    }
}

/// A client's body without its trailers: no client of Argo CD or of gRPC sends any, and they would be headers
/// that were not looked at.
pub(crate) struct WithoutTrailers(pub(crate) Body);

impl http_body::Body for WithoutTrailers {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            let polled = Pin::new(&mut self.0).poll_frame(context);
            match polled {
                Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => {}
                other => return other,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
