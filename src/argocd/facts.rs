//! What the gate holds to be true of Argo CD's API, as JSON: a test compares it with the module of
//! Argo CD itself.

use prost_reflect::{Kind, MessageDescriptor};
use serde_json::{Value, json};

use super::table::{Field, ROWS};
use super::{change, proto, written};

/// Every method with its REST bindings and the fields that name its application, and every message
/// with its fields. `messages` are by their bare names; they are parts of the upstream's messages,
/// `ApplicationSyncRequest` and all in it is complete. `written` are complete but for what callers
/// may not write. `actions` are the built-in ones.
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
        .map(|message| (message.name().to_owned(), fields(&message)))
        .collect();
    let written: serde_json::Map<String, Value> = written::messages()
        .filter(|message| !message.is_map_entry())
        .map(|message| (message.name().to_owned(), fields(&message)))
        .collect();
    json!({
        "version": "3.6",
        "methods": methods,
        "messages": messages,
        "written": written,
        "actions": change::built_in().collect::<Vec<_>>(),
    })
}

fn fields(message: &MessageDescriptor) -> Value {
    message
        .fields()
        .map(|field| {
            json!({
                "name": field.name(),
                "json": field.json_name(),
                "number": field.number(),
                "repeated": field.is_list() || field.is_map(),
                "inline": written::is_inline(&field),
                "pointer": written::is_pointer(&field),
                "type": match field.kind() {
                    Kind::Message(inner) => inner.name().to_owned(),
                    scalar => format!("{scalar:?}").to_lowercase(),
                },
            })
        })
        .collect()
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
        let field = |name: &str| fields.iter().find(|field| field["name"] == name).unwrap();
        let retry = field("retryStrategy");
        assert_eq!(
            (&retry["number"], &retry["type"]),
            (&json!(10), &json!("RetryStrategy"))
        );
        let positions = field("sourcePositions");
        assert_eq!(
            (&positions["repeated"], &positions["type"]),
            (&json!(true), &json!("int64"))
        );
        let automated = facts["written"]["SyncPolicyAutomated"].as_array().unwrap();
        assert!(
            automated
                .iter()
                .any(|f| f["name"] == "enabled" && f["pointer"] == true)
        );
    }
}
