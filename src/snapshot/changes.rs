//! What a rollout changed: the manifests at its commits against those at the commits before.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::resource::shown;
use crate::json;
use crate::record::sieve;

/// The most resources whose changes are kept.
const RESOURCES: usize = 50;
/// The most changes of one resource.
const OPERATIONS: usize = 50;
/// Where a `Secret` has its values.
const SECRET_VALUES: [&str; 2] = ["data", "stringData"];

/// What differs between two renderings of one application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// The commits before, one per source.
    pub from: Vec<String>,
    /// The commits that were rolled out.
    pub to: Vec<String>,
    /// The resources that differ, by kind and name.
    pub resources: Vec<ResourceChange>,
    /// How many more there are.
    pub more: usize,
}

/// What differs in one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceChange {
    /// `Deployment shop/cart`.
    pub resource: String,
    /// `added`, `changed` or `removed`.
    pub what: String,
    /// For one that was changed, a JSON patch (RFC 6902); long values are cut.
    pub patch: Vec<Value>,
}

impl Changes {
    /// Compares `before` with `after`, manifests as Argo CD renders them.
    #[must_use]
    pub fn between(
        from: Vec<String>,
        before: Vec<Value>,
        to: Vec<String>,
        after: Vec<Value>,
    ) -> Self {
        let (before, after) = (by_name(before), by_name(after));
        let mut resources = Vec::new();
        for (name, manifest) in &after {
            match before.get(name) {
                None => resources.push(change(name, "added", Vec::new())),
                Some(old) if old == manifest => {}
                Some(old) => resources.push(change(name, "changed", patch(old, manifest))),
            }
        }
        let gone = before.keys().filter(|name| !after.contains_key(*name));
        resources.extend(gone.map(|name| change(name, "removed", Vec::new())));
        resources.sort_by(|a, b| a.resource.cmp(&b.resource));
        let more = resources.len().saturating_sub(RESOURCES);
        resources.truncate(RESOURCES);
        Self {
            from,
            to,
            resources,
            more,
        }
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 5;
        let short = |commits: &[String]| {
            let short = commits
                .iter()
                .map(|c| c.chars().take(7).collect::<String>());
            short.collect::<Vec<_>>().join("+")
        };
        write!(f, "{}..{}: ", short(&self.from), short(&self.to))?;
        let all = self.resources.len() + self.more;
        if all == 0 {
            return f.write_str("no manifest differs");
        }
        let first = self.resources.iter().take(MOST);
        let first: Vec<String> = first
            .map(|it| format!("{} {}", it.resource, it.what))
            .collect();
        f.write_str(&first.join(", "))?;
        if all > MOST {
            write!(f, " and {} more", all - MOST)?;
        }
        Ok(())
    }
}

fn change(resource: &str, what: &str, patch: Vec<Value>) -> ResourceChange {
    ResourceChange {
        resource: shown(resource),
        what: what.to_owned(),
        patch,
    }
}

/// Each manifest by kind and name, without the values of secrets.
fn by_name(manifests: Vec<Value>) -> BTreeMap<String, Value> {
    let named = manifests.into_iter().map(|mut manifest| {
        let (kind, namespace, name) = (
            json::text(&manifest, "/kind"),
            json::text(&manifest, "/metadata/namespace"),
            json::text(&manifest, "/metadata/name"),
        );
        let separator = if namespace.is_empty() { "" } else { "/" };
        let resource = format!("{kind} {namespace}{separator}{name}");
        if kind == "Secret" {
            for values in SECRET_VALUES {
                for (_, value) in manifest
                    .get_mut(values)
                    .and_then(Value::as_object_mut)
                    .into_iter()
                    .flatten()
                {
                    *value = json!("***");
                }
            }
        }
        (resource, manifest)
    });
    named.collect()
}

fn patch(old: &Value, new: &Value) -> Vec<Value> {
    let operations = json_patch::diff(old, new).0;
    let operations = operations.into_iter().take(OPERATIONS);
    operations
        .filter_map(|operation| serde_json::to_value(operation).ok())
        .map(|mut operation| {
            cut(&mut operation);
            sieve::clean(&mut operation);
            // A value says of itself only by its place whether it is a secret one.
            if names_a_secret(json::text(&operation, "/path")) && operation.get("value").is_some() {
                json::set(&mut operation, "/value", json!("***"));
            }
            operation
        })
        .collect()
}

fn names_a_secret(path: &str) -> bool {
    let mut probe = json!({ path.rsplit('/').next().unwrap_or_default(): "x" });
    let before = probe.clone();
    sieve::clean(&mut probe);
    probe != before
}

fn cut(value: &mut Value) {
    match value {
        Value::String(text) => *text = shown(text),
        Value::Array(items) => items.iter_mut().for_each(cut),
        Value::Object(fields) => fields.values_mut().for_each(cut),
        Value::Bool(_) | Value::Null | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config_map(name: &str, data: &Value) -> Value {
        json!({ "kind": "ConfigMap", "metadata": { "name": name, "namespace": "shop" }, "data": data })
    }

    fn between(before: Vec<Value>, after: Vec<Value>) -> Changes {
        let commit = |c: &str| vec![c.repeat(40)];
        Changes::between(commit("1"), before, commit("2"), after)
    }

    #[test]
    fn what_was_added_changed_and_removed_is_told_by_name() {
        let same = config_map("same", &json!({ "a": "1" }));
        let changes = between(
            vec![
                same.clone(),
                config_map("x", &json!({ "a": "1" })),
                config_map("old", &json!({})),
            ],
            vec![
                same,
                config_map("x", &json!({ "a": "2" })),
                config_map("new", &json!({})),
            ],
        );
        let told: Vec<_> = changes
            .resources
            .iter()
            .map(|c| (&*c.resource, &*c.what))
            .collect();
        assert_eq!(
            told,
            [
                ("ConfigMap shop/new", "added"),
                ("ConfigMap shop/old", "removed"),
                ("ConfigMap shop/x", "changed"),
            ]
        );
        assert_eq!(
            changes.resources[2].patch,
            [json!({ "op": "replace", "path": "/data/a", "value": "2" })]
        );
        assert_eq!(
            changes.to_string(),
            "1111111..2222222: ConfigMap shop/new added, ConfigMap shop/old removed, \
             ConfigMap shop/x changed"
        );
        assert_eq!(
            between(vec![], vec![]).to_string(),
            "1111111..2222222: no manifest differs"
        );
    }

    #[test]
    fn no_value_of_a_secret_is_kept() {
        let secret = |value: &str| {
            json!({
                "kind": "Secret", "metadata": { "name": "s" },
                "data": { "a": value }, "stringData": { "b": value },
            })
        };
        assert_eq!(
            between(vec![secret("canary")], vec![secret("canary2")]).resources,
            []
        );
        let other = |value: &str| {
            config_map(
                "x",
                &json!({ "DB_PASSWORD": value, "note": format!("Bearer {value}") }),
            )
        };
        let changes = between(vec![other("canary-1A")], vec![other("canary-2B")]);
        assert_eq!(changes.resources[0].patch.len(), 2);
        assert!(!serde_json::to_string(&changes).unwrap().contains("canary"));
    }

    #[test]
    fn there_is_an_end_to_everything() {
        let many = |value: &str| -> Vec<Value> {
            let data: serde_json::Map<_, _> = (0..200)
                .map(|key| (format!("k{key}"), json!(value.repeat(10_000))))
                .collect();
            (0..60)
                .map(|n| config_map(&format!("m{n}"), &json!(data)))
                .collect()
        };
        let changes = between(many("a"), many("b"));
        assert_eq!(
            (changes.resources.len(), changes.more),
            (RESOURCES, 60 - RESOURCES)
        );
        assert!(
            changes
                .resources
                .iter()
                .all(|c| c.patch.len() == OPERATIONS)
        );
        assert!(changes.to_string().ends_with("and 55 more"));
    }
}
