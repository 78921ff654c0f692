//! What the gate holds to be true of Argo CD's API, as JSON: a test compares it with the module of
//! Argo CD itself.

use prost_reflect::Kind;
use serde_json::{Value, json};

use super::proto;
use super::table::{Field, ROWS};

/// Every method with its REST bindings and the fields that name its application, and every message
/// with its fields. `messages` are by their bare names; they are parts of the upstream's messages,
/// `ApplicationSyncRequest` and all in it is complete.
#[must_use]
pub fn table_facts() -> Value {
    let methods: Vec<Value> = ROWS
        .iter()
        .map(|row| {
            let field = |field: &Field| {
                json!({ "path": field.path, "numbers": field.numbers().collect::<Vec<_>>() })
            };
            json!({
                "operation": row.name,
                "grpc": row.grpc,
                "kind": row.kind,
                "effect": row.effect,
                "rest": row.rest,
                "application": row.application.map(|fields| json!({
                    "name": field(&fields.name),
                    "namespace": field(&fields.namespace),
                    "project": fields.project.as_ref().map(field),
                })),
            })
        })
        .collect();
    let messages: serde_json::Map<String, Value> = proto::messages()
        .filter(|message| !message.is_map_entry())
        .map(|message| {
            let fields = message.fields().map(|field| {
                json!({
                    "name": field.name(),
                    "number": field.number(),
                    "repeated": field.is_list() || field.is_map(),
                    "type": match field.kind() {
                        Kind::Message(inner) => inner.name().to_owned(),
                        scalar => format!("{scalar:?}").to_lowercase(),
                    },
                })
            });
            (message.name().to_owned(), fields.collect())
        })
        .collect();
    json!({ "version": "3.6", "methods": methods, "messages": messages })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_name_methods_bindings_and_fields() {
        let facts = table_facts();
        let methods = facts["methods"].as_array().unwrap();
        assert_eq!(methods.len(), 109);
        let sync = methods
            .iter()
            .find(|m| m["operation"] == "ApplicationService.Sync")
            .unwrap();
        assert_eq!(sync["rest"][0]["method"], "POST");
        assert_eq!(
            sync["application"]["namespace"],
            json!({ "path": "appNamespace", "numbers": [12] })
        );
        let fields = facts["messages"]["ApplicationSyncRequest"]
            .as_array()
            .unwrap();
        assert_eq!(fields.len(), 14);
        assert!(fields.contains(&json!({
            "name": "retryStrategy", "number": 10, "repeated": false, "type": "RetryStrategy",
        })));
        assert!(fields.contains(&json!({
            "name": "sourcePositions", "number": 14, "repeated": true, "type": "int64",
        })));
    }
}
