//! Applications: what a predicate sees of one, and the rule that keeps or drops it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Error, Rule, Seen, protobuf};

/// The JSON paths of an Application that its facts are read from.
pub(super) const PATHS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "metadata.labels",
    "spec.project",
    "spec.destination",
];

/// The facts of an Application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppFacts {
    /// `metadata.name`; never empty.
    pub name: String,
    /// `metadata.namespace`; empty when the answer does not tell.
    pub namespace: String,
    /// `spec.project`; empty means `default`.
    pub project: String,
    /// `metadata.uid`; absent from REST answers that chose their fields.
    pub uid: Option<String>,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `spec.destination`.
    pub destination: Destination,
}

/// Where an Application is rolled out to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Destination {
    /// The URL of the cluster; empty where `name` says which.
    pub server: String,
    /// The namespace there.
    pub namespace: String,
    /// The name of the cluster; empty where `server` says which.
    pub name: String,
}

/// An Application as JSON has it.
#[derive(Deserialize)]
struct Application {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
    uid: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    project: String,
    destination: Destination,
}

impl AppFacts {
    /// The facts of an Application in JSON.
    ///
    /// # Errors
    /// [`Error`] when it is malformed or has no name.
    pub fn from_json(object: &[u8]) -> Result<Self, Error> {
        let read = serde_json::from_slice(object);
        Self::of(read.map_err(|_| Error::Malformed)?)
    }

    /// The same of one that is read already.
    ///
    /// # Errors
    /// The same.
    pub fn from_value(object: &Value) -> Result<Self, Error> {
        Self::of(Application::deserialize(object).map_err(|_| Error::Malformed)?)
    }

    /// The facts of an Application in protobuf.
    ///
    /// # Errors
    /// The same.
    pub fn from_protobuf(object: &[u8]) -> Result<Self, Error> {
        protobuf::application(object)
    }

    fn of(Application { metadata, spec }: Application) -> Result<Self, Error> {
        if metadata.name.is_empty() {
            return Err(Error::NoName);
        }
        Ok(Self {
            name: metadata.name,
            namespace: metadata.namespace,
            project: spec.project,
            uid: metadata.uid,
            labels: metadata.labels.unwrap_or_default(),
            destination: spec.destination,
        })
    }
}

/// Keeps the Applications that the predicate says yes to.
pub struct Applications<P>(pub P);

impl<P: Fn(&AppFacts) -> bool + Send> Rule for Applications<P> {
    fn protobuf<'a>(&self, object: &'a [u8]) -> Result<Seen<'a>, Error> {
        let facts = AppFacts::from_protobuf(object)?;
        Ok((self.0)(&facts).then_some(Cow::Borrowed(object)))
    }

    fn json<'a>(&self, object: &'a [u8]) -> Result<Seen<'a>, Error> {
        let facts = AppFacts::from_json(object)?;
        Ok((self.0)(&facts).then_some(Cow::Borrowed(object)))
    }
}
