//! What Kubernetes keeps of an application's events, for about an hour.

use jiff::Timestamp;
use serde_json::Value;

use super::{Client, Error, Method};
use crate::json;
use crate::names::AppRef;

/// The most events that are looked at.
const MOST: usize = 1000;

/// One event of an Application object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesEvent {
    /// When it was last seen.
    pub at: Timestamp,
    /// What happened: `OperationStarted`, `OperationCompleted`.
    pub reason: String,
    /// The sentence.
    pub message: String,
    /// Who did it, as Argo CD notes it; empty where it does not.
    pub user: String,
}

impl Client {
    /// The newest events of `app`, oldest first. An event without a time is passed over.
    ///
    /// # Errors
    /// [`Error`], as for [`Client::application`].
    pub async fn events(&self, app: &AppRef) -> Result<Vec<KubernetesEvent>, Error> {
        let limit = self.timeouts.read;
        let body = self
            .of_application(Method::GET, app, "/events", &[], limit)
            .await?;
        events_of(&body)
    }
}

pub(super) fn events_of(body: &[u8]) -> Result<Vec<KubernetesEvent>, Error> {
    let list: Value = serde_json::from_slice(body).map_err(|e| Error::BadAnswer(e.to_string()))?;
    let items = json::at(&list, "/items").as_array().into_iter().flatten();
    let mut events: Vec<_> = items.filter_map(event).collect();
    events.sort_by_key(|event| event.at);
    let beyond = events.len().saturating_sub(MOST);
    Ok(events.split_off(beyond))
}

fn event(item: &Value) -> Option<KubernetesEvent> {
    let text = |pointer| json::text(item, pointer).to_owned();
    let times = ["/lastTimestamp", "/eventTime", "/firstTimestamp"];
    let at = times
        .iter()
        .find_map(|at| json::text(item, at).parse().ok());
    Some(KubernetesEvent {
        at: at?,
        reason: text("/reason"),
        message: text("/message"),
        user: text("/metadata/annotations/user"),
    })
}
