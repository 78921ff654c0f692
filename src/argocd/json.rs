//! Reads JSON that two readers cannot read differently.
//!
//! In: the bytes of a body. Out: its value. Go's decoder, which Argo CD uses, matches names of
//! fields in any letter case, takes the last of two equal keys, and stops after the first value.
//! Refused here, by name: a key twice in one object, a key that is another spelling of a field that
//! the gate knows, two spellings of one key, and anything after the value. Inside of what is free in
//! form (labels, Helm values) only equal keys are refused.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::LazyLock;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why a body is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is not JSON that is taken here: {0}")]
pub struct Error(String);

impl Error {
    /// What a reader of JSON says, cut where it repeats the caller's text at length.
    pub(crate) fn new(error: &serde_json::Error) -> Self {
        Self(error.to_string().chars().take(300).collect())
    }

    /// The same with the place of the field, which a wrong type does not name by itself.
    pub(crate) fn at(error: &serde_path_to_error::Error<serde_json::Error>) -> Self {
        let text = format!("`{}`: {}", error.path(), error.inner());
        Self(text.chars().take(300).collect())
    }

    /// Another value stands where an object should.
    pub(crate) fn no_object() -> Self {
        Self("it is not an object".to_owned())
    }
}

/// Names of fields whose value is free in form.
const FREE: [&str; 11] = [
    "annotations",
    "commonAnnotations",
    "commonLabels",
    "elements",
    "fieldsV1",
    "labels",
    "map",
    "matchLabels",
    "options",
    "values",
    "valuesObject",
];

/// The names of all fields that the gate knows, by their folded form.
static KNOWN: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    super::proto::messages()
        .flat_map(|message| message.fields().collect::<Vec<_>>())
        .map(|field| field.name().to_owned())
        .chain(["status", "operation", "source", "sources", "sourceHydrator"].map(String::from))
        // `Version` is the one name of an answer that begins with a capital.
        .filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
        .map(|name| (fold(&name), name))
        .collect()
});

/// The form in which Go compares names of fields: two letters beyond ASCII fold to ASCII ones.
pub(crate) fn fold(key: &str) -> String {
    key.chars()
        .map(|c| match c {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            c => c.to_ascii_lowercase(),
        })
        .collect()
}

/// Reads the one value in `bytes`.
///
/// # Errors
/// [`Error`], which names the key that is not taken.
pub(crate) fn read(bytes: &[u8]) -> Result<Value, Error> {
    read_as(bytes, Strict { free: false })
}

/// Reads the one value in `bytes`, whose keys are free or will be looked at one by one: only equal
/// keys are refused.
///
/// # Errors
/// [`Error`], which names the key that comes twice.
pub(crate) fn read_free(bytes: &[u8]) -> Result<Value, Error> {
    read_as(bytes, Strict { free: true })
}

fn read_as(bytes: &[u8], strict: Strict) -> Result<Value, Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = strict
        .deserialize(&mut reader)
        .map_err(|e| Error::new(&e))?;
    reader.end().map_err(|e| Error::new(&e))?;
    Ok(value)
}

/// Reads the one value in `bytes`, whose readers tell letter cases apart: only equal keys are
/// refused.
///
/// # Errors
/// [`Error`], which names the key that comes twice.
pub(crate) fn read_exact(bytes: &[u8]) -> Result<Value, Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { free: true }
        .deserialize(&mut reader)
        .map_err(|e| Error::new(&e))?;
    reader.end().map_err(|e| Error::new(&e))?;
    Ok(value)
}

/// The value at a dotted path of names.
pub(crate) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |here, name| here.get(name))
}

/// Whether a value says nothing: Go writes empty inner objects out.
pub(crate) fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(is_blank),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(yes) => !yes,
        Value::Number(_) => false,
    }
}

/// Reads one value; `free` inside of what is free in form.
#[derive(Clone, Copy)]
struct Strict {
    free: bool,
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number is out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            out.push(item);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        let mut spellings = HashSet::new();
        while let Some(key) = fields.next_key::<String>()? {
            if out.contains_key(&key) {
                return Err(de::Error::custom(format!("the key `{key}` comes twice")));
            }
            if !self.free {
                let folded = fold(&key);
                if let Some(known) = KNOWN.get(&folded).filter(|known| **known != key) {
                    return Err(de::Error::custom(format!(
                        "the key `{key}` is another spelling of `{known}`"
                    )));
                }
                if !spellings.insert(folded) {
                    return Err(de::Error::custom(format!(
                        "the key `{key}` comes twice, in two spellings"
                    )));
                }
            }
            let free = self.free || FREE.contains(&key.as_str());
            let value = fields.next_value_seed(Strict { free })?;
            out.insert(key, value);
        }
        Ok(Value::Object(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        read(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_key_twice_is_refused_by_name_at_any_depth() {
        let said = refusal(r#"{"a": [{"revision": "main", "revision": "x"}]}"#);
        assert!(said.contains("`revision` comes twice"), "{said}");
        let said = refusal(r#"{"labels": {"a": "1", "a": "2"}}"#);
        assert!(said.contains("`a` comes twice"), "{said}");
    }

    #[test]
    fn another_spelling_of_a_known_field_is_refused_by_name() {
        for key in [
            "REVISION",
            "Manifests",
            "syncpolicy",
            "\u{17f}pec",
            "revi\u{17f}ion",
            "SyncStrategyHoo\u{212a}",
        ] {
            let text = format!("{{\"{key}\": 1}}");
            if key.starts_with("SyncStrategy") {
                // A message, not a field: no reader takes it.
                assert!(read(text.as_bytes()).is_ok());
            } else {
                let said = refusal(&text);
                assert!(said.contains("another spelling of"), "{said}");
            }
        }
        // As escapes it is the same key.
        let said = refusal(r#"{"\u0052evision": 1}"#);
        assert!(said.contains("another spelling of `revision`"), "{said}");
    }

    #[test]
    fn two_spellings_of_an_unknown_key_are_refused() {
        let said = refusal(r#"{"ignoreDifferences": [], "IgnoreDifferences": []}"#);
        assert!(said.contains("two spellings"), "{said}");
    }

    #[test]
    fn what_is_free_in_form_may_have_any_keys() {
        let text = r#"{"helm": {"valuesObject": {"Name": 1, "name": 2, "x": [{"SPEC": 1}]}}}"#;
        assert!(read(text.as_bytes()).is_ok());
    }

    #[test]
    fn nothing_may_follow_the_value() {
        assert!(read(b"{} \n").is_ok());
        for text in ["{} {}", "{}x", "", "{\"a\":1,}", "\u{feff}{}"] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
        assert!(read(b"{\"a\": \"\xff\"}").is_err());
        assert!(read(&b"[".repeat(100_000)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_what_serde_reads(text in r#"[\{\}\[\]",:a-b0-2 ]{0,24}"#) {
            if let Ok(value) = read(text.as_bytes()) {
                let plain: Value = serde_json::from_str(&text).unwrap();
                proptest::prop_assert_eq!(value, plain);
            }
        }
    }
}
