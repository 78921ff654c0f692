//! Reading JSON whose form another program decides.
//!
//! In: a value, and where in it to look (RFC 6901). Out: what stands there. What is not there reads
//! as null or as no text, so that a missing field is never taken for one with a meaning.

use serde_json::{Value, json};

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
}
