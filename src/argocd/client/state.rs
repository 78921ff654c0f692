//! What Argo CD knows of the live state of an application: its tree, events of one resource, logs.

use std::time::Duration;

use serde_json::Value;

use super::events::{KubernetesEvent, events_of};
use super::{Client, Error, Method};
use crate::json;
use crate::names::AppRef;

/// How long a pod may take to hand out its last lines.
const LOGS: Duration = Duration::from_secs(10);

/// A Kubernetes object, as the tree of an application names it.
#[derive(Clone, Copy, Debug)]
pub struct LiveObject<'a> {
    /// Its namespace; empty where it has none.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
}

impl Client {
    /// The tree of live resources of `app`: `nodes` as Argo CD writes them.
    ///
    /// # Errors
    /// [`Error`], as for [`Client::application`].
    pub async fn tree(&self, app: &AppRef) -> Result<Value, Error> {
        let limit = self.timeouts.read;
        let body = self
            .of_application(Method::GET, app, "/resource-tree", &[], limit)
            .await?;
        serde_json::from_slice(&body).map_err(|e| Error::BadAnswer(e.to_string()))
    }

    /// The newest events of one live object of `app`, oldest first.
    ///
    /// # Errors
    /// [`Error`], as for [`Client::application`].
    pub async fn events_of(
        &self,
        app: &AppRef,
        object: LiveObject<'_>,
    ) -> Result<Vec<KubernetesEvent>, Error> {
        let which = [
            ("resourceName", object.name),
            ("resourceNamespace", object.namespace),
            ("resourceUID", object.uid),
        ];
        let limit = self.timeouts.read;
        let body = self
            .of_application(Method::GET, app, "/events", &which, limit)
            .await?;
        events_of(&body)
    }

    /// The last `lines` lines that a pod of `app` wrote.
    ///
    /// # Errors
    /// [`Error`]; a pod without logs, or with several containers of which none is the default one, is a
    /// bad answer.
    pub async fn logs(
        &self,
        app: &AppRef,
        namespace: &str,
        pod: &str,
        lines: usize,
    ) -> Result<Vec<String>, Error> {
        let tail = lines.to_string();
        let which = [
            ("namespace", namespace),
            ("podName", pod),
            ("tailLines", tail.as_str()),
        ];
        let body = self
            .of_application(Method::GET, app, "/logs", &which, LOGS)
            .await?;
        let mut written = Vec::new();
        for line in body.split(|byte| *byte == b'\n').filter(|l| !l.is_empty()) {
            let line: Value =
                serde_json::from_slice(line).map_err(|e| Error::BadAnswer(e.to_string()))?;
            let error = json::text(&line, "/error/message");
            if !error.is_empty() {
                return Err(Error::BadAnswer(error.to_owned()));
            }
            // The end of the stream is told by an entry of its own.
            if json::at(&line, "/result/last") != &Value::Bool(true) {
                written.push(json::text(&line, "/result/content").to_owned());
            }
        }
        Ok(written)
    }
}
