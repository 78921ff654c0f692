//! JSON from strangers: one object, every key once.
//!
//! In: bytes. Out: the object, or what is wrong. Refused: a key given twice at any depth (readers
//! disagree on which counts), trailing bytes, anything but an object. Depth is bounded by
//! `serde_json`, size by the caller.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Why bytes are not one plain JSON object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonError {
    /// A key appears twice in one object.
    #[error("`{0}` appears twice")]
    Repeated(String),
    /// Not JSON, with the parser's place and reason (never the text itself).
    #[error("not JSON: {0}")]
    Syntax(String),
    /// JSON, but no object.
    #[error("not a JSON object")]
    NotAnObject,
}

/// The object that `bytes` are.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, JsonError> {
    let repeated = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = Strict(&repeated)
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    match (parsed, repeated.into_inner()) {
        (_, Some(key)) => Err(JsonError::Repeated(key)),
        (Err(error), None) => Err(JsonError::Syntax(error.to_string())),
        (Ok(Value::Object(object)), None) => Ok(object),
        (Ok(_), None) => Err(JsonError::NotAnObject),
    }
}

/// Reads any value; puts the first repeated key into the cell.
#[derive(Clone, Copy)]
struct Strict<'a>(&'a RefCell<Option<String>>);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                *self.0.borrow_mut() = Some(key);
                return Err(A::Error::custom("repeated key"));
            }
            let value = entries.next_value_seed(self)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_repeated_key_is_refused_at_every_depth_and_in_every_spelling() {
        for text in [
            r#"{"sub":"a","sub":"b"}"#,
            r#"{"x":{"sub":1,"sub":1}}"#,
            r#"{"x":[{"sub":1,"sub":1}]}"#,
            r#"{"sub":"a","\u0073ub":"b"}"#,
        ] {
            assert_eq!(
                object(text.as_bytes()),
                Err(JsonError::Repeated("sub".into())),
                "{text}"
            );
        }
    }

    #[test]
    fn only_one_whole_object_is_taken() {
        for text in ["", "[]", "1", "null", r#"{"a":1} x"#, r#"{"a":1}{}"#, "{"] {
            assert!(object(text.as_bytes()).is_err(), "{text}");
        }
        assert!(object(&b"[".repeat(10_000)).is_err());
        assert!(object("{\"a\":".repeat(10_000).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn an_object_is_read_as_serde_json_reads_it(
            keys in prop::collection::btree_set("[a-z\u{e9}\"\\\\]{0,4}", 0..6),
            number in any::<i64>(),
            float in -1e300f64..1e300,
            text in any::<String>(),
        ) {
            let mut map = Map::new();
            for key in keys {
                map.insert(key, serde_json::json!([number, float, text, null, true, {"k": text}]));
            }
            let bytes = serde_json::to_vec(&map).unwrap();
            prop_assert_eq!(object(&bytes), Ok(serde_json::from_slice(&bytes).unwrap()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let _ = object(&bytes);
        }
    }
}
