//! `PatchResource`, `DeleteResource` and the two `RunResourceAction`: changes of one live object.

use std::fmt;

use bytes::Bytes;
use serde_json::Value;

use super::checked::Checked;
use super::patch::Patch;
use super::{Body, Error};
use crate::argocd::json;
use crate::argocd::operation::Operation;

/// The media types of the patches that are read.
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// A change of one live object in the tree of an application.
#[derive(Clone, PartialEq)]
pub struct ResourceCall {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The namespace; empty for objects that have none.
    pub namespace: String,
    /// The name of the object.
    pub name: String,
    /// The version of the API.
    pub version: String,
    /// What is done to it.
    pub change: ResourceChange,
    /// The body to send on, framed for its wire.
    pub forward: Bytes,
}

/// What is done to a live object.
#[derive(Clone, Debug, PartialEq)]
pub enum ResourceChange {
    /// An action is run on it.
    Action {
        /// Its name.
        name: String,
        /// What it is given.
        parameters: Vec<(String, String)>,
    },
    /// It is deleted.
    Delete,
    /// It is patched.
    Patch(ResourcePatch),
}

/// A patch of a live object.
#[derive(Clone, Debug, PartialEq)]
pub enum ResourcePatch {
    /// One whose outcome can be told.
    Known(Patch),
    /// One that only the cluster can apply, by its media type.
    Other(String),
}

/// By hand: patches may hold secrets.
impl fmt::Debug for ResourceCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceCall")
            .field("group", &self.group)
            .field("kind", &self.kind)
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Reads the body of one of the four operations.
pub(super) fn read(request: Checked, operation: Operation) -> Result<Body, Error> {
    let text = |field| request.text(field).unwrap_or_default().to_owned();
    let change = match operation {
        Operation::ApplicationDeleteResource => ResourceChange::Delete,
        Operation::ApplicationPatchResource => ResourceChange::Patch(patch(&request)?),
        _ => ResourceChange::Action {
            name: request.needed("action")?.to_owned(),
            parameters: parameters(&request),
        },
    };
    Ok(Body::Resource(Box::new(ResourceCall {
        group: text("group"),
        kind: request.needed("kind")?.to_owned(),
        namespace: text("namespace"),
        name: request.needed("resourceName")?.to_owned(),
        version: text("version"),
        change,
        forward: request.forward,
    })))
}

fn patch(request: &Checked) -> Result<ResourcePatch, Error> {
    let patch = request.needed("patch")?;
    Ok(match request.needed("patchType")? {
        JSON_PATCH => ResourcePatch::Known(Patch::json(patch)?),
        MERGE_PATCH => ResourcePatch::Known(Patch::merge(patch)?),
        other => ResourcePatch::Other(other.to_owned()),
    })
}

fn parameters(request: &Checked) -> Vec<(String, String)> {
    let list = request.value("resourceActionParameters");
    let text = |value: &Value, name| {
        let text = json::at(value, name).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    list.and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|parameter| (text(parameter, "name"), text(parameter, "value")))
        .collect()
}
