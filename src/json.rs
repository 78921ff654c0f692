//! Reading JSON whose form another program decides.
//!
//! In: a value, and where in it to look (RFC 6901). Out: what stands there. What is not there reads
//! as null or as no text, so that a missing field is never taken for one with a meaning.

use serde_json::{Value, json};

mod strict;

pub(crate) use strict::{JsonError, object};

static NULL: Value = Value::Null;

/// What stands at `pointer` in `value`; null if nothing does.
pub(crate) fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&NULL)
}

/// The text at `pointer` in `value`; empty if there is none.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    at(value, pointer).as_str().unwrap_or_default()
}

/// Puts `new` at `pointer` in `value`. What stands above it becomes an object where it is none.
pub(crate) fn set(value: &mut Value, pointer: &str, new: Value) {
    let mut place = value;
    for key in pointer.split('/').skip(1) {
        if !place.is_object() {
            *place = json!({});
        }
        let Value::Object(fields) = place else { return };
        place = fields.entry(key).or_insert(Value::Null);
    }
    *place = new;
}

/// Members whose content is not Argo CD's to shape: it is kept as it is.
const FREE: [&str; 6] = [
    "annotations",
    "commonAnnotations",
    "commonLabels",
    "labels",
    "options",
    "valuesObject",
];

/// Members that say something by being there, though blank: an empty `directory` chooses the kind
/// of a source, an empty `automated` is on, `enabled: false` is not the absent one, and no factor
/// is not the factor 0.
const TELLING: [&str; 12] = [
    "apply",
    "automated",
    "directory",
    "enabled",
    "factor",
    "helm",
    "hook",
    "hydrateTo",
    "kustomize",
    "plugin",
    "retry",
    "target",
];

/// `value` (a source, a sync policy, a destination) as Argo CD itself would write it: without the
/// members that are blank (null, no text, no items, no members, no, 0), however the object came to
/// have them, so that two forms of one meaning are one.
pub(crate) fn without_blanks(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter_map(|(key, value)| {
                let value = match (key.as_str(), value) {
                    (key, value) if FREE.contains(&key) => value.clone(),
                    // The parameters of a plugin tell an empty text from an absent one.
                    ("plugin", Value::Object(_)) => plugin(value),
                    _ => without_blanks(value),
                };
                let telling = TELLING.contains(&key.as_str()) && !value.is_null();
                (telling || !is_blank(&value)).then(|| (key.clone(), value))
            });
            Value::Object(kept.collect())
        }
        Value::Array(items) => items.iter().map(without_blanks).collect(),
        _ => value.clone(),
    }
}

fn plugin(value: &Value) -> Value {
    let parameters = at(value, "/parameters").clone();
    let mut plugin = without_blanks(value);
    if !is_blank(&parameters)
        && let Value::Object(fields) = &mut plugin
    {
        fields.insert("parameters".to_owned(), parameters);
    }
    plugin
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_reads_as_null_and_as_no_text() {
        let value = serde_json::json!({"a": [{"b": "c"}, 1]});
        assert_eq!(text(&value, "/a/0/b"), "c");
        for missing in ["/a/0/x", "/a/2", "/a/1", "/x/y/z"] {
            assert_eq!(text(&value, missing), "", "{missing}");
        }
        assert!(at(&value, "/a/0/b/c").is_null());
    }

    #[test]
    fn what_is_set_stands_there_whatever_stood_above() {
        let mut value = json!({"a": {"b": 1, "c": 2}, "d": "text"});
        set(&mut value, "/a/b", json!("new"));
        set(&mut value, "/d/e/f", json!(3));
        assert_eq!(
            value,
            json!({"a": {"b": "new", "c": 2}, "d": {"e": {"f": 3}}})
        );
    }

    #[test]
    fn blanks_are_left_out_save_where_they_say_something() {
        for (written, meant) in [
            (json!({"path": "", "repoURL": "r"}), json!({"repoURL": "r"})),
            (
                json!({"directory": {"recurse": false, "jsonnet": {}}}),
                json!({"directory": {}}),
            ),
            (
                json!({"automated": {"prune": false}}),
                json!({"automated": {}}),
            ),
            (json!({"automated": null}), json!({})),
            (
                json!({"automated": {"enabled": false}}),
                json!({"automated": {"enabled": false}}),
            ),
            (json!({"retry": {"limit": 0}}), json!({"retry": {}})),
            (
                json!({"helm": {"valuesObject": {"replicas": 0, "host": ""}}}),
                json!({"helm": {"valuesObject": {"replicas": 0, "host": ""}}}),
            ),
            (
                json!({"helm": {"parameters": [{"name": "a", "value": "", "forceString": false}]}}),
                json!({"helm": {"parameters": [{"name": "a"}]}}),
            ),
            (
                json!({"plugin": {"name": "", "parameters": [{"name": "a", "string": ""}]}}),
                json!({"plugin": {"parameters": [{"name": "a", "string": ""}]}}),
            ),
        ] {
            assert_eq!(without_blanks(&written), meant, "{written}");
        }
    }
}
