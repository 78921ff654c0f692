//! What callers write, read to the last field: applications, application sets, and the requests
//! that carry them.
//!
//! In: a protobuf message or a JSON value, and the name of its message in `proto/written.proto`. Out:
//! the JSON that Argo CD itself would make of it, in one normal form, so that the same change gives
//! the same value on every wire. Refused, by place: fields and keys that are not known, other
//! spellings of known keys (Go would take them), fields that come twice, values of another type. Never: a
//! field dropped that was not looked at.
//!
//! The normal form leaves out what Go's `omitempty` does: `null`, `""`, `[]`, `{}`, `false` and `0`,
//! but not behind a pointer, where absent means something else. Free-form values (`valuesObject`,
//! labels, generators inside of a matrix) stay as they are.

mod normal;
mod wire;

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, ExtensionDescriptor, FieldDescriptor, MessageDescriptor};
use serde_json::Value;

use super::{json, protobuf};
pub(crate) use wire::Message;

/// Why a message is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The JSON inside of a message.
    #[error("`{place}`: {error}")]
    Json {
        /// Where, by the names of the fields that lead there.
        place: String,
        /// What is wrong with it.
        error: json::Error,
    },
    /// The bytes are no message of this type.
    #[error("the message cannot be read: {0}")]
    Malformed(String),
    /// A key that Go would take for another.
    #[error("`{place}` has the key `{key}`, which is another spelling of `{known}`")]
    Spelling {
        /// Where.
        place: String,
        /// The key.
        key: String,
        /// The field that Go would set by it.
        known: String,
    },
    /// A field that may come once comes again: readers take the last, or merge.
    #[error("`{place}` comes twice")]
    Twice {
        /// The field.
        place: String,
    },
    /// A value of another type.
    #[error("`{place}` is not {wanted}")]
    Type {
        /// Where.
        place: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A field that is not known. What the gate cannot read it does not send on.
    #[error("`{place}` has the unknown field `{field}`")]
    Unknown {
        /// Where.
        place: String,
        /// Its key, or its number.
        field: String,
    },
}

/// The messages, and what options say about their fields.
struct Schema {
    pool: DescriptorPool,
    inline: ExtensionDescriptor,
    pointer: ExtensionDescriptor,
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    const SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/written.descriptors"));
    #[expect(clippy::expect_used, reason = "the build made these bytes")]
    let pool = DescriptorPool::decode(SET).expect("the descriptors of written.proto");
    #[expect(clippy::expect_used, reason = "the file declares both")]
    let option = |name| pool.get_extension_by_name(name).expect("an option");
    Schema {
        inline: option("written.inline"),
        pointer: option("written.pointer"),
        pool,
    }
});

/// All messages of `written.proto`.
pub fn messages() -> impl Iterator<Item = MessageDescriptor> {
    let ours = |message: &MessageDescriptor| message.package_name() == "written";
    SCHEMA.pool.all_messages().filter(ours)
}

/// The message named `name`.
pub(crate) fn descriptor(name: &str) -> Result<MessageDescriptor, Error> {
    SCHEMA
        .pool
        .get_message_by_name(&format!("written.{name}"))
        .ok_or_else(|| Error::Malformed(format!("its type {name} is not known")))
}

/// Whether the fields of the message in `field` stand in its place in JSON.
pub(crate) fn is_inline(field: &FieldDescriptor) -> bool {
    option(field, &SCHEMA.inline)
}

/// Whether absent is something else than zero in `field`.
pub(crate) fn is_pointer(field: &FieldDescriptor) -> bool {
    option(field, &SCHEMA.pointer)
}

fn option(field: &FieldDescriptor, option: &ExtensionDescriptor) -> bool {
    field.options().get_extension(option).as_bool() == Some(true)
}

/// Messages whose JSON is not an object of their fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Special {
    /// A number or a text.
    IntOrString,
    /// Any JSON.
    Raw,
    /// A time of RFC 3339, in whole seconds.
    Time,
}

impl Special {
    fn of(message: &MessageDescriptor) -> Option<Self> {
        Some(match message.name() {
            "IntOrString" => Self::IntOrString,
            "FieldsV1" | "JSON" | "RawExtension" => Self::Raw,
            "Time" => Self::Time,
            _ => return None,
        })
    }
}

/// `value` as a message named `name`, in normal form.
///
/// # Errors
/// [`Error`], which names the place.
pub(crate) fn normal(name: &str, value: &Value) -> Result<Value, Error> {
    normal::message(&descriptor(name)?, value, name)
}

/// What only Argo CD writes: numbers and names of the fields, by message.
pub(crate) fn upstreams(message: &str) -> &'static [(u32, &'static str)] {
    match message {
        "Application" => &[(3, "status"), (4, "operation")],
        "ApplicationSet" => &[(3, "status")],
        _ => &[],
    }
}

/// The protobuf message of an `Application` as the JSON that Argo CD would give, in normal form,
/// without `status` and `operation`.
///
/// # Errors
/// [`Error`], which names the place of what is not known.
pub fn application_of(message: &[u8]) -> Result<Value, Error> {
    let left_out = |number| upstreams("Application").iter().any(|(n, _)| *n == number);
    let kept = protobuf::without(message, left_out)
        .map_err(|error| Error::Malformed(error.to_string()))?;
    Message::read("Application", &kept)?.value()
}

/// An `Application` in JSON, as Argo CD or Kubernetes gives it, in the same normal form, without
/// `status` and `operation`.
///
/// # Errors
/// [`Error`], which names the place of what is not known.
pub fn application_of_json(application: &Value) -> Result<Value, Error> {
    let mut application = application.clone();
    if let Some(fields) = application.as_object_mut() {
        for (_, name) in upstreams("Application") {
            fields.remove(*name);
        }
    }
    normal("Application", &application)
}

#[cfg(test)]
pub(crate) mod tests;
