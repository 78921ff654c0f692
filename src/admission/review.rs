//! What the API server of a cluster asks, and how it is answered: `AdmissionReview`, version `v1` of
//! `admission.k8s.io`.
//!
//! In: the bytes of a request. Out: a [`Review`], or why it is none. Keys that come twice are refused
//! at any depth, so that nobody reads another object than the API server stores; it tells letter
//! cases apart, and so is it read here. Never: a default where a field that matters has another type
//! than it should.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::argocd::json as strict;
use crate::json;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    AppProject,
    Application,
    ApplicationSet,
    /// Nothing that this door is about.
    Other,
}

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Create,
    /// A deletion, or a connection.
    Other,
    Update,
}

/// One question of the API server.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Review {
    /// By which the answer is matched with the question.
    pub(super) uid: String,
    pub(super) kind: Kind,
    pub(super) verb: Verb,
    /// Nothing will be stored.
    pub(super) dry_run: bool,
    /// Who writes, as the API server has authenticated them.
    pub(super) user: String,
    pub(super) groups: BTreeSet<String>,
    /// The object before; null on creation.
    pub(super) before: Value,
    /// The object as it will be; null where nothing is written.
    pub(super) after: Value,
}

/// A request that is no review.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// Not JSON, or a key twice.
    #[error("the review cannot be read")]
    Json(#[from] strict::Error),
    /// A field is missing or of another type.
    #[error("`{0}` of the review is missing or not what it should be")]
    Field(&'static str),
}

impl Review {
    /// Reads a review.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Error> {
        let review = strict::read_exact(bytes)?;
        let is = |pointer, text: &str| json::text(&review, pointer) == text;
        if !is("/apiVersion", "admission.k8s.io/v1") || !is("/kind", "AdmissionReview") {
            return Err(Error::Field("apiVersion and kind"));
        }
        let request = object(&review, "/request")?;
        let verb = match text(request, "/operation", "request.operation")?.as_str() {
            "CREATE" => Verb::Create,
            "UPDATE" => Verb::Update,
            "CONNECT" | "DELETE" => Verb::Other,
            _ => return Err(Error::Field("request.operation")),
        };
        let after = match verb {
            Verb::Create | Verb::Update => object(request, "/object")?.clone(),
            Verb::Other => Value::Null,
        };
        let before = match verb {
            Verb::Update => object(request, "/oldObject")?.clone(),
            Verb::Create | Verb::Other => Value::Null,
        };
        let review = Self {
            uid: text(request, "/uid", "request.uid")?,
            kind: kind(request)?,
            verb,
            dry_run: match json::at(request, "/dryRun") {
                Value::Null => false,
                Value::Bool(flag) => *flag,
                _ => return Err(Error::Field("request.dryRun")),
            },
            user: text(request, "/userInfo/username", "request.userInfo.username")?,
            groups: groups(json::at(request, "/userInfo/groups"))?,
            before,
            after,
        };
        review.check_names(request)?;
        Ok(review)
    }

    /// The object must be the one that the request says is written.
    fn check_names(&self, request: &Value) -> Result<(), Error> {
        if self.verb == Verb::Other || self.kind == Kind::Other {
            return Ok(());
        }
        let namespace = text(request, "/namespace", "request.namespace")?;
        for object in [&self.after, &self.before] {
            let of = |pointer| json::text(object, pointer);
            let is_it = of("/metadata/namespace") == namespace && !of("/metadata/name").is_empty();
            if !object.is_null() && !is_it {
                return Err(Error::Field("metadata"));
            }
        }
        Ok(())
    }
}

fn kind(request: &Value) -> Result<Kind, Error> {
    let group = json::text(request, "/resource/group");
    let resource = text(request, "/resource/resource", "request.resource.resource")?;
    if group != "argoproj.io" {
        return Ok(Kind::Other);
    }
    let kind = match resource.as_str() {
        "applications" => Kind::Application,
        "applicationsets" => Kind::ApplicationSet,
        "appprojects" => Kind::AppProject,
        _ => return Ok(Kind::Other),
    };
    // Fields of another version could mean something else.
    if json::text(request, "/resource/version") == "v1alpha1" {
        Ok(kind)
    } else {
        Err(Error::Field("request.resource.version"))
    }
}

fn object<'a>(value: &'a Value, pointer: &'static str) -> Result<&'a Value, Error> {
    let found = json::at(value, pointer);
    let name = pointer.trim_start_matches('/');
    if found.is_object() {
        Ok(found)
    } else {
        Err(Error::Field(name))
    }
}

fn text(value: &Value, pointer: &str, name: &'static str) -> Result<String, Error> {
    match json::at(value, pointer) {
        Value::String(text) if !text.is_empty() => Ok(text.clone()),
        _ => Err(Error::Field(name)),
    }
}

fn groups(list: &Value) -> Result<BTreeSet<String>, Error> {
    let bad = || Error::Field("request.userInfo.groups");
    match list {
        Value::Null => Ok(BTreeSet::new()),
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(bad))
            .collect(),
        _ => Err(bad()),
    }
}

/// What the API server is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Why it is denied; absent is a yes.
    pub(super) denied: Option<String>,
    /// What the writer is to be told beside a yes.
    pub(super) warnings: Vec<String>,
}

impl Told {
    /// The answer to the review `uid`.
    pub(super) fn to_json(&self, uid: &str) -> Vec<u8> {
        let status = |message| json!({ "code": 403, "message": message, "reason": "Forbidden" });
        let mut response = json!({
            "uid": uid,
            "allowed": self.denied.is_none(),
            "status": self.denied.as_ref().map(status),
            "warnings": self.warnings,
        });
        if let Value::Object(fields) = &mut response {
            fields.retain(|_, said| !said.is_null() && *said != json!([]));
        }
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": response,
        });
        review.to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review() -> Value {
        let application = json!({"metadata": {"name": "shop", "namespace": "argocd"}, "spec": {}});
        json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "u1", "operation": "UPDATE", "namespace": "argocd", "name": "shop",
                "kind": {"group": "argoproj.io", "version": "v1alpha1", "kind": "Application"},
                "resource": {
                    "group": "argoproj.io", "version": "v1alpha1", "resource": "applications",
                },
                "userInfo": {"username": "ada", "groups": ["a", "b"], "extra": {"X": ["y"]}},
                "object": application, "oldObject": application, "dryRun": false,
            },
        })
    }

    fn read(review: &Value) -> Result<Review, Error> {
        Review::read(review.to_string().as_bytes())
    }

    #[test]
    fn a_review_is_read() {
        let read = read(&review()).unwrap();
        assert_eq!(
            (read.kind, read.verb, read.dry_run, read.user.as_str()),
            (Kind::Application, Verb::Update, false, "ada")
        );
        assert_eq!(read.groups.len(), 2);
    }

    #[test]
    fn a_field_that_matters_must_be_there_and_be_what_it_should() {
        for (pointer, value, said) in [
            (
                "/apiVersion",
                json!("admission.k8s.io/v1beta1"),
                "apiVersion",
            ),
            ("/request/uid", json!(""), "request.uid"),
            ("/request/operation", json!("PATCH"), "request.operation"),
            ("/request/dryRun", json!("true"), "request.dryRun"),
            ("/request/userInfo/username", json!(null), "username"),
            ("/request/userInfo/groups", json!("a"), "groups"),
            ("/request/userInfo/groups", json!([1]), "groups"),
            ("/request/resource/resource", json!(1), "resource"),
            ("/request/resource/version", json!("v1"), "version"),
            ("/request/object", json!(null), "object"),
            ("/request/oldObject", json!([]), "oldObject"),
            (
                "/request/object/metadata/namespace",
                json!("other"),
                "metadata",
            ),
            ("/request/oldObject/metadata/name", json!(""), "metadata"),
        ] {
            let mut review = review();
            json::set(&mut review, pointer, value);
            let error = read(&review).unwrap_err().to_string();
            assert!(error.contains(said), "{pointer}: {error}");
        }
    }

    #[test]
    fn a_key_twice_is_refused_and_another_letter_case_is_another_key() {
        let text = review().to_string();
        let twice = text.replacen("\"uid\":", "\"uid\":\"other\",\"uid\":", 1);
        assert!(Review::read(twice.as_bytes()).is_err());
        let twice = text.replacen(
            "\"spec\":{}",
            "\"spec\":{\"project\":\"a\",\"project\":\"b\"}",
            1,
        );
        assert!(Review::read(twice.as_bytes()).is_err());
        let cased = text.replacen("\"spec\":{}", "\"spec\":{\"Project\":\"a\"}", 1);
        assert!(Review::read(cased.as_bytes()).is_ok());
    }

    #[test]
    fn what_the_door_is_not_about_needs_no_object() {
        let mut review = review();
        review["request"]["operation"] = json!("DELETE");
        review["request"]["object"] = json!(null);
        assert_eq!(read(&review).unwrap().verb, Verb::Other);
        review["request"]["resource"]["resource"] = json!("rollouts");
        assert_eq!(read(&review).unwrap().kind, Kind::Other);
    }

    #[test]
    fn an_answer_says_why_it_is_no() {
        let yes = Told {
            warnings: vec!["w".into()],
            ..Told::default()
        };
        let yes: Value = serde_json::from_slice(&yes.to_json("u1")).unwrap();
        assert_eq!(
            yes["response"],
            json!({"uid": "u1", "allowed": true, "warnings": ["w"]})
        );
        let no = Told {
            denied: Some("no".into()),
            ..Told::default()
        };
        let no: Value = serde_json::from_slice(&no.to_json("u1")).unwrap();
        assert_eq!(no["response"]["allowed"], json!(false));
        assert_eq!(no["response"]["status"]["message"], json!("no"));
        assert_eq!(no["response"]["status"]["code"], json!(403));
    }
}
