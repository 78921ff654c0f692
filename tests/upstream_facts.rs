//! What the gate holds to be true of Argo CD's API, against the module of Argo CD itself.
//!
//! In: the file named by `SYNCGATE_UPSTREAM_FACTS`, which `tests/argocd/rig facts` prints: methods, REST
//! bindings and messages out of the descriptors that the server carries, and some applications in both of
//! their forms. The test fails for a method or binding that is in one and not in the other, for a field whose
//! name, number or type differs, for a field that the gate lacks in a message that it reads whole, and for an
//! application that the gate reads from protobuf otherwise than Argo CD writes it as JSON.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use serde_json::Value;
use syncgate::argocd::facts::table_facts;
use syncgate::argocd::written;

/// The message that the gate decodes whole; it, and all in it, must lack no field.
const COMPLETE: &str = "ApplicationSyncRequest";

/// What callers may not write: not in our messages, on purpose.
const NOT_WRITTEN: [(&str, &str); 3] = [
    ("Application", "operation"),
    ("Application", "status"),
    ("ApplicationSet", "status"),
];

/// What Argo CD's own code wrote, kept for the unit tests.
const FIXTURES: [(&str, &str); 2] = [
    ("applications", include_str!("fixtures/applications.json")),
    ("patches", include_str!("fixtures/patches.json")),
];

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
    for (name, fields) in ours["written"].as_object().into_iter().flatten() {
        written_whole(name, fields, &messages, &mut differences);
    }
    samples(&theirs, &mut differences);
    for (key, file) in FIXTURES {
        let file: Value = serde_json::from_str(file).expect("JSON");
        if file != theirs[key] {
            differences.add(format!(
                "tests/fixtures/{key}.json is not what Argo CD writes"
            ));
        }
    }
    let actions = |facts: &'_ Value| {
        list(&facts["actions"])
            .map(|a| text(a).to_owned())
            .collect()
    };
    differences.compare("built-in actions", &actions(&ours), &actions(&theirs));

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
        // Entries of maps are named after their fields, and so alike.
        .filter(|(_, message)| message["map_entry"] != true)
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

/// The upstream's message of this bare name, if there is exactly one.
fn named<'a>(
    name: &str,
    messages: &'a Messages<'_>,
    differences: &mut Differences,
) -> Option<(&'a str, &'a BTreeMap<u64, &'a Value>)> {
    let candidates: Vec<_> = messages
        .iter()
        .filter(|(full, _)| bare(full) == name)
        .collect();
    let [(full, theirs)] = candidates.as_slice() else {
        differences.add(format!(
            "{} messages of Argo CD are called {name}",
            candidates.len()
        ));
        return None;
    };
    Some((full, theirs))
}

/// Our part of one message: every field that we know must be the upstream's.
fn message(name: &str, fields: &Value, messages: &Messages<'_>, differences: &mut Differences) {
    let Some((full, theirs)) = named(name, messages, differences) else {
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
        if !same_on_the_wire(ours, their) {
            differences.add(format!("{full}: we have {ours}, Argo CD {their}"));
        }
    }
}

fn same_on_the_wire(ours: &Value, their: &Value) -> bool {
    // A map is, on the wire, a repeated message that protobuf compilers name after the field.
    let is_map = their["kind"] == "map" || text(&their["type"]).ends_with("Entry");
    text(&ours["name"]) == text(&their["name"])
        && ours["repeated"] == (their["label"] == "repeated")
        && (is_map || text(&ours["type"]) == bare(text(&their["type"])))
}

/// A message that is read whole: the same fields, and of the same form in JSON.
fn written_whole(
    name: &str,
    fields: &Value,
    messages: &Messages<'_>,
    differences: &mut Differences,
) {
    let Some((full, theirs)) = named(name, messages, differences) else {
        return;
    };
    let known: BTreeMap<u64, &Value> = list(fields)
        .filter_map(|field| Some((field["number"].as_u64()?, field)))
        .collect();
    let left_out = |field: &Value| NOT_WRITTEN.contains(&(name, text(&field["name"])));
    let theirs: BTreeMap<u64, &Value> = theirs
        .iter()
        .filter(|(_, field)| !left_out(field))
        .map(|(number, field)| (*number, *field))
        .collect();
    differences.compare(
        &format!("fields of {full}"),
        &known.keys().collect(),
        &theirs.keys().collect(),
    );
    for (number, ours) in known {
        let Some(their) = theirs.get(&number) else {
            continue;
        };
        // Fields without a key of their own, and a number or text, are written as code says.
        let key = match text(&their["json"]) {
            "" | "-" => text(&their["name"]),
            _ if name == "IntOrString" => text(&their["name"]),
            key => key,
        };
        let same = same_on_the_wire(ours, their)
            && text(&ours["json"]) == key
            && ours["inline"] == (their["json"] == "")
            && ours["pointer"] == (their["pointer"] == true);
        if !same {
            differences.add(format!("{full}: we have {ours}, Argo CD {their}"));
        }
    }
}

/// Applications in both forms, as Argo CD's own code writes them.
fn samples(theirs: &Value, differences: &mut Differences) {
    let samples: Vec<_> = list(&theirs["applications"]).collect();
    for sample in &samples {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text(&sample["protobuf"]))
            .unwrap_or_default();
        let by_protobuf = written::application_of(&bytes);
        let by_json = written::application_of_json(&sample["json"]);
        match (&by_protobuf, &by_json) {
            (Ok(one), Ok(other)) if one == other => {}
            _ => differences.add(format!(
                "{} is {by_protobuf:?} from protobuf, and {by_json:?} from JSON",
                sample["name"]
            )),
        }
    }
    if samples.len() < 5 {
        differences.add(format!("there are {} applications", samples.len()));
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
