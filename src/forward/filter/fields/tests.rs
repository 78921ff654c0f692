//! Callers get what they chose, whatever the filter asked for besides.
//!
//! The two ways in which Argo CD chooses are written here once more, from its source, as what the
//! upstream does.

use proptest::prelude::{prop_assert_eq, proptest};
use proptest::sample::subsequence;
use serde_json::json;

use super::super::{APPLICATION_EVENT, APPLICATION_LIST, APPLICATION_TREES, MANAGED_RESOURCES};
use super::*;

/// Some of the paths that Argo CD knows of a list's items.
const KNOWN: [&str; 8] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.labels",
    "spec",
    "spec.destination",
    "spec.project",
    "spec.source",
    "status.health",
];

fn application() -> Value {
    json!({
        "metadata": {"name": "shop", "namespace": "argocd", "uid": "u", "labels": {"a": "b"}},
        "spec": {"project": "p", "destination": {"server": "s"}, "source": {"repoURL": "r"}},
        "status": {"health": {"status": "Healthy"}},
    })
}

/// `streamApplicationListJSON`.
fn list(query: &str) -> Value {
    let Some(choice) = Choice::read(query) else {
        return json!({"metadata": {}, "items": [application()]});
    };
    let selected = |path: &str| choice.fields.contains(&format!("items.{path}")) != choice.exclude;
    let mut item = json!({});
    for path in KNOWN.into_iter().filter(|path| selected(path)) {
        if !(path.starts_with("spec.") && selected("spec")) {
            let pointer = format!("/{}", path.replace('.', "/"));
            crate::json::set(
                &mut item,
                &pointer,
                crate::json::at(&application(), &pointer).clone(),
            );
        }
    }
    json!({"metadata": {}, "items": [item]})
}

/// `messageMarshaler.processItem`.
fn thinned(answer: &Value, query: &str) -> Value {
    fn process(choice: &Choice, path: &[&str], item: &Value) -> Value {
        match item {
            Value::Array(items) => items
                .iter()
                .map(|item| process(choice, path, item))
                .collect(),
            Value::Object(members) => {
                let mut kept = Map::new();
                for (key, value) in members {
                    let path = [path, &[key.as_str()]].concat();
                    let joined = path.join(".");
                    let path_in = choice.fields.contains(&joined);
                    let parent_in = path_in || choice.fields.iter().any(|f| f.starts_with(&joined));
                    if choice.exclude && !path_in || !choice.exclude && parent_in {
                        let value = if path_in {
                            value.clone()
                        } else {
                            process(choice, &path, value)
                        };
                        kept.insert(key.clone(), value);
                    }
                }
                Value::Object(kept)
            }
            other => other.clone(),
        }
    }
    match Choice::read(query) {
        Some(choice) => process(&choice, &[], answer),
        None => answer.clone(),
    }
}

fn event() -> Value {
    json!({"result": {"type": "ADDED", "application": application()}})
}

fn tree() -> Value {
    let node = json!({
        "group": "g", "kind": "k", "namespace": "n", "name": "x", "uid": "u", "health": {"status": "h"},
        "parentRefs": [{"group": "g", "kind": "k", "namespace": "n", "name": "y", "uid": "v"}],
    });
    json!({"result": {"nodes": [node], "orphanedNodes": [node], "hosts": [{"name": "h"}]}})
}

fn managed() -> Value {
    json!({"items": [{"group": "g", "kind": "k", "namespace": "n", "name": "x", "liveState": "{}"}]})
}

/// What the caller of `query` gets of `upstream`, and whether it held what the filter needs.
fn round(layout: &Layout, query: &str, upstream: impl Fn(&str) -> Value) -> Value {
    let sent = forward_query(layout, query).unwrap_or_else(|| query.to_owned());
    let mut answer = upstream(&sent);
    assert_needed(layout, &answer, &sent);
    if let Some(asked) = layout.fields.asked(query) {
        asked.choose(&mut answer);
    }
    answer
}

fn assert_needed(layout: &Layout, answer: &Value, sent: &str) {
    let (prefixes, needed): (&[&str], _) = match layout.fields {
        Fields::Ignored => return,
        Fields::Of { prefixes, needed } => (prefixes, needed),
        Fields::OfList { needed, .. } => (&["items"], needed),
    };
    for prefix in prefixes {
        for path in needed.iter().filter(|path| !path.ends_with("uid")) {
            let mut place = answer;
            for key in prefix.split('.').chain(path.split('.')) {
                place = place
                    .get(key)
                    .unwrap_or_else(|| panic!("{prefix}.{path} of {sent}: {answer}"));
                if let Value::Array(items) = place {
                    place = &items[0];
                }
            }
        }
    }
}

fn query(exclude: bool, fields: &[String]) -> String {
    let sign = if exclude { "-" } else { "" };
    let mut query = form_urlencoded::Serializer::new(String::from("a=b"));
    query.append_pair("fields", &format!("{sign}{}", fields.join(",")));
    query.finish()
}

#[test]
fn without_a_choice_nothing_is_rewritten_or_taken_out() {
    for query in [
        "",
        "projects=a&selector=x%3Dy",
        "fields=",
        "fields=&fields=items",
    ] {
        for layout in [&APPLICATION_LIST, &APPLICATION_EVENT] {
            assert_eq!(forward_query(layout, query), None, "{query}");
            assert_eq!(layout.fields.asked(query), None, "{query}");
        }
    }
    assert_eq!(
        forward_query(&super::super::APPLICATION_TREE, "fields=nodes.uid"),
        None
    );
}

#[test]
fn a_choice_that_holds_what_is_needed_is_sent_alone_and_not_printed_anew() {
    let fields = "items.metadata.name,items.metadata.namespace,items.metadata.labels,items.spec";
    let all = format!("fields={fields},items.metadata.uid");
    assert_eq!(APPLICATION_LIST.fields.asked(&all), None);
    // Readers of a query differ in which of two counts.
    let twice = forward_query(&APPLICATION_LIST, &format!("{all}&a=b&fields=-items.spec"));
    let sent = twice.unwrap();
    assert!(
        sent.starts_with("a=b&fields=items.metadata.labels%2C"),
        "{sent}"
    );
    assert_eq!(sent.matches("fields").count(), 1);
    assert_eq!(MANAGED_RESOURCES.fields.asked("fields=items"), None);
}

#[test]
fn nothing_but_what_is_needed_left_out_is_a_choice_still() {
    let sent = forward_query(&APPLICATION_LIST, "fields=-items.metadata.name");
    assert_eq!(sent.unwrap(), "fields=-none");
}

proptest! {
    #[test]
    fn a_list_is_as_its_caller_chose(
        known in subsequence(KNOWN.to_vec(), 0..8),
        exclude: bool,
        odd in "(metadata|items.spec.destination.server|items.metadata.labels.a|x)",
    ) {
        let mut fields: Vec<_> = known.iter().map(|path| format!("items.{path}")).collect();
        fields.push(odd);
        let query = query(exclude, &fields);
        let chosen = round(&APPLICATION_LIST, &query, list);
        prop_assert_eq!(chosen, list(&query), "{}", query);
    }

    #[test]
    fn everything_else_is_as_its_caller_chose(
        fields in proptest::collection::vec(
            "(result|items)(\\.(application|nodes|orphanedNodes|hosts|type|na|name|group|liveState)){0,1}\
             (\\.(metadata|spec|parentRefs|uid|name|kind|health)){0,1}(\\.(labels|name|group|pro|uid)){0,1}(\\.a){0,1}",
            1..6,
        ),
        exclude: bool,
    ) {
        let query = query(exclude, &fields);
        for (layout, answer) in [
            (&APPLICATION_EVENT, event()),
            (&APPLICATION_TREES, tree()),
            (&MANAGED_RESOURCES, managed()),
        ] {
            let chosen = round(layout, &query, |query| thinned(&answer, query));
            prop_assert_eq!(chosen, thinned(&answer, &query), "{}", query);
        }
    }
}
