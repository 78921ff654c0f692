//! The protobuf messages that the gate reads or writes, and what is known of their fields.
//!
//! Compiled from `proto/argocd.proto`. What a message may not hold is told by its descriptor:
//! `decode_strict` refuses every field that is not in the file, at every depth.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, Value};

#[expect(
    missing_docs,
    reason = "generated from argocd.proto, where the messages are described"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/argocd.rs"));
}
pub use generated::*;

/// Why bytes are not the message they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// They are not a message of this type.
    #[error("the message cannot be read: {0}")]
    Malformed(String),
    /// A field that is not known. What the gate cannot read it does not send on.
    #[error("`{place}` has the unknown field {number}")]
    Unknown {
        /// The message, by the names of the fields that lead to it.
        place: String,
        /// The field's number.
        number: u32,
    },
}

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    const SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/argocd.descriptors"));
    #[expect(clippy::expect_used, reason = "the build made these bytes")]
    DescriptorPool::decode(SET).expect("the descriptors of argocd.proto")
});

/// All messages that are known.
pub fn messages() -> impl Iterator<Item = MessageDescriptor> {
    POOL.all_messages()
}

/// Whether the message named `name` has a field with this number.
pub(crate) fn has_field(name: &str, number: u32) -> bool {
    POOL.get_message_by_name(&format!("argocd.{name}"))
        .is_some_and(|message| message.get_field(number).is_some())
}

/// Reads a whole message named `name` and refuses fields that are not known, at every depth.
///
/// # Errors
/// [`Error`], which names the place and number of an unknown field.
pub(crate) fn decode_strict<M: prost::Message + Default>(
    name: &str,
    bytes: &[u8],
) -> Result<M, Error> {
    let malformed = |error: &dyn std::fmt::Display| Error::Malformed(error.to_string());
    let descriptor = POOL
        .get_message_by_name(&format!("argocd.{name}"))
        .ok_or_else(|| malformed(&"its type is not known"))?;
    let dynamic = DynamicMessage::decode(descriptor, bytes).map_err(|e| malformed(&e))?;
    refuse_unknown(&dynamic, name)?;
    M::decode(bytes).map_err(|e| malformed(&e))
}

fn refuse_unknown(message: &DynamicMessage, place: &str) -> Result<(), Error> {
    if let Some(field) = message.unknown_fields().next() {
        return Err(Error::Unknown {
            place: place.to_owned(),
            number: field.number(),
        });
    }
    for (field, value) in message.fields() {
        let place = || format!("{place}.{}", field.name());
        match value {
            Value::Message(inner) => refuse_unknown(inner, &place())?,
            Value::List(items) => {
                for inner in items.iter().filter_map(Value::as_message) {
                    refuse_unknown(inner, &place())?;
                }
            }
            // No strict message has a map.
            _ => {}
        }
    }
    Ok(())
}
