//! What passed since the last look, from what Argo CD and Kubernetes still keep of it.
//!
//! `status.operationState` has the newest operation alone, `status.history` the last ones that
//! succeeded as a whole, and the events of about an hour that any began, and by whom. None has a
//! remark but the first.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::ran::{Object, Ran, time};
use crate::argocd::client::KubernetesEvent;
use crate::json::at;

/// How long Argo CD's controller may take up an operation after the event that it was asked for.
const TAKEN_UP: SignedDuration = SignedDuration::from_mins(10);
/// The two clocks tell whole seconds.
const ROUNDING: SignedDuration = SignedDuration::from_secs(2);

/// The operations of `application` that began after `last`, oldest first. The newest is among them
/// unless it is the one of `last`.
pub(super) fn since(object: &Object, application: &Value, last: Option<Timestamp>) -> Vec<Ran> {
    let current = object.state(application);
    let newest = current.as_ref().map(|ran| ran.started_at);
    let history = at(application, "/status/history").as_array();
    let passed = history.into_iter().flatten();
    let mut new: Vec<Ran> = passed
        .filter_map(|entry| object.history(entry))
        .filter(|ran| last.is_none_or(|last| ran.started_at > last))
        .filter(|ran| newest.is_none_or(|newest| ran.started_at < newest))
        .collect();
    new.sort_by_key(|ran| ran.started_at);
    // An earlier begin than the last one is one that was not judged either: clocks are set back.
    new.extend(current.filter(|ran| Some(ran.started_at) != last));
    new
}

/// Adds what `events` tell to `ran` (oldest first), and the operations of which only they tell.
pub(super) fn with_events(
    object: &Object,
    ran: &mut Vec<Ran>,
    events: &[KubernetesEvent],
    last: Option<Timestamp>,
) {
    let mut unknown = Vec::new();
    let is_new = |event: &&KubernetesEvent| last.is_none_or(|last| event.at > last + ROUNDING);
    let started = events
        .iter()
        .filter(|event| event.reason == "OperationStarted");
    let mut taken = vec![false; ran.len()];
    for event in started.filter(is_new) {
        // The first operation that can be the one that this event is about, each for one event.
        let about = ran.iter_mut().zip(&mut taken).find(|(ran, taken)| {
            let later = ran.started_at.duration_since(event.at);
            !**taken && later >= -ROUNDING && later <= TAKEN_UP
        });
        match about {
            Some((ran, taken)) => {
                *taken = true;
                ran.add_event(event);
            }
            None => unknown.push(object.event(event)),
        }
    }
    ran.extend(unknown);
    ran.sort_by_key(|ran| ran.started_at);
    let ended = events
        .iter()
        .filter(|event| event.reason == "OperationCompleted");
    for event in ended.filter(is_new) {
        let before = ran
            .iter_mut()
            .rev()
            .find(|ran| ran.started_at <= event.at + ROUNDING);
        if let Some(ran) = before {
            ran.add_event(event);
        }
    }
}

/// When the Application object was made, if it says so.
pub(super) fn created(application: &Value) -> Option<Timestamp> {
    time(at(application, "/metadata/creationTimestamp"))
}
