//! `Create`, `Generate` and `Delete` of an application set.

use std::fmt;

use bytes::Bytes;
use serde_json::Value;

use super::checked::Checked;
use super::{Body, Error, is_object_name, shown};
use crate::argocd::json;
use crate::argocd::operation::Operation;

/// An application set as a caller writes it.
#[derive(Clone, PartialEq)]
pub struct SetWritten {
    /// Its name.
    pub name: String,
    /// The namespace of the object; `None` is Argo CD's own.
    pub namespace: Option<String>,
    /// Whether `Create` may also change a set that is there.
    pub upsert: bool,
    /// Nothing is stored: `Generate`, and a dry run of `Create`.
    pub dry_run: bool,
    /// As Argo CD's JSON, in normal form: `metadata` and `spec`.
    pub set: Value,
    /// The body to send on, framed for its wire.
    pub forward: Bytes,
}

/// The application set that `Delete` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetDelete {
    /// Its name.
    pub name: String,
    /// The namespace of the object; `None` is Argo CD's own.
    pub namespace: Option<String>,
    /// The body to send on, framed for its wire.
    pub forward: Bytes,
}

/// By hand: generators may hold secrets.
impl fmt::Debug for SetWritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetWritten")
            .field("name", &self.name)
            .field("namespace", &self.namespace)
            .field("upsert", &self.upsert)
            .field("dry_run", &self.dry_run)
            .finish_non_exhaustive()
    }
}

/// Reads `Create` and `Generate`.
pub(super) fn read(mut request: Checked, operation: Operation) -> Result<Body, Error> {
    let generates = operation == Operation::ApplicationSetGenerate;
    let set = request.take(if generates {
        "applicationSet"
    } else {
        "applicationset"
    })?;
    let text = |place| json::at(&set, place).and_then(Value::as_str);
    // A set that is only generated may go without a name.
    let name = match name("applicationset.metadata.name", text("metadata.name"))? {
        None if generates => String::new(),
        name => name.ok_or(Error::Missing("applicationset.metadata.name"))?,
    };
    Ok(Body::ApplicationSet(Box::new(SetWritten {
        name,
        namespace: self::name(
            "applicationset.metadata.namespace",
            text("metadata.namespace"),
        )?,
        upsert: request.flag("upsert"),
        dry_run: generates || request.flag("dryRun"),
        set,
        forward: request.forward,
    })))
}

/// Reads `Delete`.
pub(super) fn delete(request: Checked) -> Result<Body, Error> {
    Ok(Body::ApplicationSetDelete(SetDelete {
        name: name("name", request.text("name"))?.ok_or(Error::Missing("name"))?,
        namespace: name("appsetNamespace", request.text("appsetNamespace"))?,
        forward: request.forward,
    }))
}

fn name(field: &'static str, text: Option<&str>) -> Result<Option<String>, Error> {
    match text {
        Some(text) if !is_object_name(text) => Err(Error::Name {
            field,
            value: shown(text),
        }),
        text => Ok(text.map(str::to_owned)),
    }
}
