//! The gate's own questions to the upstream, over HTTP/1 and with the gate's own credential.
//!
//! In: the name of an application. Out: its JSON, read afresh; or the stream of what changes. Never:
//! a caller's credential on the way up, the gate's on the way down or in an error. Answers have a
//! limit in size and in time; an answer about another application than was asked for is none.

mod events;
mod state;
mod watch;

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use serde_json::Value;
use url::Url;

use super::path::encode_into;
use crate::gate::ApplicationPlan;
use crate::json;
use crate::names::AppRef;
use crate::outbound;
pub use events::KubernetesEvent;
pub use state::LiveObject;
pub use watch::{Event, Watch};

/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Why the upstream did not tell.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It answered something that is no answer to the question.
    #[error("the upstream's answer is not usable: {0}")]
    BadAnswer(String),
    /// The address of the upstream cannot be used.
    #[error("`{0}` is not an address of an upstream")]
    BadAddress(Url),
    /// The token holds characters that no header takes. It is not shown.
    #[error("the token for the upstream is not printable ASCII")]
    BadToken,
    /// There is no such application, or the gate may not read it: Argo CD does not tell these apart.
    #[error("there is no application `{0}`")]
    NoSuchApplication(AppRef),
    /// It did not answer in time.
    #[error("the upstream did not answer within {0:?}")]
    Timeout(Duration),
    /// It takes the gate's credential no more.
    #[error("the upstream does not take the gate's credential")]
    Unauthenticated,
    /// It cannot be reached.
    #[error("the upstream cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Whether the upstream looks at Git again before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// The state of the last comparison.
    None,
    /// Resolves revisions anew and compares. Argo CD answers once its controller is done.
    Normal,
}

/// How long the gate waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For an answer without a refresh.
    pub read: Duration,
    /// For one with.
    pub refresh: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            read: Duration::from_secs(15),
            refresh: Duration::from_mins(1),
        }
    }
}

/// The answer of a rendering: each manifest is JSON as text.
#[derive(serde::Deserialize)]
struct Rendered {
    #[serde(default)]
    manifests: Vec<String>,
}

/// The answer of `ApplicationSetService.Generate`.
#[derive(serde::Deserialize)]
struct Generated {
    #[serde(default)]
    applications: Vec<Value>,
}

/// Asks the upstream. Cheap to clone; connections are shared and kept.
#[derive(Clone)]
pub struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Without a slash at the end.
    base: String,
    authorization: HeaderValue,
    timeouts: Timeouts,
}

impl Client {
    /// A client of the upstream at `base` (`https` or `http`, perhaps with a path), which trusts what
    /// `tls` trusts and signs in with `token`.
    ///
    /// # Errors
    /// [`Error::BadAddress`] and [`Error::BadToken`].
    pub fn new(
        base: &Url,
        tls: ClientConfig,
        token: &str,
        timeouts: Timeouts,
    ) -> Result<Self, Error> {
        let usable = ["http", "https"].contains(&base.scheme())
            && base.has_host()
            && base.query().is_none()
            && base.fragment().is_none()
            && base.username().is_empty()
            && base.password().is_none();
        if !usable {
            return Err(Error::BadAddress(base.clone()));
        }
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| Error::BadToken)?;
        authorization.set_sensitive(true);
        Ok(Self {
            // argocd-server serves REST on HTTP/1 only.
            http: legacy::Client::builder(TokioExecutor::new()).build(outbound::http1(tls)),
            base: base.as_str().trim_end_matches('/').to_owned(),
            authorization,
            timeouts,
        })
    }

    /// The application `app`, which must be in `project` if one is named.
    ///
    /// # Errors
    /// [`Error`]; a missing application and one that the gate may not read are the same.
    pub async fn application(
        &self,
        app: &AppRef,
        project: Option<&str>,
        refresh: Refresh,
    ) -> Result<Value, Error> {
        let limit = match refresh {
            Refresh::None => self.timeouts.read,
            Refresh::Normal => self.timeouts.refresh,
        };
        let refresh = (refresh == Refresh::Normal).then_some(("refresh", "normal"));
        let which = project.map(|it| ("project", it)).into_iter().chain(refresh);
        let which: Vec<(&str, &str)> = which.collect();
        let body = self
            .of_application(Method::GET, app, "", &which, limit)
            .await?;
        let found: Value =
            serde_json::from_slice(&body).map_err(|e| Error::BadAnswer(e.to_string()))?;
        let name = json::text(&found, "/metadata/name");
        let namespace = json::text(&found, "/metadata/namespace");
        let asked_namespace = app.namespace.as_deref().unwrap_or(namespace);
        if name != app.name || namespace != asked_namespace {
            return Err(Error::BadAnswer(format!(
                "`{app}` was asked for, `{namespace}/{name}` came"
            )));
        }
        Ok(found)
    }

    /// The manifests that a sync of `plan` would apply, rendered at its commits.
    ///
    /// # Errors
    /// [`Error`], as for [`Self::application`]; a manifest that is no JSON is a bad answer.
    pub async fn manifests(&self, plan: &ApplicationPlan) -> Result<Vec<Value>, Error> {
        let commits: Vec<&str> = plan.sources.iter().map(|it| it.commit.as_str()).collect();
        self.manifests_at(&plan.application, plan.multi_source, &commits)
            .await
    }

    /// The manifests of `app` with the parameters of its spec, rendered at `revisions`: one for each source.
    ///
    /// # Errors
    /// As for [`Self::manifests`].
    pub async fn manifests_at(
        &self,
        app: &AppRef,
        multi_source: bool,
        revisions: &[&str],
    ) -> Result<Vec<Value>, Error> {
        let positions: Vec<String> = (1..=revisions.len()).map(|n| n.to_string()).collect();
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        if multi_source {
            for (position, revision) in positions.iter().zip(revisions) {
                pairs.push(("sourcePositions", position));
                pairs.push(("revisions", revision));
            }
        } else if let Some(revision) = revisions.first() {
            pairs.push(("revision", revision));
        }
        let limit = self.timeouts.refresh;
        let body = self
            .of_application(Method::GET, app, "/manifests", &pairs, limit)
            .await?;
        let rendered: Rendered =
            serde_json::from_slice(&body).map_err(|e| Error::BadAnswer(e.to_string()))?;
        let parse = |text: &String| serde_json::from_str(text);
        let manifests = rendered
            .manifests
            .iter()
            .map(parse)
            .collect::<Result<_, _>>();
        manifests.map_err(|e: serde_json::Error| Error::BadAnswer(e.to_string()))
    }

    /// The `ApplicationSet` `name` in `namespace`, if there is one that the gate may read.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn application_set(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, Error> {
        let mut uri = format!("{}/api/v1/applicationsets/", self.base);
        encode_into(&mut uri, name);
        uri.push_str("?appsetNamespace=");
        encode_into(&mut uri, namespace);
        self.object(&uri).await
    }

    /// The `AppProject` `name`, if there is one that the gate may read.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn project(&self, name: &str) -> Result<Option<Value>, Error> {
        let mut uri = format!("{}/api/v1/projects/", self.base);
        encode_into(&mut uri, name);
        self.object(&uri).await
    }

    /// The `AppProject` `name` and the global ones that it takes part in; none if the gate may not read it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn projects(&self, name: &str) -> Result<Vec<Value>, Error> {
        let mut uri = format!("{}/api/v1/projects/", self.base);
        encode_into(&mut uri, name);
        uri.push_str("/detailed");
        let Some(detailed) = self.object(&uri).await? else {
            return Ok(Vec::new());
        };
        let own = json::at(&detailed, "/project").clone();
        let global = json::at(&detailed, "/globalProjects").as_array().cloned();
        Ok(std::iter::once(own)
            .chain(global.unwrap_or_default())
            .collect())
    }

    async fn object(&self, uri: &str) -> Result<Option<Value>, Error> {
        let request = self.signed(Method::GET, uri, Bytes::new())?;
        let (status, body) = self.within(self.timeouts.read, request).await?;
        match status {
            StatusCode::OK => serde_json::from_slice(&body)
                .map(Some)
                .map_err(|e| Error::BadAnswer(e.to_string())),
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Ok(None),
            StatusCode::UNAUTHORIZED => Err(Error::Unauthenticated),
            other => Err(Error::BadAnswer(format!("status {other}"))),
        }
    }

    /// The applications that the `ApplicationSet` in `set` (JSON) would make now. Argo CD runs its
    /// generators and keeps nothing.
    ///
    /// # Errors
    /// [`Error`]; a set that Argo CD cannot generate from is a bad answer, with what it says.
    pub async fn generate(&self, set: &Value) -> Result<Vec<Value>, Error> {
        let uri = format!("{}/api/v1/applicationsets/generate", self.base);
        let body = serde_json::json!({ "applicationSet": set }).to_string();
        let request = self.signed(Method::POST, &uri, body.into())?;
        let (status, body) = self.within(self.timeouts.refresh, request).await?;
        if status != StatusCode::OK {
            return Err(Error::BadAnswer(message(&body)));
        }
        let generated: Generated =
            serde_json::from_slice(&body).map_err(|e| Error::BadAnswer(e.to_string()))?;
        Ok(generated.applications)
    }

    /// Ends the operation that runs on `app`.
    ///
    /// # Errors
    /// [`Error`], as for [`Self::application`].
    pub async fn terminate(&self, app: &AppRef) -> Result<(), Error> {
        let limit = self.timeouts.read;
        self.of_application(Method::DELETE, app, "/operation", &[], limit)
            .await
            .map(|_| ())
    }

    /// What the upstream tells everybody at `path` (`/api/version`), asked without a credential.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn public(&self, path: &str) -> Result<Value, Error> {
        let request = Request::get(format!("{}{path}", self.base))
            .header(ACCEPT, "application/json")
            .body(Full::default())
            .map_err(|e| Error::Unreachable(e.into()))?;
        self.page(request).await
    }

    /// What the upstream tells the gate's account at `path` (`/api/v1/settings`).
    ///
    /// # Errors
    /// [`Error`].
    pub async fn told(&self, path: &str) -> Result<Value, Error> {
        let uri = format!("{}{path}", self.base);
        self.page(self.signed(Method::GET, &uri, Bytes::new())?)
            .await
    }

    async fn page(&self, request: Request<Full<Bytes>>) -> Result<Value, Error> {
        let (status, body) = self.within(self.timeouts.read, request).await?;
        match status {
            StatusCode::OK => {
                serde_json::from_slice(&body).map_err(|e| Error::BadAnswer(e.to_string()))
            }
            StatusCode::UNAUTHORIZED => Err(Error::Unauthenticated),
            other => Err(Error::BadAnswer(format!("status {other}"))),
        }
    }

    /// Begins to watch all applications: those that are there first, then what changes.
    ///
    /// # Errors
    /// [`Error`]; the stream's own errors come from [`Watch::next`].
    pub async fn watch(&self) -> Result<Watch, Error> {
        let uri = format!("{}/api/v1/stream/applications", self.base);
        let request = self.signed(Method::GET, &uri, Bytes::new())?;
        let limit = self.timeouts.read;
        let answer = tokio::time::timeout(limit, self.send(request))
            .await
            .map_err(|_| Error::Timeout(limit))??;
        match answer.status() {
            StatusCode::OK => Ok(Watch::new(answer.into_body())),
            StatusCode::UNAUTHORIZED => Err(Error::Unauthenticated),
            other => Err(Error::BadAnswer(format!("status {other}"))),
        }
    }

    /// What the upstream says at `page` of `app` about `which`.
    async fn of_application(
        &self,
        method: Method,
        app: &AppRef,
        page: &str,
        which: &[(&str, &str)],
        limit: Duration,
    ) -> Result<Bytes, Error> {
        let mut uri = format!("{}/api/v1/applications/", self.base);
        encode_into(&mut uri, &app.name);
        uri.push_str(page);
        let namespace = app.namespace.as_deref().map(|it| ("appNamespace", it));
        for (index, (key, value)) in namespace
            .into_iter()
            .chain(which.iter().copied())
            .enumerate()
        {
            uri.push(if index == 0 { '?' } else { '&' });
            uri.push_str(key);
            uri.push('=');
            encode_into(&mut uri, value);
        }
        // The base was checked and the rest is encoded; only a name of absurd length fails.
        let uri = uri
            .parse()
            .map_err(|_| Error::NoSuchApplication(app.clone()))?;
        self.ask(method, uri, limit, app).await
    }

    async fn ask(
        &self,
        method: Method,
        uri: Uri,
        limit: Duration,
        app: &AppRef,
    ) -> Result<Bytes, Error> {
        let request = self.signed(method, &uri.to_string(), Bytes::new())?;
        let (status, body) = self.within(limit, request).await?;
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                Err(Error::NoSuchApplication(app.clone()))
            }
            StatusCode::UNAUTHORIZED => Err(Error::Unauthenticated),
            other => Err(Error::BadAnswer(format!(
                "status {other}: {}",
                message(&body)
            ))),
        }
    }

    fn signed(
        &self,
        method: Method,
        uri: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Error> {
        Request::builder()
            .method(method)
            .uri(uri)
            .header(ACCEPT, "application/json")
            // Argo CD wants it of everything but GET, body or not.
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, self.authorization.clone())
            .body(Full::new(body))
            .map_err(|e| Error::Unreachable(e.into()))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        self.http
            .request(request)
            .await
            .map_err(|e| Error::Unreachable(e.into()))
    }

    async fn within(
        &self,
        limit: Duration,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), Error> {
        tokio::time::timeout(limit, self.collect(request))
            .await
            .map_err(|_| Error::Timeout(limit))?
    }

    async fn collect(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), Error> {
        let answer = self.send(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await;
        let body = body.map_err(|e| {
            if e.is::<LengthLimitError>() {
                Error::BadAnswer(format!("it has more than {MAX_ANSWER_BYTES} bytes"))
            } else {
                Error::Unreachable(e)
            }
        })?;
        Ok((status, body.to_bytes()))
    }
}

/// What an error of Argo CD's says, in one line of bounded length.
fn message(body: &[u8]) -> String {
    const MOST: usize = 300;
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let words = json::text(&said, "/message").split_whitespace();
    let line = words.collect::<Vec<_>>().join(" ");
    line.chars().take(MOST).collect()
}

/// By hand: the credential stays out of logs.
impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
