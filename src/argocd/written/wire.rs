//! Protobuf, strictly, to the JSON of Argo CD.

use std::collections::HashSet;

use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _,
};
use serde_json::{Map, Value};

use super::{Error, Special, descriptor, is_inline, is_pointer, json, normal};
use crate::argocd::protobuf::{self, Value as Raw};

/// A message that was read whole, and written anew.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    /// The message in the one encoding that the gate gives it: fields in their order.
    pub(crate) bytes: Vec<u8>,
    descriptor: MessageDescriptor,
}

impl Message {
    /// Reads `bytes` as the message `name`.
    pub(crate) fn read(name: &str, bytes: &[u8]) -> Result<Self, Error> {
        let descriptor = descriptor(name)?;
        Ok(Self {
            bytes: rewrite(&descriptor, bytes, name)?,
            descriptor,
        })
    }

    /// The message as JSON in normal form.
    pub(crate) fn value(&self) -> Result<Value, Error> {
        let name = self.descriptor.name();
        let message = DynamicMessage::decode(self.descriptor.clone(), self.bytes.as_slice())
            .map_err(|error| Error::Malformed(error.to_string()))?;
        normal::message(&self.descriptor, &plain(&message, name)?, name)
    }
}

/// `bytes` in the one encoding; refuses what two readers could read differently, and what is not
/// known. As deep as the messages go: none of them contains itself.
fn rewrite(message: &MessageDescriptor, bytes: &[u8], place: &str) -> Result<Vec<u8>, Error> {
    let malformed = |error: &dyn std::fmt::Display| Error::Malformed(format!("{place}: {error}"));
    let mut seen = HashSet::new();
    let mut out: Vec<(u32, Vec<u8>)> = Vec::new();
    for field in protobuf::fields(bytes) {
        let field = field.map_err(|error| malformed(&error))?;
        let Some(known) = message.get_field(field.number) else {
            return Err(Error::Unknown {
                place: place.to_owned(),
                field: field.number.to_string(),
            });
        };
        let inner = format!("{place}.{}", known.name());
        // Of a map, each key may come once; of a list, all may come again.
        let key = match field.value {
            Raw::Bytes(entry) if known.is_map() => protobuf::bytes_at(entry, [1])
                .map_err(|error| malformed(&error))?
                .unwrap_or_default(),
            _ => &[],
        };
        if !known.is_list() && !seen.insert((field.number, key)) {
            return Err(Error::Twice { place: inner });
        }
        out.push((field.number, value(&known, field.value, &inner)?));
    }
    out.sort_by_key(|(number, _)| *number);
    Ok(out.into_iter().flat_map(|(_, bytes)| bytes).collect())
}

/// One field in the one encoding.
fn value(field: &FieldDescriptor, value: Raw<'_>, place: &str) -> Result<Vec<u8>, Error> {
    let number = field.number();
    let mut out = Vec::new();
    match (field.kind(), value) {
        (Kind::Message(kind), Raw::Bytes(bytes)) => {
            let inner = rewrite(&kind, bytes, place)?;
            prost::encoding::bytes::encode(number, &inner, &mut out);
        }
        (Kind::String, Raw::Bytes(bytes)) if std::str::from_utf8(bytes).is_ok() => {
            prost::encoding::bytes::encode(number, &bytes.to_vec(), &mut out);
        }
        (Kind::Bytes, Raw::Bytes(bytes)) => {
            prost::encoding::bytes::encode(number, &bytes.to_vec(), &mut out);
        }
        (Kind::Int64, Raw::Varint(whole)) => {
            prost::encoding::int64::encode(number, &whole.cast_signed(), &mut out);
        }
        // A number that does not fit would be cut by some readers.
        (Kind::Int32, Raw::Varint(whole)) if i32::try_from(whole.cast_signed()).is_ok() => {
            prost::encoding::int64::encode(number, &whole.cast_signed(), &mut out);
        }
        (Kind::Bool, Raw::Varint(yes @ 0..=1)) => {
            prost::encoding::bool::encode(number, &(yes == 1), &mut out);
        }
        _ => {
            return Err(Error::Type {
                place: place.to_owned(),
                wanted: "of its type",
            });
        }
    }
    Ok(out)
}

/// The JSON of `message` with all that is set, blank or not.
fn plain(message: &DynamicMessage, place: &str) -> Result<Value, Error> {
    let descriptor = message.descriptor();
    if let Some(special) = Special::of(&descriptor) {
        return special_value(special, message, place);
    }
    let mut out = Map::new();
    for field in descriptor.fields().filter(|field| message.has_field(field)) {
        let place = format!("{place}.{}", field.name());
        let value = message.get_field(&field);
        if !is_inline(&field) {
            out.insert(field.name().to_owned(), value_of(&value, &place)?);
        } else if let Some(inner) = value.as_message() {
            // A pointer to a list or map says that there is one, even if it is empty.
            if is_pointer(&field) {
                for empty in inner.descriptor().fields() {
                    let none = if empty.is_map() {
                        Value::Object(Map::new())
                    } else {
                        Value::Array(Vec::new())
                    };
                    out.insert(empty.name().to_owned(), none);
                }
            }
            if let Value::Object(fields) = plain(inner, &place)? {
                out.extend(fields);
            }
        }
    }
    Ok(Value::Object(out))
}

fn value_of(value: &prost_reflect::Value, place: &str) -> Result<Value, Error> {
    use prost_reflect::Value as Field;
    Ok(match value {
        Field::Bool(yes) => Value::Bool(*yes),
        Field::I32(number) => Value::from(*number),
        Field::I64(number) => Value::from(*number),
        Field::String(text) => Value::String(text.clone()),
        Field::Message(inner) => plain(inner, place)?,
        Field::List(items) => items
            .iter()
            .map(|item| value_of(item, place))
            .collect::<Result<_, _>>()?,
        Field::Map(entries) => {
            let mut out = Map::new();
            for (key, value) in entries {
                let MapKey::String(key) = key else {
                    return Err(strange(place));
                };
                out.insert(key.clone(), value_of(value, place)?);
            }
            Value::Object(out)
        }
        _ => return Err(strange(place)),
    })
}

fn strange(place: &str) -> Error {
    Error::Malformed(format!("{place}: a type that no message has"))
}

fn special_value(special: Special, message: &DynamicMessage, place: &str) -> Result<Value, Error> {
    let number = |name| {
        let value = message.get_field_by_name(name)?;
        value.as_i64().or_else(|| value.as_i32().map(i64::from))
    };
    let wrong = |wanted| Error::Type {
        place: place.to_owned(),
        wanted,
    };
    match special {
        Special::Raw => {
            let field = message.descriptor().get_field(1);
            let raw = field.map(|field| message.get_field(&field).into_owned());
            match raw.as_ref().and_then(prost_reflect::Value::as_bytes) {
                Some(bytes) if !bytes.is_empty() => {
                    json::read_free(bytes).map_err(|error| Error::Json {
                        place: place.to_owned(),
                        error,
                    })
                }
                _ => Ok(Value::Null),
            }
        }
        Special::IntOrString => match number("type") {
            Some(0) | None => Ok(Value::from(number("intVal").unwrap_or_default())),
            Some(1) => Ok(message
                .get_field_by_name("strVal")
                .and_then(|text| text.as_str().map(Value::from))
                .unwrap_or_default()),
            Some(_) => Err(wrong("a number or a text")),
        },
        // Go's zero time is written as no bytes at all.
        Special::Time if message.fields().next().is_none() => Ok(Value::Null),
        Special::Time => jiff::Timestamp::from_second(number("seconds").unwrap_or_default())
            .map(|time| Value::String(time.to_string()))
            .map_err(|_| wrong("a time")),
    }
}
