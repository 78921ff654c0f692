//! `Create`, `Update` and `UpdateSpec`: what the body would make of an application.
//!
//! Argo CD keeps a `status` that comes with `Create`, so a forged one is refused there. `Update`
//! ignores `status` and `operation`, and the web UI sends both as it read them: they are left out of
//! what is sent on.

use bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::Value;

use super::{Body, Error, Source};
use crate::argocd::operation::Operation;
use crate::argocd::{framing, json, protobuf};

// Field numbers: the Application in its request, its parts, the spec of `UpdateSpec`.
const APPLICATION: u32 = 1;
const SPEC: u32 = 2;
const STATUS: u32 = 3;
const OPERATION: u32 = 4;
/// `spec.project`.
const PROJECT: u32 = 3;
/// `spec.syncPolicy.automated`.
const AUTOMATED: [u32; 2] = [4, 1];
/// `enabled` in it.
const ENABLED: u32 = 4;

/// The deepest nesting in which a blank `status` is looked through.
const BLANK_DEPTH: u8 = 8;

/// Reads the body of one of the three operations.
pub(super) fn read(source: &Source<'_>, operation: Operation) -> Result<Body, Error> {
    match source {
        Source::Protobuf(message) if operation == Operation::ApplicationUpdateSpec => {
            let spec = protobuf::bytes_at(message, [SPEC])?.ok_or(Error::Missing("spec"))?;
            of_spec_message(spec, framing::write_message(message)?)
        }
        Source::Protobuf(message) => of_message(message, operation),
        Source::Rest { body, .. } => of_json(body.clone().unwrap_or(Value::Null), operation),
    }
}

fn of_message(message: &[u8], operation: Operation) -> Result<Body, Error> {
    let application =
        protobuf::bytes_at(message, [APPLICATION])?.ok_or(Error::Missing("application"))?;
    for (name, number) in [("status", STATUS), ("operation", OPERATION)] {
        let part = protobuf::bytes_at(application, [number])?.unwrap_or_default();
        if operation == Operation::ApplicationCreate && !protobuf::is_blank(part, BLANK_DEPTH) {
            return Err(Error::Upstreams(name));
        }
    }
    let kept = protobuf::without(application, |number| [STATUS, OPERATION].contains(&number))?;
    let mut forward = Vec::with_capacity(message.len());
    encode_key(APPLICATION, WireType::LengthDelimited, &mut forward);
    encode_varint(u64::try_from(kept.len()).unwrap_or(u64::MAX), &mut forward);
    forward.extend_from_slice(&kept);
    forward.extend(protobuf::without(message, |number| number == APPLICATION)?);
    let spec = protobuf::bytes_at(application, [SPEC])?.unwrap_or_default();
    of_spec_message(spec, framing::write_message(&forward)?)
}

fn of_spec_message(spec: &[u8], forward: Bytes) -> Result<Body, Error> {
    let arms_auto_sync = match protobuf::bytes_at(spec, AUTOMATED)? {
        None => false,
        // Absent `enabled` means enabled.
        Some(automated) => protobuf::varint(automated, ENABLED)? != Some(0),
    };
    let project = protobuf::text_at(spec, [PROJECT])?;
    Ok(Body::Application {
        arms_auto_sync,
        project: project.filter(|name| !name.is_empty()).map(str::to_owned),
        forward,
    })
}

fn of_json(mut body: Value, operation: Operation) -> Result<Body, Error> {
    if operation != Operation::ApplicationUpdateSpec {
        let application = body.as_object_mut().ok_or(Error::Missing("application"))?;
        for name in ["status", "operation"] {
            let part = application.remove(name).unwrap_or(Value::Null);
            if operation == Operation::ApplicationCreate && !json::is_blank(&part) {
                return Err(Error::Upstreams(name));
            }
        }
    }
    let spec = match operation {
        Operation::ApplicationUpdateSpec => &body,
        _ => body.get("spec").unwrap_or(&Value::Null),
    };
    let arms_auto_sync = match json::at(spec, "syncPolicy.automated") {
        None | Some(Value::Null) => false,
        Some(automated) => automated.get("enabled") != Some(&Value::Bool(false)),
    };
    let project = spec.get("project").and_then(Value::as_str);
    Ok(Body::Application {
        arms_auto_sync,
        project: project.filter(|name| !name.is_empty()).map(str::to_owned),
        forward: body.to_string().into(),
    })
}
