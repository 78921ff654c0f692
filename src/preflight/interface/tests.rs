//! What is refused before anything is looked at.

use serde_json::{Value, json};

use super::*;
use crate::evidence::run::read;

fn body() -> Value {
    json!({"application": "checkout-staging", "suite": "integration", "now": "2026-11-23T12:00:00Z"})
}

fn refused(change: impl FnOnce(&mut Value)) -> String {
    let mut body = body();
    change(&mut body);
    let read = read::<Asked>(body.to_string().as_bytes());
    read.and_then(|asked| asked.check())
        .unwrap_err()
        .to_string()
}

#[test]
fn the_least_question_is_taken_and_comes_back_as_it_was() {
    let asked: Asked = read(body().to_string().as_bytes()).unwrap();
    asked.check().unwrap();
    assert_eq!((asked.expected_seconds, asked.endpoints.len()), (None, 0));
    let again = serde_json::to_vec(&asked).unwrap();
    assert_eq!(read::<Asked>(&again).unwrap(), asked);
}

#[test]
fn a_bad_question_is_told_by_the_place_and_the_mend() {
    for (told, wrong) in [
        ("`application`: `Shop", json!({"application": "Shop"})),
        (
            "`application_namespace`: `a b`",
            json!({"application_namespace": "a b"}),
        ),
        ("`environment`", json!({"environment": "Prod"})),
        ("`suite`", json!({"suite": "two words"})),
        (
            "send at most 604800",
            json!({"expected_seconds": MAX_EXPECTED_SECONDS + 1}),
        ),
        (
            "`expected_seconds`: invalid value",
            json!({"expected_seconds": -1}),
        ),
        (
            "`endpoints`: there are too many; send at most 32",
            json!({"endpoints": vec!["x"; 33]}),
        ),
        (
            "`endpoints[1]`: it is there twice",
            json!({"endpoints": ["a", "a"]}),
        ),
        (
            "`endpoints[0]`: it is not the name",
            json!({"endpoints": [""]}),
        ),
        (
            "`endpoints[0]`: it is not the name",
            json!({"endpoints": ["a\nb"]}),
        ),
        (
            "`endpoints[0]`: it is not the name",
            json!({"endpoints": ["a".repeat(254)]}),
        ),
        ("`now`", json!({"now": "noon"})),
        ("unknown field `app`", json!({"app": "x"})),
    ] {
        let sentence = refused(|body| {
            for (name, value) in wrong.as_object().unwrap() {
                body[name] = value.clone();
            }
        });
        assert!(sentence.contains(told), "{told}: {sentence}");
    }
    for missing in ["application", "suite", "now"] {
        let sentence = refused(|body| {
            body.as_object_mut().unwrap().remove(missing);
        });
        assert!(
            sentence.contains(&format!("missing field `{missing}`")),
            "{sentence}"
        );
    }
}
