//! A request that is read to the last field, from whichever wire, as one JSON object.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::source::Source;
use super::{Error, shown};
use crate::argocd::operation::Operation;
use crate::argocd::table::Rest;
use crate::argocd::{framing, json, protobuf, written};

/// The request message of an operation that is read whole.
pub(super) fn message_of(operation: Operation) -> Option<&'static str> {
    Some(match operation {
        Operation::ApplicationCreate => "ApplicationCreateRequest",
        Operation::ApplicationDelete => "ApplicationDeleteRequest",
        Operation::ApplicationDeleteResource => "ApplicationResourceDeleteRequest",
        Operation::ApplicationPatch => "ApplicationPatchRequest",
        Operation::ApplicationPatchResource => "ApplicationResourcePatchRequest",
        Operation::ApplicationRollback => "ApplicationRollbackRequest",
        Operation::ApplicationRunResourceAction => "ResourceActionRunRequest",
        Operation::ApplicationRunResourceActionV2 => "ResourceActionRunRequestV2",
        Operation::ApplicationSetCreate => "ApplicationSetCreateRequest",
        Operation::ApplicationSetDelete => "ApplicationSetDeleteRequest",
        Operation::ApplicationSetGenerate => "ApplicationSetGenerateRequest",
        Operation::ApplicationTerminateOperation => "OperationTerminateRequest",
        Operation::ApplicationUpdate => "ApplicationUpdateRequest",
        Operation::ApplicationUpdateSpec => "ApplicationUpdateSpecRequest",
        _ => return None,
    })
}

/// The field of a request that holds a whole object, its message, and whether a `status` in it is
/// refused instead of left out.
fn object_in(operation: Operation) -> Option<(&'static str, &'static str, bool)> {
    match operation {
        Operation::ApplicationCreate => Some(("application", "Application", true)),
        Operation::ApplicationUpdate => Some(("application", "Application", false)),
        Operation::ApplicationSetCreate => Some(("applicationset", "ApplicationSet", true)),
        Operation::ApplicationSetGenerate => Some(("applicationSet", "ApplicationSet", false)),
        _ => None,
    }
}

/// The deepest nesting in which a blank `status` is looked through.
const BLANK_DEPTH: u8 = 8;

/// A request, read.
pub(super) struct Checked {
    fields: Map<String, Value>,
    /// The body to send on, framed for its wire.
    pub(super) forward: Bytes,
}

impl Checked {
    /// Reads the request of `operation`, whose message is `name`.
    pub(super) fn read(
        source: &Source<'_>,
        operation: Operation,
        name: &'static str,
    ) -> Result<Self, Error> {
        match source {
            Source::Protobuf(message) => Self::of_message(message, operation, name),
            Source::Rest { .. } => Self::of_rest(source, operation, name),
        }
    }

    fn of_message(message: &[u8], operation: Operation, name: &'static str) -> Result<Self, Error> {
        let message = match object_in(operation) {
            Some((_, object, refuse)) => without_status(message, object, refuse)?,
            None => message.to_vec(),
        };
        let message = written::Message::read(name, &message)?;
        Self::of(message.value()?, framing::write_message(&message.bytes)?)
    }

    /// The request as the upstream puts it together: from path, query and body.
    fn of_rest(
        source: &Source<'_>,
        operation: Operation,
        name: &'static str,
    ) -> Result<Self, Error> {
        let Source::Rest { classified, body } = source else {
            return Err(Error::Missing("body"));
        };
        let binding: Option<&Rest> = classified.rest;
        let part = binding.and_then(|binding| binding.body);
        let mut request = match (part, body) {
            (Some("*"), Some(Value::Object(fields))) => fields.clone(),
            (Some("*"), None | Some(Value::Null)) | (None, _) => Map::new(),
            (Some("*"), Some(_)) => return Err(json::Error::no_object().into()),
            (Some(field), body) => {
                let body = body.clone().unwrap_or_default();
                Map::from_iter([(field.to_owned(), body)])
            }
        };
        let query = classified.query.pairs().iter();
        for (key, _) in query.filter(|(key, _)| classified.path_param(key).is_none()) {
            let value = classified.query.one(key)?.unwrap_or_default();
            let value = query_value(name, key, value)?;
            if request.insert(key.clone(), value).is_some() {
                return Err(Error::Query(shown(key)));
            }
        }
        if let Some((field, object, refuse)) = object_in(operation)
            && let Some(object_fields) = request.get_mut(field).and_then(Value::as_object_mut)
        {
            for (_, name) in written::upstreams(object) {
                let part = object_fields.remove(*name).unwrap_or_default();
                if refuse && !json::is_blank(&part) {
                    return Err(Error::Upstreams(name));
                }
            }
        }
        for (field, value) in &classified.path_params {
            set(&mut request, field, value)?;
        }
        let value = written::normal(name, &Value::Object(request))?;
        let forward = match part {
            None => Bytes::new(),
            Some("*") => value.to_string().into(),
            Some(field) => value
                .get(field)
                .ok_or(Error::Missing(field))?
                .to_string()
                .into(),
        };
        Self::of(value, forward)
    }

    fn of(value: Value, forward: Bytes) -> Result<Self, Error> {
        match value {
            Value::Object(fields) => Ok(Self { fields, forward }),
            _ => Err(json::Error::no_object().into()),
        }
    }

    /// The text in `field`; an empty one is none.
    pub(super) fn text(&self, field: &str) -> Option<&str> {
        let text = self.fields.get(field).and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
    }

    /// The text that must be in `field`.
    pub(super) fn needed(&self, field: &'static str) -> Result<&str, Error> {
        self.text(field).ok_or(Error::Missing(field))
    }

    /// Whether `field` is set and true.
    pub(super) fn flag(&self, field: &str) -> bool {
        self.fields.get(field) == Some(&Value::Bool(true))
    }

    /// The value of `field`.
    pub(super) fn value(&self, field: &str) -> Option<&Value> {
        self.fields.get(field)
    }

    /// Takes the value that must be in `field`.
    pub(super) fn take(&mut self, field: &'static str) -> Result<Value, Error> {
        self.fields.remove(field).ok_or(Error::Missing(field))
    }
}

/// The request `message` without what only Argo CD writes into the object in its field 1.
fn without_status(message: &[u8], object: &str, refuse: bool) -> Result<Vec<u8>, Error> {
    const OBJECT: u32 = 1;
    let Some(whole) = protobuf::bytes_at(message, [OBJECT])? else {
        return Ok(message.to_vec());
    };
    let upstreams = written::upstreams(object);
    for (number, name) in upstreams {
        let part = protobuf::bytes_at(whole, [*number])?.unwrap_or_default();
        if refuse && !protobuf::is_blank(part, BLANK_DEPTH) {
            return Err(Error::Upstreams(name));
        }
    }
    let kept = protobuf::without(whole, |number| upstreams.iter().any(|(n, _)| *n == number))?;
    let mut out = Vec::with_capacity(message.len());
    prost::encoding::bytes::encode(OBJECT, &kept, &mut out);
    out.extend(protobuf::without(message, |number| number == OBJECT)?);
    Ok(out)
}

/// Sets the dotted `field`, which the path names, over what the body says.
fn set(request: &mut Map<String, Value>, field: &str, value: &str) -> Result<(), Error> {
    let (outer, name) = field.rsplit_once('.').unwrap_or(("", field));
    let mut here = request;
    for step in outer.split('.').filter(|step| !step.is_empty()) {
        let inner = here
            .entry(step)
            .or_insert_with(|| Value::Object(Map::new()));
        if inner.is_null() {
            *inner = Value::Object(Map::new());
        }
        here = inner
            .as_object_mut()
            .ok_or_else(|| Error::Json(json::Error::no_object()))?;
    }
    here.insert(name.to_owned(), Value::String(value.to_owned()));
    Ok(())
}

/// A value of the query as the type of its field: the words for true and false are Go's.
fn query_value(message: &str, key: &str, value: &str) -> Result<Value, Error> {
    let descriptor = written::descriptor(message)?;
    let field = descriptor.get_field_by_name(key);
    let kind = field
        .filter(|field| !field.is_list())
        .map(|field| field.kind());
    Ok(match kind {
        Some(prost_reflect::Kind::String) => Value::String(value.to_owned()),
        Some(prost_reflect::Kind::Bool) => Value::Bool(match value {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => true,
            "0" | "f" | "F" | "FALSE" | "false" | "False" => false,
            _ => return Err(Error::Query(shown(key))),
        }),
        _ => return Err(Error::Query(shown(key))),
    })
}
