//! What a request asks for, from its method, path, query and content type alone.
//!
//! In: the head of a request. Out: a [`Classified`] call of the API, with the path to forward written
//! anew from what was decided on; or one of the few paths beside the API ([`NonApi`]); or an
//! [`Error`] that names what was not known. The order is the upstream's: gRPC and gRPC-Web are told
//! by their exact content type before the path is looked at. Bodies are not read here, and
//! `X-HTTP-Method-Override` is not honoured.

use std::fmt;

use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Method, Uri};

use super::operation::Operation;
use super::path::{self, CanonicalPath, Query};
use super::table::{self, Kind, Rest};

/// The content type of gRPC; argocd-server takes no other form of it.
pub const GRPC: &str = "application/grpc";
/// The content type of gRPC-Web; argocd-server takes no other form of it.
pub const GRPC_WEB: &str = "application/grpc-web+proto";

/// How a call came and is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wire {
    /// gRPC over HTTP/2.
    Grpc,
    /// gRPC-Web, as the argocd CLI speaks it.
    GrpcWeb,
    /// JSON over HTTP, one answer.
    Rest,
    /// JSON over HTTP, a stream of answers (server-sent events or one JSON value a line).
    RestStream,
}

/// What a request asks for.
#[derive(Clone, PartialEq, Eq)]
pub enum Class {
    /// A call of Argo CD's API.
    Api(Classified),
    /// Something beside the API.
    NonApi {
        /// What.
        what: NonApi,
        /// The decoded query: terminal and badge name their application there.
        query: Query,
        /// Path and query, written anew.
        forward_path: String,
    },
}

/// By hand: the query of a sign-in holds its code.
impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(classified) => classified.fmt(f),
            Self::NonApi { what, .. } => write!(f, "NonApi({what:?})"),
        }
    }
}

/// A call of Argo CD's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classified {
    /// Which operation.
    pub operation: Operation,
    /// How it came.
    pub wire: Wire,
    /// The fields of the request that the path sets (REST only), decoded.
    pub path_params: Vec<(&'static str, String)>,
    /// The decoded query (REST only).
    pub query: Query,
    /// The binding that was matched (REST only).
    pub rest: Option<&'static Rest>,
    /// Path and query to send to the upstream, written anew from the above.
    pub forward_path: String,
}

impl Classified {
    /// The value that the path gives to `field`.
    #[must_use]
    pub fn path_param(&self, field: &str) -> Option<&str> {
        self.path_params
            .iter()
            .find(|(name, _)| *name == field)
            .map(|(_, value)| value.as_str())
    }
}

/// What argocd-server serves beside its API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NonApi {
    /// `/auth/callback`.
    AuthCallback,
    /// `/auth/login`.
    AuthLogin,
    /// `/auth/logout`.
    AuthLogout,
    /// `/api/badge`: the state of an application as a picture.
    Badge,
    /// `/api/dex/`: Argo CD's own sign-in.
    Dex,
    /// `/download/`: the CLI.
    Download,
    /// `/extensions/NAME/`: a proxy to back ends of extensions.
    Extensions,
    /// `/healthz`.
    Healthz,
    /// `/swagger-ui` and `/swagger.json`.
    Swagger,
    /// `/terminal`: a shell in a pod.
    Terminal,
    /// The web UI: everything else that is only read.
    UiAsset,
    /// `/api/webhook`: what Git hosts call.
    Webhook,
}

/// Why a request is not in the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The content type is not one that this call may have.
    #[error("content type `{0}` is not known here")]
    ContentType(String),
    /// The path is known, but not with this method.
    #[error("method `{method}` is not known for `{path}`")]
    Method {
        /// The method.
        method: Method,
        /// The path.
        path: String,
    },
    /// Path or query have a form that could be read in two ways.
    #[error(transparent)]
    Odd(#[from] path::Error),
    /// Nothing is known under this path.
    #[error("`{method} {path}` is not an operation that the gate knows")]
    Path {
        /// The method.
        method: Method,
        /// The path.
        path: String,
    },
}

/// Tells what a request asks for.
///
/// # Errors
/// [`Error`], which names what was not known. There is no default.
pub fn classify(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Class, Error> {
    let content_type = content_type(headers)?;
    let wire = match content_type {
        Some(GRPC) => Some(Wire::Grpc),
        Some(GRPC_WEB) => Some(Wire::GrpcWeb),
        Some(other) if looks_like_grpc(other) => {
            return Err(Error::ContentType(other.to_owned()));
        }
        _ => None,
    };
    if let Some(wire) = wire {
        return grpc(method, uri, wire).map(Class::Api);
    }
    let path = CanonicalPath::parse(uri.path())?;
    let segments: Vec<&str> = path.segments().iter().map(String::as_str).collect();
    match (non_api(&segments), segments.first()) {
        (Some(what), _) => beside_api(what, method, uri, &path),
        (None, Some(&"api")) => rest(method, uri, &path, content_type).map(Class::Api),
        (None, _) => beside_api(NonApi::UiAsset, method, uri, &path),
    }
}

/// The one content type; two of them could be read in two ways.
fn content_type(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    let shown = || String::from_utf8_lossy(first.as_bytes()).into_owned();
    if values.next().is_some() {
        return Err(Error::ContentType(format!("{} and another", shown())));
    }
    match first.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(Error::ContentType(shown())),
    }
}

fn looks_like_grpc(content_type: &str) -> bool {
    content_type
        .get(..GRPC.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
}

/// gRPC and gRPC-Web: POST on the exact path of a method, and nothing beside it.
fn grpc(method: &Method, uri: &Uri, wire: Wire) -> Result<Classified, Error> {
    let path = uri.path_and_query().map_or("", |p| p.as_str());
    if method != Method::POST {
        return Err(Error::Method {
            method: method.clone(),
            path: path.to_owned(),
        });
    }
    let operation = Operation::from_grpc_path(path).ok_or_else(|| Error::Path {
        method: method.clone(),
        path: path.to_owned(),
    })?;
    Ok(Classified {
        operation,
        wire,
        path_params: Vec::new(),
        query: Query::default(),
        rest: None,
        forward_path: operation.row().grpc.to_owned(),
    })
}

/// JSON over HTTP: by the template that the upstream would choose.
fn rest(
    method: &Method,
    uri: &Uri,
    path: &CanonicalPath,
    content_type: Option<&str>,
) -> Result<Classified, Error> {
    let matched = if path.has_trailing_slash() {
        None
    } else {
        table::by_rest(method, path.segments())
    };
    let Some(matched) = matched else {
        let (method, shown) = (method.clone(), path.encode());
        return Err(
            if !path.has_trailing_slash() && table::is_rest_path(path.segments()) {
                Error::Method {
                    method,
                    path: shown,
                }
            } else {
                Error::Path {
                    method,
                    path: shown,
                }
            },
        );
    };
    if method != Method::GET && !is_json(content_type) {
        let shown = content_type.unwrap_or("none").to_owned();
        return Err(Error::ContentType(shown));
    }
    // The upstream reads no query where the body is the whole message: none is sent on.
    let query = match matched.rest.body {
        Some("*") => Query::default(),
        _ => Query::of_fields(uri.query())?,
    };
    let mut forward_path = path.encode();
    forward_path.push_str(&query.encode());
    Ok(Classified {
        operation: matched.row.operation,
        wire: match matched.row.kind {
            Kind::ServerStream => Wire::RestStream,
            Kind::ClientStream | Kind::Unary => Wire::Rest,
        },
        path_params: matched
            .fields
            .iter()
            .map(|(field, segments)| (*field, segments.join("/")))
            .collect(),
        query,
        rest: Some(matched.rest),
        forward_path,
    })
}

/// The whole value, in any letter case, and no parameters: this also keeps other sites' forms out.
fn is_json(content_type: Option<&str>) -> bool {
    content_type.is_some_and(|value| value.eq_ignore_ascii_case("application/json"))
}

fn non_api(segments: &[&str]) -> Option<NonApi> {
    Some(match segments {
        ["api", "badge"] => NonApi::Badge,
        ["api", "dex", ..] => NonApi::Dex,
        ["api", "webhook"] => NonApi::Webhook,
        ["auth", "callback"] => NonApi::AuthCallback,
        ["auth", "login"] => NonApi::AuthLogin,
        ["auth", "logout"] => NonApi::AuthLogout,
        ["download", ..] => NonApi::Download,
        ["extensions", ..] => NonApi::Extensions,
        ["healthz"] => NonApi::Healthz,
        ["swagger-ui", ..] | ["swagger.json"] => NonApi::Swagger,
        ["terminal"] => NonApi::Terminal,
        _ => return None,
    })
}

impl NonApi {
    fn takes(self, method: &Method) -> bool {
        match self {
            Self::AuthCallback | Self::AuthLogin | Self::Badge | Self::Terminal => {
                method == Method::GET
            }
            Self::AuthLogout => method == Method::GET || method == Method::POST,
            Self::Dex => [Method::GET, Method::HEAD, Method::POST].contains(method),
            Self::Download | Self::Healthz | Self::Swagger | Self::UiAsset => {
                method == Method::GET || method == Method::HEAD
            }
            Self::Extensions => method != Method::CONNECT && method != Method::TRACE,
            Self::Webhook => method == Method::POST,
        }
    }

    /// Whether a path that ends with a slash is this too. For the others Argo CD's router would
    /// serve something else.
    fn is_tree(self) -> bool {
        matches!(
            self,
            Self::Dex | Self::Download | Self::Extensions | Self::Swagger | Self::UiAsset
        )
    }
}

fn beside_api(
    what: NonApi,
    method: &Method,
    uri: &Uri,
    path: &CanonicalPath,
) -> Result<Class, Error> {
    let shown = || path.encode();
    if path.has_trailing_slash() && !what.is_tree() {
        return Err(Error::Path {
            method: method.clone(),
            path: shown(),
        });
    }
    if !what.takes(method) {
        return Err(Error::Method {
            method: method.clone(),
            path: shown(),
        });
    }
    let query = Query::parse(uri.query())?;
    let forward_path = path.encode() + &query.encode();
    Ok(Class::NonApi {
        what,
        query,
        forward_path,
    })
}

#[cfg(test)]
mod tests;
