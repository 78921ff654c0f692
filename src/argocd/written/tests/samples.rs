//! An application with something of every part, and protobuf as Argo CD writes it.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Value, json};

use super::{Special, descriptor, is_inline, is_pointer};

/// The protobuf of `value`, as Argo CD's generated code writes it: what is no pointer is always
/// written, zero or not.
pub(crate) fn encode(name: &str, value: &Value) -> Vec<u8> {
    encode_message(&descriptor(name).unwrap(), value)
}

fn encode_message(message: &MessageDescriptor, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let text = |number, text: &str, out: &mut Vec<u8>| {
        prost::encoding::string::encode(number, &text.to_owned(), out);
    };
    match (Special::of(message), value) {
        (Some(Special::Raw | Special::Time), Value::Null) => {}
        (Some(Special::Raw), raw) => text(1, &raw.to_string(), &mut out),
        (Some(Special::Time), time) => {
            let time: jiff::Timestamp = time.as_str().unwrap().parse().unwrap();
            prost::encoding::int64::encode(1, &time.as_second(), &mut out);
            prost::encoding::int32::encode(2, &0, &mut out);
        }
        (Some(Special::IntOrString), value) => {
            let number = value.as_i64().unwrap_or_default();
            prost::encoding::int64::encode(1, &i64::from(value.is_string()), &mut out);
            prost::encoding::int64::encode(2, &number, &mut out);
            text(3, value.as_str().unwrap_or_default(), &mut out);
        }
        (None, value) => {
            for field in message.fields() {
                encode_field(&field, value, &mut out);
            }
        }
    }
    out
}

fn encode_field(field: &FieldDescriptor, object: &Value, out: &mut Vec<u8>) {
    let number = field.number();
    let bytes = |inner: Vec<u8>, out: &mut Vec<u8>| {
        prost::encoding::bytes::encode(number, &inner, out);
    };
    let value = &object[field.name()];
    match field.kind() {
        Kind::Message(inner) if is_inline(field) => {
            let there = inner.fields().any(|f| !object[f.name()].is_null());
            if there || !is_pointer(field) {
                bytes(encode_message(&inner, object), out);
            }
        }
        Kind::Message(entry) if field.is_map() => {
            for (key, value) in value.as_object().into_iter().flatten() {
                let entry_value = json!({ "key": key, "value": value });
                bytes(encode_message(&entry, &entry_value), out);
            }
        }
        kind if field.is_list() => {
            for item in value.as_array().into_iter().flatten() {
                encode_scalar(number, &kind, item, out);
            }
        }
        _ if value.is_null() && is_pointer(field) => {}
        kind => encode_scalar(number, &kind, value, out),
    }
}

fn encode_scalar(number: u32, kind: &Kind, value: &Value, out: &mut Vec<u8>) {
    match kind {
        Kind::Message(inner) => {
            let inner = encode_message(inner, value);
            prost::encoding::bytes::encode(number, &inner, out);
        }
        Kind::Bool => {
            prost::encoding::bool::encode(number, &(*value == Value::Bool(true)), out);
        }
        Kind::String => {
            let text = value.as_str().unwrap_or_default().to_owned();
            prost::encoding::string::encode(number, &text, out);
        }
        _ => prost::encoding::int64::encode(number, &value.as_i64().unwrap_or_default(), out),
    }
}

/// An application with something of every part, in normal form.
pub(crate) fn full() -> Value {
    json!({
        "metadata": {
            "name": "shop",
            "namespace": "argocd",
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "deletionGracePeriodSeconds": 0,
            "generation": 3,
            "labels": { "app": "shop", "empty": "" },
            "annotations": { "Name": "x", "name": "y" },
            "finalizers": ["resources-finalizer.argocd.argoproj.io"],
            "ownerReferences": [
                { "apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "name": "shops",
                  "uid": "u-1", "controller": true, "blockOwnerDeletion": false },
            ],
            "managedFields": [
                { "manager": "argocd-server", "operation": "Update", "time": "2026-01-02T03:04:05Z",
                  "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": { "f:Project": {} } } },
            ],
        },
        "spec": {
            "project": "default",
            "destination": { "server": "https://kubernetes.default.svc", "namespace": "shop" },
            "source": source(),
            "sourceHydrator": {
                "drySource": { "repoURL": "https://git.example/shop", "targetRevision": "main", "path": "." },
                "syncSource": { "targetBranch": "env/prod", "path": "shop" },
                "hydrateTo": {},
            },
            "syncPolicy": {
                "automated": { "prune": false, "enabled": false },
                "syncOptions": ["CreateNamespace=true"],
                "retry": { "limit": -1, "backoff": { "duration": "5s", "factor": 0 } },
                "managedNamespaceMetadata": { "labels": { "a": "b" } },
            },
            "ignoreDifferences": [
                { "group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"] },
            ],
            "info": [{ "name": "url", "value": "https://shop.example" }],
            "revisionHistoryLimit": 0,
        },
    })
}

fn source() -> Value {
    json!({
        "repoURL": "https://git.example/shop",
        "path": "deploy",
        "targetRevision": "main",
        "helm": {
            "valueFiles": ["values.yaml"],
            "parameters": [{ "name": "a", "value": "1", "forceString": true }],
            "valuesObject": { "Replicas": 2, "replicas": 0, "on": false, "none": null, "list": [] },
            "skipCrds": true,
        },
        "kustomize": {
            "images": ["web=web:1"],
            "commonLabels": { "a": "b" },
            "replicas": [{ "name": "web", "count": 0 }, { "name": "db", "count": "2" }],
            "patches": [
                { "patch": "[]", "target": { "group": "apps", "kind": "Deployment", "name": "web",
                  "labelSelector": "a=b" }, "options": { "allowNameChange": false } },
            ],
        },
        "directory": {
            "recurse": true,
            "jsonnet": { "extVars": [{ "name": "a", "value": "b", "code": true }] },
        },
        "plugin": {
            "env": [{ "name": "A", "value": "b" }],
            "parameters": [
                { "name": "text", "string": "" },
                { "name": "map", "map": {} },
                { "name": "array", "array": [] },
                { "name": "filled", "map": { "a": "" }, "array": [""] },
            ],
        },
    })
}
