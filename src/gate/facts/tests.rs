//! Reading Applications.

use serde_json::json;

use super::testing::{A, B, facts, multi, operation, single, source};
use super::*;

#[test]
fn one_source_and_several_are_read_alike() {
    let one = facts(&single());
    assert!(!one.sources.multi);
    assert_eq!(one.compared.revisions, [A]);
    assert_eq!(one.compared.pinned().unwrap()[0].commit.as_str(), A);
    let several = facts(&multi());
    assert!(several.sources.multi);
    let pinned = several.compared.pinned().unwrap();
    assert_eq!(pinned[0].commit.as_str(), "1.4.2");
    assert_eq!(pinned[0].asked, "1.x");
    assert_eq!(several.deployed.unwrap(), several.compared);
}

#[test]
fn automated_sync_is_on_unless_it_says_that_it_is_not() {
    for (automated, on) in [
        (json!(null), false),
        (json!({}), true),
        (json!({"enabled": true}), true),
        (json!({"enabled": false}), false),
        (json!({"selfHeal": true, "enabled": null}), true),
    ] {
        let mut app = single();
        app["spec"]["syncPolicy"] = json!({"automated": automated});
        assert_eq!(facts(&app).automated, on, "{automated}");
    }
}

#[test]
fn only_what_fixes_a_source_of_its_kind_is_a_commit_of_it() {
    let git = source("p");
    let chart = json!({"repoURL": "https://charts.example", "chart": "web"});
    let oci = json!({"repoURL": "oci://registry.example/app"});
    let digest = format!("sha256:{}", "0".repeat(64));
    for (source, revision, fits) in [
        (&git, A, true),
        // A tag that looks like a version can be moved.
        (&git, "1.2.3", false),
        (&git, "aaaaaaa", false),
        (&git, digest.as_str(), false),
        (&chart, "1.2.3", true),
        (&chart, A, false),
        (&oci, digest.as_str(), true),
        (&oci, "1.2.3", false),
    ] {
        assert_eq!(
            commit_of(source, revision).is_some(),
            fits,
            "{source} {revision}"
        );
    }
}

#[test]
fn what_should_be_there_and_is_not_makes_the_application_unreadable() {
    let unreadable = |pointer: &str, value: Value| {
        let mut app = single();
        operation(&mut app, "Running", B);
        *app.pointer_mut(pointer).unwrap() = value;
        AppFacts::from_json(&app).unwrap_err().to_string()
    };
    assert!(unreadable("/metadata/uid", Value::Null).contains("metadata.uid"));
    assert!(unreadable("/spec/source", json!("x")).contains("source"));
    assert!(unreadable("/status/operationState/phase", json!("Odd")).contains("phase"));
    assert!(unreadable("/status/operationState/startedAt", json!("soon")).contains("startedAt"));
    assert!(unreadable("/status/sync/revision", json!(1)).contains("revisions"));
    let odd = json!({"phase": "Failed", "startedAt": super::testing::STARTED, "retryCount": -1});
    assert!(unreadable("/status/operationState", odd).contains("retryCount"));
    assert!(AppFacts::from_json(&Value::Null).is_err());
}

#[test]
fn of_the_resources_of_an_operation_the_jobs_that_are_hooks_are_read() {
    let mut app = single();
    operation(&mut app, "Failed", B);
    let job = |name: &str, more: Value| {
        let mut job = json!({
            "group": "batch", "kind": "Job", "namespace": "shop", "name": name, "hookType": "PostSync",
        });
        let fields = more.as_object().unwrap().clone();
        job.as_object_mut().unwrap().extend(fields);
        job
    };
    let state = &mut app["status"]["operationState"];
    state["retryCount"] = json!(2);
    state["syncResult"]["resources"] = json!([
        job(
            "a",
            json!({"hookPhase": "Failed", "message": "é".repeat(400)})
        ),
        job("b", json!({"hookPhase": "Odd"})),
        job("c", json!({"hookType": null})),
        job("d", json!({"kind": "Pod"})),
        job("e", json!({"namespace": 3})),
    ]);
    let read = facts(&app).operation.unwrap();
    assert_eq!(read.retry, 2);
    let hooks: Vec<(&str, Option<Phase>, usize)> = read
        .hooks
        .iter()
        .map(|hook| (hook.name.as_str(), hook.phase, hook.message.len()))
        .collect();
    assert_eq!(hooks, [("a", Some(Phase::Failed), 512), ("b", None, 0)]);
    assert!(read.hooks.iter().all(|hook| hook.kind == "PostSync"));
}

proptest::proptest! {
    #[test]
    fn no_text_in_any_place_makes_the_reader_panic(text in ".*", place in 0usize..6) {
        let pointers = ["/metadata", "/spec", "/spec/source", "/status", "/status/sync", "/status/history"];
        let mut app = single();
        *app.pointer_mut(pointers[place]).unwrap() = Value::from(text);
        let _ = AppFacts::from_json(&app);
    }
}
