//! Resources of an application: nodes of trees, and managed resources. Those that are Applications
//! themselves are seen by who may read these; all others are part of the application asked about.

use std::borrow::Cow;

use serde::Deserialize;

use super::{AppFacts, Error, Rule, Seen, json, protobuf};

/// The JSON paths of a resource that its name is read from.
pub(super) const PATHS: &[&str] = &["group", "kind", "namespace", "name"];

/// The same for a node, with those of its parents.
pub(super) const NODE_PATHS: &[&str] = &[
    "group",
    "kind",
    "namespace",
    "name",
    "parentRefs.group",
    "parentRefs.kind",
    "parentRefs.namespace",
    "parentRefs.name",
];

/// Names a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Named {
    /// Its API group.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Named {
    /// Whether it is an Application.
    #[must_use]
    pub fn is_application(&self) -> bool {
        self.group == "argoproj.io" && self.kind == "Application"
    }
}

/// Keeps the nodes of a tree but those of Applications that the predicate says no to. These are left
/// out of the parents of others, too.
pub struct Nodes<P>(pub P);

impl<P: Fn(&Named) -> bool + Send> Nodes<P> {
    fn hides(&self, name: &Named) -> bool {
        name.is_application() && !(self.0)(name)
    }
}

impl<P: Fn(&Named) -> bool + Send> Rule for Nodes<P> {
    fn protobuf<'a>(&self, object: &'a [u8]) -> Result<Seen<'a>, Error> {
        protobuf::node(object, &|name| self.hides(name))
    }

    fn json<'a>(&self, object: &'a [u8]) -> Result<Seen<'a>, Error> {
        let name: Named = serde_json::from_slice(object).map_err(|_| Error::Malformed)?;
        if self.hides(&name) {
            return Ok(None);
        }
        json::without(object, "parentRefs", &|parent| {
            let parent: Named = serde_json::from_slice(parent).map_err(|_| Error::Malformed)?;
            Ok(self.hides(&parent))
        })
        .map(Some)
    }
}

/// Keeps the managed resources but those of Applications that the predicate says no to. It is given
/// what the answer itself tells of an Application: its states, live and wanted.
pub struct Diffs<P>(pub P);

/// What JSON tells of a managed resource.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Diff {
    #[serde(rename = "liveState")]
    live: String,
    #[serde(rename = "normalizedLiveState")]
    normalized_live: String,
    #[serde(rename = "predictedLiveState")]
    predicted_live: String,
    #[serde(rename = "targetState")]
    target: String,
}

impl<P: Fn(&Named, &[AppFacts]) -> bool + Send> Diffs<P> {
    fn hides(&self, name: &Named, states: &[String]) -> bool {
        if !name.is_application() {
            return false;
        }
        // A state that is absent is empty, or the JSON `null`.
        let states = states.iter().filter(|s| !s.is_empty() && *s != "null");
        let states = states.map(|state| AppFacts::from_json(state.as_bytes()));
        match states.collect::<Result<Vec<_>, _>>() {
            Ok(states) => !(self.0)(name, &states),
            Err(_) => true,
        }
    }
}

impl<P: Fn(&Named, &[AppFacts]) -> bool + Send> Rule for Diffs<P> {
    fn protobuf<'a>(&self, object: &'a [u8]) -> Result<Seen<'a>, Error> {
        let (name, states) = protobuf::diff(object)?;
        Ok((!self.hides(&name, &states)).then_some(Cow::Borrowed(object)))
    }

    fn json<'a>(&self, object: &'a [u8]) -> Result<Seen<'a>, Error> {
        let name: Named = serde_json::from_slice(object).map_err(|_| Error::Malformed)?;
        if !name.is_application() {
            return Ok(Some(Cow::Borrowed(object)));
        }
        let states: Diff = serde_json::from_slice(object).map_err(|_| Error::Malformed)?;
        let states = [
            states.live,
            states.normalized_live,
            states.predicted_live,
            states.target,
        ];
        Ok((!self.hides(&name, &states)).then_some(Cow::Borrowed(object)))
    }
}
