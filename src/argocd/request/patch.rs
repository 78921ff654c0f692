//! Patches of JSON: RFC 6902 and RFC 7396, where Argo CD and Kubernetes read them the same.
//!
//! In: the text of a patch, and the object that it is for. Out: the object as it would be. Both
//! upstreams use one Go library, which takes more than the standards do; what it would read otherwise
//! than they say is refused by name: pointers that do not begin with `/`, the whole document as a
//! target, negative or odd indices, `-` elsewhere than at the end of what is added, unknown
//! operations and members, equal keys, and `null` inside of a list of a merge patch, which it drops.

use std::fmt;

use bytes::Bytes;
use json_patch::PatchOperation;
use serde_json::{Map, Value};

use super::checked::Checked;
use super::{Body, Error, shown};
use crate::argocd::{json, written};

/// The most operations of one patch.
const MAX_OPERATIONS: usize = 1_000;

/// Why a patch is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchFault {
    /// It does not fit the object.
    #[error("the patch does not fit: {0}")]
    Apply(String),
    /// The JSON of the patch.
    #[error("the patch: {0}")]
    Json(#[from] json::Error),
    /// A `null` in a list, which the upstream would drop.
    #[error("the merge patch has `null` inside of the list `{0}`")]
    NullInList(String),
    /// An operation that is not one of the six, or lacks a member, or has one too many.
    #[error("operation {place} of the patch: {what}")]
    Operation {
        /// Its place, from 0.
        place: usize,
        /// What is wrong.
        what: String,
    },
    /// A pointer that is not taken.
    #[error("the patch has the pointer `{0}`, which readers take differently")]
    Pointer(String),
    /// What the patch is, or is called.
    #[error("the patch is not {0}")]
    Shape(&'static str),
}

/// A patch whose outcome can be told.
#[derive(Clone, PartialEq)]
pub enum Patch {
    /// RFC 6902.
    Json(json_patch::Patch),
    /// RFC 7396.
    Merge(Value),
}

/// By hand: patches may hold secrets.
impl fmt::Debug for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json(_) => "Json(..)",
            Self::Merge(_) => "Merge(..)",
        })
    }
}

/// A patch of an application.
#[derive(Clone, Debug, PartialEq)]
pub struct ApplicationPatch {
    /// The patch.
    pub patch: Patch,
    /// The body to send on, framed for its wire.
    pub forward: Bytes,
}

impl ApplicationPatch {
    /// The application `live` (as Argo CD gives it) as it would be, in normal form: `metadata` and
    /// `spec`, which is what Argo CD keeps of the outcome.
    ///
    /// # Errors
    /// [`Error`] when the patch does not fit, or makes something that is no application to the last
    /// key.
    pub fn apply(&self, live: &Value) -> Result<Value, Error> {
        Ok(written::application_of_json(&self.patch.apply(live)?)?)
    }
}

impl Patch {
    /// Reads an RFC 6902 patch.
    ///
    /// # Errors
    /// [`Error::Patch`], which names what is not taken.
    pub fn json(text: &str) -> Result<Self, Error> {
        let Value::Array(operations) =
            json::read_free(text.as_bytes()).map_err(PatchFault::Json)?
        else {
            return Err(PatchFault::Shape("a list of operations").into());
        };
        if operations.len() > MAX_OPERATIONS {
            return Err(PatchFault::Shape("as short as patches are").into());
        }
        let read = |(place, operation)| operation_of(place, operation);
        let operations: Result<_, PatchFault> =
            operations.into_iter().enumerate().map(read).collect();
        Ok(Self::Json(json_patch::Patch(operations?)))
    }

    /// Reads an RFC 7396 patch.
    ///
    /// # Errors
    /// [`Error::Patch`], which names what is not taken.
    pub fn merge(text: &str) -> Result<Self, Error> {
        let patch = json::read_free(text.as_bytes()).map_err(PatchFault::Json)?;
        if !patch.is_object() {
            return Err(PatchFault::Shape("an object").into());
        }
        no_null_in_lists(&patch, "", false)?;
        Ok(Self::Merge(patch))
    }

    /// `to` as it would be. Of an Argo CD application use [`ApplicationPatch::apply`].
    ///
    /// # Errors
    /// [`Error::Patch`] when the patch does not fit.
    pub fn apply(&self, to: &Value) -> Result<Value, Error> {
        let mut out = to.clone();
        match self {
            Self::Json(patch) => json_patch::patch_unsafe(&mut out, patch)
                .map_err(|error| PatchFault::Apply(shown(&error.to_string())))?,
            Self::Merge(patch) => json_patch::merge(&mut out, patch),
        }
        Ok(out)
    }
}

/// Reads `Patch` of an application.
pub(super) fn read(request: Checked) -> Result<Body, Error> {
    let patch = request.needed("patch")?;
    let patch = match request.text("patchType") {
        None | Some("json") => Patch::json(patch)?,
        Some("merge") => Patch::merge(patch)?,
        Some(_) => return Err(PatchFault::Shape("of the type `json` or `merge`").into()),
    };
    Ok(Body::Patch(ApplicationPatch {
        patch,
        forward: request.forward,
    }))
}

fn operation_of(place: usize, operation: Value) -> Result<PatchOperation, PatchFault> {
    let fault = |what: &str| PatchFault::Operation {
        place,
        what: shown(what),
    };
    let Value::Object(members) = &operation else {
        return Err(fault("it is not an object"));
    };
    let name = members
        .get("op")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let wanted: &[&str] = match name {
        "add" | "replace" | "test" => &["op", "path", "value"],
        "copy" | "move" => &["from", "op", "path"],
        "remove" => &["op", "path"],
        _ => return Err(fault("`op` is not one of the six")),
    };
    if let Some(missing) = wanted.iter().find(|member| !members.contains_key(**member)) {
        return Err(fault(&format!("`{missing}` is missing")));
    }
    if let Some(extra) = members.keys().find(|key| !wanted.contains(&key.as_str())) {
        return Err(fault(&format!("`{extra}` is not a member of `{name}`")));
    }
    let adds = matches!(name, "add" | "copy" | "move");
    pointer(members, "path", adds)?;
    if members.contains_key("from") {
        pointer(members, "from", false)?;
    }
    serde_json::from_value(operation).map_err(|error| fault(&error.to_string()))
}

/// Refuses a pointer that is read differently; `adds` where `-` may stand for the end of a list.
fn pointer(members: &Map<String, Value>, member: &str, adds: bool) -> Result<(), PatchFault> {
    let text = members.get(member).and_then(Value::as_str);
    let text = text.ok_or(PatchFault::Shape("one whose pointers are texts"))?;
    let refused = || PatchFault::Pointer(shown(text));
    let mut steps = text
        .strip_prefix('/')
        .ok_or_else(refused)?
        .split('/')
        .peekable();
    while let Some(step) = steps.next() {
        let last = steps.peek().is_none();
        let mut after_tilde = step.split('~').skip(1);
        let escaped = after_tilde.all(|rest| rest.starts_with(['0', '1']));
        // Go would count from the end, or take `+1` and `01` for 1.
        let number = step.strip_prefix(['-', '+']).unwrap_or(step);
        let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let odd = digits && (number != step || (step.len() > 1 && step.starts_with('0')));
        if !escaped || odd || (step == "-" && !(last && adds)) {
            return Err(refused());
        }
    }
    Ok(())
}

fn no_null_in_lists(value: &Value, place: &str, in_list: bool) -> Result<(), PatchFault> {
    match value {
        Value::Null if in_list => Err(PatchFault::NullInList(shown(place))),
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| no_null_in_lists(item, place, true)),
        Value::Object(fields) => fields.iter().try_for_each(|(key, value)| {
            no_null_in_lists(value, &format!("{place}/{key}"), in_list)
        }),
        _ => Ok(()),
    }
}
