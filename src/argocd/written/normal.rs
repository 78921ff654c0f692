//! JSON, strictly, to the one form of it.

use std::collections::BTreeMap;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use super::{Error, Special, is_inline, is_pointer, json};

/// Keys that objects of Kubernetes have in JSON alone. They say nothing that the message does not.
const TYPE_META: [&str; 2] = ["apiVersion", "kind"];

/// `value` as `message`, in normal form.
pub(super) fn message(
    message: &MessageDescriptor,
    value: &Value,
    place: &str,
) -> Result<Value, Error> {
    if let Some(special) = Special::of(message) {
        return special_value(special, value, place);
    }
    let Value::Object(given) = value else {
        return Err(wrong(place, "an object"));
    };
    let keys = keys_of(message);
    let is_object = ["Application", "ApplicationSet"].contains(&message.name());
    let mut out = Map::new();
    for (key, value) in given {
        if is_object && TYPE_META.contains(&key.as_str()) {
            if !value.is_string() {
                return Err(wrong(&format!("{place}.{key}"), "a text"));
            }
            continue;
        }
        let Some((field, kept)) = keys.get(key.as_str()) else {
            return Err(unknown(key, &keys, is_object, place));
        };
        let place = format!("{place}.{key}");
        let value = match value {
            Value::Null => absent(field, *kept),
            value => Some(field_value(field, value, &place)?)
                .filter(|value| *kept || keeps_zero(field) || !is_zero(value)),
        };
        if let Some(value) = value {
            out.insert(key.clone(), value);
        }
    }
    for (key, (field, kept)) in keys {
        if keeps_zero(&field) && !kept && !out.contains_key(&key) {
            out.insert(key, Value::from(0));
        }
    }
    Ok(Value::Object(out))
}

/// The fields by their JSON keys, those of inlined messages among them, and whether each is kept
/// when it is zero.
fn keys_of(message: &MessageDescriptor) -> BTreeMap<String, (FieldDescriptor, bool)> {
    let mut keys = BTreeMap::new();
    for field in message.fields() {
        match field.kind() {
            Kind::Message(inner) if is_inline(&field) => {
                let kept = is_pointer(&field);
                for (key, (inner, also)) in keys_of(&inner) {
                    keys.insert(key, (inner, kept || also));
                }
            }
            _ => {
                let kept = is_pointer(&field);
                keys.insert(field.name().to_owned(), (field, kept));
            }
        }
    }
    keys
}

/// A number or text that Go writes always: `count` of a Kustomize replica may well be 0.
fn keeps_zero(field: &FieldDescriptor) -> bool {
    matches!(field.kind(), Kind::Message(kind)
        if !field.is_list() && Special::of(&kind) == Some(Special::IntOrString))
}

/// What Go makes of `null`: nothing, but for a list or map behind a pointer, which is then empty.
fn absent(field: &FieldDescriptor, kept: bool) -> Option<Value> {
    match kept {
        true if field.is_map() => Some(Value::Object(Map::new())),
        true if field.is_list() => Some(Value::Array(Vec::new())),
        _ => None,
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn field_value(field: &FieldDescriptor, value: &Value, place: &str) -> Result<Value, Error> {
    if field.is_map() {
        let Value::Object(entries) = value else {
            return Err(wrong(place, "an object"));
        };
        let Kind::Message(entry) = field.kind() else {
            return Err(wrong(place, "a map"));
        };
        let kind = entry.map_entry_value_field().kind();
        let one = |(key, value): (&String, &Value)| {
            Ok((
                key.clone(),
                scalar(&kind, value, &format!("{place}.{key}"))?,
            ))
        };
        return entries
            .iter()
            .map(one)
            .collect::<Result<_, _>>()
            .map(Value::Object);
    }
    if field.is_list() {
        let Value::Array(items) = value else {
            return Err(wrong(place, "a list"));
        };
        let one = |(index, item)| scalar(&field.kind(), item, &format!("{place}[{index}]"));
        return items.iter().enumerate().map(one).collect();
    }
    scalar(&field.kind(), value, place)
}

fn scalar(kind: &Kind, value: &Value, place: &str) -> Result<Value, Error> {
    let (fits, wanted) = match kind {
        Kind::Message(inner) => return message(inner, value, place),
        Kind::Bool => (value.is_boolean(), "true or false"),
        Kind::String => (value.is_string(), "a text"),
        Kind::Int64 => (value.is_i64(), "a whole number"),
        Kind::Int32 => (is_int32(value), "a number of 32 bits"),
        _ => (false, "of a type that JSON has"),
    };
    if fits {
        Ok(value.clone())
    } else {
        Err(wrong(place, wanted))
    }
}

fn is_int32(value: &Value) -> bool {
    value
        .as_i64()
        .is_some_and(|number| i32::try_from(number).is_ok())
}

fn special_value(special: Special, value: &Value, place: &str) -> Result<Value, Error> {
    match (special, value) {
        (Special::Raw, value) => Ok(value.clone()),
        (Special::IntOrString, Value::String(_)) => Ok(value.clone()),
        (Special::IntOrString, value) if is_int32(value) => Ok(value.clone()),
        (Special::IntOrString, _) => Err(wrong(place, "a number or a text")),
        (Special::Time, Value::String(text)) => text
            .parse::<jiff::Timestamp>()
            .ok()
            .and_then(|time| jiff::Timestamp::from_second(time.as_second()).ok())
            .map(|time| Value::String(time.to_string()))
            .ok_or_else(|| wrong(place, "a time")),
        (Special::Time, Value::Null) => Ok(Value::Null),
        (Special::Time, _) => Err(wrong(place, "a time")),
    }
}

fn wrong(place: &str, wanted: &'static str) -> Error {
    Error::Type {
        place: shown(place),
        wanted,
    }
}

/// As much of a caller's text as an error repeats.
fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

fn unknown(
    key: &str,
    keys: &BTreeMap<String, (FieldDescriptor, bool)>,
    is_object: bool,
    place: &str,
) -> Error {
    let type_meta = TYPE_META.into_iter().filter(|_| is_object);
    let mut known = keys.keys().map(String::as_str).chain(type_meta);
    match known.find(|known| json::fold(known) == json::fold(key)) {
        Some(known) => Error::Spelling {
            place: shown(place),
            key: shown(key),
            known: known.to_owned(),
        },
        None => Error::Unknown {
            place: shown(place),
            field: shown(key),
        },
    }
}
