//! The write by which a rollback is carried out: a patch of the `operation` of an Application.
//!
//! Argo CD's own API cannot do it: its Rollback skips hooks, its Sync takes no recorded parameters, and both are
//! refused while automated sync is on. In: the object as it was read, and the operation. Out: it is written, if the
//! object is still as it was read; or else why not. Never: any other write, or one without a permit.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use kube::client::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::argocd::path::encode_into;
use crate::config::Rollback;
use crate::json;
use crate::policy::Permitted;

/// How long the API server may take: it asks the admission door, which may take 25 seconds.
const TIMEOUT: Duration = Duration::from_secs(40);

/// Why an operation was not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object was changed since it was read.
    #[error("the application was changed meanwhile")]
    Changed,
    /// The kubeconfig, or the account of the pod, cannot be used.
    #[error("the Kubernetes API cannot be used: {0}")]
    Config(String),
    /// The API server does not want it, for good.
    #[error("the Kubernetes API refuses it: {0}")]
    Refused(String),
    /// Nobody can tell whether it was written.
    #[error("the Kubernetes API did not answer: {0}")]
    Unknown(String),
}

/// The start of an operation of an Application.
#[derive(Debug)]
pub struct Start {
    /// The Application object as it was read.
    pub live: Value,
    /// The operation that Argo CD is to carry out.
    pub operation: Value,
}

/// The Kubernetes API of the cluster of Argo CD.
pub struct Kubernetes {
    config: Rollback,
    client: OnceCell<Client>,
}

impl Kubernetes {
    /// The API that `config` leads to; nothing is connected yet.
    #[must_use]
    pub fn new(config: Rollback) -> Self {
        Self {
            config,
            client: OnceCell::new(),
        }
    }

    /// Whether there is a client: the kubeconfig, or the account of the pod, can be used.
    #[must_use]
    pub fn is_set_up(&self) -> bool {
        self.client.initialized()
    }

    /// The client, made at the first use; what could not be made is tried again.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub async fn client(&self) -> Result<&Client, Error> {
        self.client.get_or_try_init(|| connect(&self.config)).await
    }

    /// Writes what is permitted. Argo CD begins it then.
    ///
    /// # Errors
    /// [`Error`]; only after [`Error::Unknown`] it may have been written.
    pub async fn begin(&self, permitted: &Permitted<Start>) -> Result<(), Error> {
        let client = self.client().await?;
        let Start { live, operation } = permitted.call();
        let text = |pointer| json::text(live, pointer);
        let mut uri = "/apis/argoproj.io/v1alpha1/namespaces/".to_owned();
        encode_into(&mut uri, text("/metadata/namespace"));
        uri.push_str("/applications/");
        encode_into(&mut uri, text("/metadata/name"));
        uri.push_str("?fieldManager=syncgate");
        let patch = json!({
            // The API server refuses the patch of an object that is not this one any more.
            "metadata": {
                "resourceVersion": text("/metadata/resourceVersion"),
                "uid": text("/metadata/uid"),
            },
            "operation": operation,
        });
        let request = Request::patch(uri)
            .header(CONTENT_TYPE, "application/merge-patch+json")
            .body(patch.to_string().into_bytes())
            .map_err(|error| Error::Refused(error.to_string()))?;
        let asked = tokio::time::timeout(TIMEOUT, client.request::<Value>(request)).await;
        let answer = asked.map_err(|_| Error::Unknown(format!("within {TIMEOUT:?}")))?;
        answer.map(drop).map_err(|error| not_written(&error))
    }
}

async fn connect(config: &Rollback) -> Result<Client, Error> {
    let unusable = |error: &dyn std::error::Error| Error::Config(crate::telemetry::chain(error));
    let config = match &config.kubeconfig {
        None => kube::Config::incluster().map_err(|error| unusable(&error))?,
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(|error| unusable(&error))?;
            let options = KubeConfigOptions {
                context: config.context.clone(),
                ..KubeConfigOptions::default()
            };
            let read = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
            read.map_err(|error| unusable(&error))?
        }
    };
    Client::try_from(config).map_err(|error| unusable(&error))
}

fn not_written(error: &kube::Error) -> Error {
    let kube::Error::Api(status) = error else {
        return Error::Unknown(crate::telemetry::chain(error));
    };
    match StatusCode::from_u16(status.code) {
        Ok(StatusCode::CONFLICT) => Error::Changed,
        Ok(code) if code.is_client_error() && code != StatusCode::TOO_MANY_REQUESTS => {
            Error::Refused(status.message.clone())
        }
        _ => Error::Unknown(status.message.clone()),
    }
}
