//! What the gate holds to be true of Argo CD's API, against the module of Argo CD itself.
//!
//! In: the file named by `SYNCGATE_UPSTREAM_FACTS`, which `tests/argocd/rig facts` prints: methods, REST
//! bindings and messages out of the descriptors that the server carries. The test fails for a method or
//! binding that is in one and not in the other, and for a field whose name, number or type differs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use syncgate::argocd::facts::table_facts;

/// The message that the gate decodes whole; it, and all in it, must lack no field.
const COMPLETE: &str = "ApplicationSyncRequest";

/// Everything in which our facts and the upstream's differ.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn compare<T: Ord + std::fmt::Debug>(
        &mut self,
        what: &str,
        ours: &BTreeSet<T>,
        theirs: &BTreeSet<T>,
    ) {
        for only in ours.difference(theirs) {
            self.0.push(format!("{what}: only we have {only:?}"));
        }
        for only in theirs.difference(ours) {
            self.0.push(format!("{what}: only Argo CD has {only:?}"));
        }
    }

    fn add(&mut self, difference: String) {
        self.0.push(difference);
    }
}

#[test]
#[ignore = "needs the facts of Argo CD's module: tests/run real"]
fn the_table_agrees_with_argo_cds_own_descriptors() {
    let file = std::env::var_os("SYNCGATE_UPSTREAM_FACTS")
        .expect("SYNCGATE_UPSTREAM_FACTS names the file of facts");
    let theirs: Value =
        serde_json::from_slice(&std::fs::read(&file).expect("the facts can be read"))
            .expect("JSON");
    let ours = table_facts();
    let mut differences = Differences::default();

    let version = text(&ours["version"]);
    if !text(&theirs["version"]).starts_with(&format!("v{version}.")) {
        differences.add(format!(
            "we know version {version}, Argo CD is {}",
            theirs["version"]
        ));
    }
    let messages = messages(&theirs);
    methods(&ours, &theirs, &messages, &mut differences);
    for (name, fields) in ours["messages"].as_object().into_iter().flatten() {
        message(name, fields, &messages, &mut differences);
    }
    complete(&ours, &messages, &mut differences);

    assert!(
        differences.0.is_empty(),
        "{} differences:\n{}",
        differences.0.len(),
        differences.0.join("\n")
    );
    assert_eq!(
        ours["methods"].as_array().map(Vec::len),
        theirs["methods"].as_array().map(Vec::len)
    );
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn bare(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// The upstream's messages by full name, with their fields by number.
fn messages(theirs: &Value) -> BTreeMap<&str, BTreeMap<u64, &Value>> {
    let messages = theirs["messages"].as_object().into_iter().flatten();
    messages
        .map(|(name, message)| {
            let fields = list(&message["fields"]);
            (
                name.as_str(),
                fields
                    .filter_map(|field| Some((field["number"].as_u64()?, field)))
                    .collect(),
            )
        })
        .collect()
}

type Messages<'a> = BTreeMap<&'a str, BTreeMap<u64, &'a Value>>;

/// Methods, who streams, REST bindings, and where the name of the application is.
fn methods(ours: &Value, theirs: &Value, messages: &Messages<'_>, differences: &mut Differences) {
    let ours: BTreeMap<&str, &Value> = list(&ours["methods"])
        .map(|m| (text(&m["grpc"]), m))
        .collect();
    let theirs: BTreeMap<&str, &Value> = list(&theirs["methods"])
        .map(|m| (text(&m["path"]), m))
        .collect();
    differences.compare("methods", &ours.keys().collect(), &theirs.keys().collect());
    for (path, our) in &ours {
        let Some(their) = theirs.get(path) else {
            continue;
        };
        let kind = match (
            their["client_streaming"] == true,
            their["server_streaming"] == true,
        ) {
            (false, false) => "unary",
            (false, true) => "server-stream",
            (true, false) => "client-stream",
            (true, true) => "both",
        };
        if text(&our["kind"]) != kind {
            differences.add(format!("{path}: we say {}, Argo CD {kind}", our["kind"]));
        }
        let bindings = |method: &Value, template: &str| -> BTreeSet<(String, String, String)> {
            let binding = |b: &Value| {
                (
                    text(&b["method"]).to_owned(),
                    text(&b[template]).to_owned(),
                    text(&b["body"]).to_owned(),
                )
            };
            list(&method["rest"]).map(binding).collect()
        };
        differences.compare(path, &bindings(our, "template"), &bindings(their, "path"));
        let application = &our["application"];
        for role in ["name", "namespace", "project"] {
            let field = &application[role];
            if field.is_null() {
                continue;
            }
            if let Err(fault) = walk(text(&their["request"]), field, messages) {
                differences.add(format!("{path}: its application's {role}: {fault}"));
            }
        }
    }
}

/// Follows a dotted path of field names through the upstream's messages, comparing the numbers.
fn walk(request: &str, field: &Value, messages: &Messages<'_>) -> Result<(), String> {
    let mut message = request.to_owned();
    let names: Vec<&str> = text(&field["path"]).split('.').collect();
    let numbers: Vec<u64> = list(&field["numbers"]).filter_map(Value::as_u64).collect();
    if names.len() != numbers.len() {
        return Err(format!("{names:?} is not as long as {numbers:?}"));
    }
    let last = names.len().saturating_sub(1);
    for (depth, (name, number)) in names.iter().zip(numbers).enumerate() {
        let fields = messages
            .get(message.as_str())
            .ok_or(format!("there is no message {message}"))?;
        let found = fields
            .get(&number)
            .ok_or(format!("{message} has no field {number}"))?;
        if text(&found["json"]) != *name {
            return Err(format!(
                "field {number} of {message} is {}, not {name}",
                found["json"]
            ));
        }
        let wanted = if depth == last { "scalar" } else { "message" };
        if text(&found["kind"]) != wanted {
            return Err(format!("field {number} of {message} is no {wanted}"));
        }
        text(&found["type"]).clone_into(&mut message);
    }
    Ok(())
}

/// Our part of one message: every field that we know must be the upstream's.
fn message(name: &str, fields: &Value, messages: &Messages<'_>, differences: &mut Differences) {
    let candidates: Vec<_> = messages
        .iter()
        .filter(|(full, _)| bare(full) == name)
        .collect();
    let [(full, theirs)] = candidates.as_slice() else {
        differences.add(format!(
            "{} messages of Argo CD are called {name}",
            candidates.len()
        ));
        return;
    };
    for ours in list(fields) {
        let number = ours["number"].as_u64().unwrap_or_default();
        let Some(their) = theirs.get(&number) else {
            differences.add(format!(
                "{full} has no field {number}, which we call {}",
                ours["name"]
            ));
            continue;
        };
        // A map is, on the wire, a repeated message that protobuf compilers name after the field.
        let is_map = their["kind"] == "map" || text(&their["type"]).ends_with("Entry");
        let same = text(&ours["name"]) == text(&their["name"])
            && ours["repeated"] == (their["label"] == "repeated")
            && (is_map || text(&ours["type"]) == bare(text(&their["type"])));
        if !same {
            differences.add(format!("{full}: we have {ours}, Argo CD {their}"));
        }
    }
}

/// The message that is decoded whole, and all messages in it: no field may be unknown to us.
fn complete(ours: &Value, messages: &Messages<'_>, differences: &mut Differences) {
    let mut open = vec![COMPLETE.to_owned()];
    let mut seen = BTreeSet::new();
    let known_messages = &ours["messages"];
    while let Some(name) = open.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let fields: Vec<&Value> = list(&known_messages[&name]).collect();
        let known: BTreeSet<u64> = fields
            .iter()
            .filter_map(|field| field["number"].as_u64())
            .collect();
        let theirs = messages.iter().find(|(full, _)| bare(full) == name);
        let numbers = theirs
            .map(|(_, fields)| fields.keys().copied().collect())
            .unwrap_or_default();
        differences.compare(&format!("fields of {name}"), &known, &numbers);
        let inner = fields.iter().map(|field| text(&field["type"]).to_owned());
        open.extend(inner.filter(|kind| ours["messages"].get(kind).is_some()));
    }
    if seen.len() < 5 {
        differences.add(format!("{COMPLETE} was not walked: {seen:?}"));
    }
}
