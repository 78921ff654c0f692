//! `Create`, `Update` and `UpdateSpec`: the application as the caller writes it.
//!
//! Argo CD keeps a `status` that comes with `Create`, so a forged one is refused there. `Update`
//! ignores `status` and `operation`, and the web UI sends both as it read them: they are left out of
//! what is sent on.

use std::fmt;

use bytes::Bytes;
use serde_json::{Value, json};

use super::checked::Checked;
use super::{Body, Error};
use crate::argocd::operation::Operation;

/// An application as a caller writes it.
#[derive(Clone, PartialEq)]
pub struct Written {
    /// As Argo CD's JSON, in normal form: `metadata` and `spec`, or for `UpdateSpec` `spec` alone.
    pub application: Value,
    /// Whether `Create` may also change an application that is there.
    pub upsert: bool,
    /// The body to send on, framed for its wire.
    pub forward: Bytes,
}

/// By hand: parameters may hold secrets.
impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Written")
            .field("upsert", &self.upsert)
            .finish_non_exhaustive()
    }
}

/// Reads the body of one of the three operations.
pub(super) fn read(mut request: Checked, operation: Operation) -> Result<Body, Error> {
    let application = match operation {
        Operation::ApplicationUpdateSpec => json!({ "spec": request.take("spec")? }),
        _ => request.take("application")?,
    };
    Ok(Body::Application(Box::new(Written {
        application,
        upsert: request.flag("upsert"),
        forward: request.forward,
    })))
}
