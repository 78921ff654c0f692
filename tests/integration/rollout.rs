//! What was rolled out together goes back together when its tests fail, to what has passed, and stays there.

use std::time::Duration;

use serde_json::{Value, json};
use syncgate::clock::Clock;

use crate::admission::{CONTROLLER, Review, ask, auto_sync};
use crate::evidence::begin_staging;
use crate::hold::Ahead;
use crate::world::{FIRST, Outside, Receiver, SECOND, Said, World, eventually, passed};

const THIRD: &str = "77aa12cd3e4f5061728394a5b6c7d8e9f0a1b2c3";
const PAGE: &str = "/syncgate/v1/rollouts";
const ROLLBACK: &str = "[rollback]\nkubeconfig = \"kubeconfig\"\n";
/// Beside an admission door.
const KNOWN: &str = "[rollback]\nkubeconfig = \"kubeconfig\"\naccount = \"syncgate/syncgate\"\n";
const GATE: &str = "system:serviceaccount:syncgate:syncgate";
/// The set that goes together: what is deployed last goes back first.
const SET: [(&str, i64); 5] = [
    ("m1-staging", 0),
    ("m2-staging", 1),
    ("m3-staging", 1),
    ("m4-staging", 2),
    ("m5-staging", 3),
];

async fn world(sections: &str) -> World {
    let outside = Outside::start().await;
    outside.write_kubeconfig();
    World::with_sections(outside, sections).await
}

async fn get(world: &World, path: &str) -> Value {
    let said = world
        .gate
        .rest("GET", path, &world.outside.rita(), "")
        .await;
    assert_eq!(said.status, 200, "{said:?}");
    said.json()
}

async fn post(world: &World, token: &str, path: &str, body: Value) -> Said {
    world
        .gate
        .rest("POST", path, token, &body.to_string())
        .await
}

/// The newest rollout in which `application` is.
async fn newest(world: &World, application: &str) -> Value {
    let list = get(world, &format!("{PAGE}?application={application}&limit=1")).await;
    list["rollouts"][0].clone()
}

/// The newest rollout in which `application` is, once its rollback is as far.
async fn rolled_back(world: &World, application: &str, state: &str) -> Value {
    eventually(&format!("a rollback that is {state}"), || async {
        let rollout = newest(world, application).await;
        (rollout["rollback"]["state"] == state).then_some(rollout)
    })
    .await
}

/// The operation that the gate has written for `application` the `nth` time.
async fn written(world: &World, application: &str, nth: usize) -> (String, Value) {
    eventually(&format!("operation {nth} of {application}"), || async {
        let all = world.outside.argocd.written().into_iter();
        let mut own = all.filter(|(name, ..)| name == application);
        own.nth(nth)
            .map(|(_, revision, operation)| (revision, operation))
    })
    .await
}

/// The entries of the log of this operation, oldest first: their requests.
async fn entries(world: &World, operation: &str) -> Vec<Value> {
    let (path, sam) = (
        format!("/syncgate/v1/log?operation={operation}"),
        world.outside.sam(),
    );
    let log = world.gate.rest("GET", &path, &sam, "").await.json();
    let entries = log["entries"].as_array().unwrap().iter().rev();
    entries.map(|entry| entry["opening"].clone()).collect()
}

/// `checkout-staging` has passed at the first commit, and its operation is settled.
async fn pass(world: &World) {
    begin_staging(world).await;
    world.report("passed").await;
    world.outside.argocd.finish("checkout-staging", "Succeeded");
    settled(world, "checkout-staging", "succeeded").await;
}

async fn settled(world: &World, application: &str, state: &str) {
    eventually(&format!("{application} {state}"), || async {
        let rollout = newest(world, application).await;
        let members = rollout["members"].as_array()?.clone();
        let member = members
            .into_iter()
            .find(|it| it["application"]["name"] == application)?;
        (member["state"] == state).then_some(())
    })
    .await;
}

/// A second commit, of which the tests fail. Gives the run.
async fn fail(world: &World) -> String {
    world.outside.argocd.push(SECOND);
    begin_staging(world).await;
    let run = world.report("failed").await;
    world.outside.argocd.fail("checkout-staging");
    run["run"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_fails_its_tests_goes_back_to_what_has_passed_and_is_tested_there() {
    let outside = Outside::start().await;
    outside.write_kubeconfig();
    let receiver = Receiver::down();
    receiver.up(&outside.tasks).await;
    let sections = format!("{ROLLBACK}\n{}", receiver.section());
    let world = World::with_sections(outside, &sections).await;
    pass(&world).await;
    let before = newest(&world, "checkout-staging").await;
    assert_eq!(before["rollback"], Value::Null);
    assert_eq!(before["by"], "alice@shop.example");
    world.outside.argocd.forget();
    let failed = fail(&world).await;

    let (revision, operation) = written(&world, "checkout-staging", 0).await;
    assert_eq!(revision, FIRST);
    let source = &world.outside.argocd.application("checkout-staging")["spec"]["source"];
    assert_eq!(operation["sync"]["source"], *source);
    assert_eq!(operation["sync"]["syncStrategy"], json!({"hook": {}}));
    assert_eq!(operation["sync"]["prune"], false);
    assert_eq!(operation["initiatedBy"]["username"], "syncgate");
    let because = operation["info"][1]["value"].as_str().unwrap();
    assert!(because.contains("failed"), "{because}");
    let running = rolled_back(&world, "checkout-staging", "running").await;
    assert_eq!(running["rollback"]["steps"][0]["commits"], json!([FIRST]));

    let again = world.report("passed").await["run"].clone();
    world.outside.argocd.finish("checkout-staging", "Succeeded");
    let ended = rolled_back(&world, "checkout-staging", "verified").await;
    let step = &ended["rollback"]["steps"][0];
    assert_eq!(
        (&step["state"], &step["tries"]),
        (&json!("verified"), &json!(1))
    );
    let note = step["note"].as_str().unwrap();
    assert!(note.contains(again.as_str().unwrap()), "{note}");
    assert_eq!(world.outside.argocd.written().len(), 1);

    assert_on_record(&world, &ended, &operation, &failed).await;
    // Those who want to know are told of both.
    for kind in ["rollback.started", "rollback.ended"] {
        let kind = format!("dev.syncgate.{kind}");
        let event = eventually(&kind, || async {
            let got = receiver.got.lock().unwrap();
            let mut events = got.iter().map(|(_, event)| event.clone());
            events.find(|event| event["type"] == kind.as_str())
        })
        .await;
        assert_eq!(event["data"]["rollout"], ended["decision"]);
    }
}

/// All of it is on record, and each step is a decision of its own.
async fn assert_on_record(world: &World, ended: &Value, operation: &Value, failed: &str) {
    let [begin] = &entries(world, "Rollback.begin").await[..] else {
        panic!("one beginning")
    };
    assert_eq!(begin["request"]["rollout"], ended["decision"]);
    assert_eq!(begin["request"]["run"], json!(failed));
    let [step] = &entries(world, "Rollout.rollback").await[..] else {
        panic!("one step")
    };
    assert_eq!(
        (&step["door"], &step["caller"]["display"], &step["word"]),
        (&json!("controller"), &json!("syncgate"), &json!("permit"))
    );
    assert_eq!(operation["info"][0]["value"], step["decision"]);
    assert_eq!(step["determining"], json!(["rollback-by-itself"]));
    let principal = &step["evaluation"][0]["request"]["principal"];
    assert_eq!(*principal, "Syncgate::Controller::\"syncgate\"");
    let [end] = &entries(world, "Rollback.end").await[..] else {
        panic!("one end")
    };
    assert_eq!(end["request"]["state"], "verified");
    let shown = get(world, &format!("/syncgate/v1/runs/{failed}")).await;
    assert_eq!(
        (&shown["rollback"]["rollout"], &shown["rollback"]["state"]),
        (&ended["decision"], &json!("verified"))
    );
    // Each of the two commits has its part of the story.
    for (commit, operations) in [
        (
            SECOND,
            ["ApplicationService.Sync", "Rollback.begin", "Operation.End"],
        ),
        (
            FIRST,
            ["Rollout.rollback", "Rollback.begin", "Operation.End"],
        ),
    ] {
        let path = format!("/syncgate/v1/log?commit={commit}");
        let log = world
            .gate
            .rest("GET", &path, &world.outside.sam(), "")
            .await
            .json();
        let entries = log["entries"].as_array().unwrap();
        for operation in operations {
            let told = |entry: &Value| entry["opening"]["operation"] == operation;
            assert!(entries.iter().any(told), "{commit} {operation}: {log}");
        }
    }
}

#[tokio::test]
async fn a_failure_from_outside_takes_back_what_runs_and_nothing_else() {
    let world = world(ROLLBACK).await;
    pass(&world).await;
    world.outside.argocd.push(SECOND);
    begin_staging(&world).await;
    world.report("passed").await;
    world.outside.argocd.finish("checkout-staging", "Succeeded");
    settled(&world, "checkout-staging", "succeeded").await;
    world
        .outside
        .argocd
        .change("checkout-staging", |application| {
            application["status"]["sync"]["revision"] = json!(SECOND);
            application["status"]["reconciledAt"] = json!(Clock::system().now().to_string());
        });
    world.report("failed").await;
    let (revision, _) = written(&world, "checkout-staging", 0).await;
    assert_eq!(revision, FIRST);
    let rollout = newest(&world, "checkout-staging").await;
    assert_eq!(rollout["rollback"]["because"]["suite"], "integration");
}

#[tokio::test]
async fn where_nothing_has_passed_before_it_is_stuck_at_once_and_nothing_is_written() {
    let world = world(ROLLBACK).await;
    begin_staging(&world).await;
    world.report("failed").await;
    world.outside.argocd.fail("checkout-staging");
    let rollout = rolled_back(&world, "checkout-staging", "stuck").await;
    assert_eq!(
        rollout["rollback"]["why"],
        "nothing that it ran before has passed its tests"
    );
    assert!(world.outside.argocd.written().is_empty());
    let decision = rollout["decision"].as_str().unwrap();
    let said = post(
        &world,
        &world.outside.alice(),
        &format!("{PAGE}/{decision}/resume"),
        Value::Null,
    )
    .await;
    assert_eq!(said.status, 409, "{said:?}");
}

#[tokio::test]
async fn without_access_it_is_only_proposed() {
    let world = World::new().await;
    pass(&world).await;
    fail(&world).await;
    let rollout = rolled_back(&world, "checkout-staging", "proposed").await;
    let why = rollout["rollback"]["why"].as_str().unwrap();
    assert!(why.contains("configure [rollback]"), "{why}");
    assert_eq!(rollout["rollback"]["steps"][0]["commits"], json!([FIRST]));
}

#[tokio::test]
async fn where_the_policies_say_so_a_person_starts_it_who_may() {
    let outside = Outside::start().await;
    outside.write_kubeconfig();
    let policy = std::fs::read_to_string(outside.path().join("policies/rollout.cedar")).unwrap();
    let edited = policy.replace(
        "  resource is Syncgate::Application\n);\n\n// What was taken back",
        "  resource is Syncgate::Application\n)\n\
         unless { resource.environment == Syncgate::Environment::\"staging\" };\n\n// What was taken back",
    );
    assert_ne!(policy, edited);
    outside.write_policy("rollout.cedar", &edited);
    let world = World::with_sections(outside, ROLLBACK).await;
    pass(&world).await;
    fail(&world).await;
    let rollout = rolled_back(&world, "checkout-staging", "proposed").await;
    let why = rollout["rollback"]["why"].as_str().unwrap();
    assert!(
        why.starts_with("rollback of checkout-staging in staging refused for syncgate"),
        "{why}"
    );
    assert!(world.outside.argocd.written().is_empty());
    let path = format!("{PAGE}/{}/rollback", rollout["decision"].as_str().unwrap());
    let partner = world.outside.issuer.person("pia", &["partners"]);
    for token in [world.outside.nobody(), partner] {
        let said = post(&world, &token, &path, json!({})).await;
        assert_eq!(said.status, 404, "{said:?}");
    }
    let said = post(&world, &world.outside.sam(), &path, json!({})).await;
    assert_eq!(said.status, 403, "{said:?}");
    let said = post(&world, &world.outside.alice(), &path, json!({})).await;
    assert_eq!(said.status, 202, "{said:?}");
    let (revision, operation) = written(&world, "checkout-staging", 0).await;
    assert_eq!(revision, FIRST);
    assert_eq!(operation["initiatedBy"]["username"], "alice@shop.example");
    world.report("passed").await;
    world.outside.argocd.finish("checkout-staging", "Succeeded");
    let ended = rolled_back(&world, "checkout-staging", "verified").await;
    assert_eq!(ended["rollback"]["by"], "alice@shop.example");
}

#[tokio::test]
async fn automated_sync_does_not_bring_it_back_but_a_person_may() {
    let world = World::with_admission(KNOWN).await;
    pass(&world).await;
    fail(&world).await;
    let (_, operation) = written(&world, "checkout-staging", 0).await;
    // The gate's own write is known by what it is and whose it is.
    let mut before = world.outside.argocd.application("checkout-staging");
    before["operation"] = Value::Null;
    let mut after = before.clone();
    after["operation"] = operation.clone();
    let asked = ask(world.door(), Review::of(GATE, &before, &after)).await;
    assert_eq!(asked["allowed"], true, "{asked}");
    let asked = ask(world.door(), Review::of("kubernetes-user", &before, &after)).await;
    assert_eq!(asked["allowed"], false, "{asked}");
    after["operation"]["sync"]["revision"] = json!(SECOND);
    let asked = ask(world.door(), Review::of(GATE, &before, &after)).await;
    assert_eq!(asked["allowed"], false, "{asked}");

    world.report("passed").await;
    world.outside.argocd.finish("checkout-staging", "Succeeded");
    let rollout = rolled_back(&world, "checkout-staging", "verified").await;
    let forward = || {
        let (before, after) = auto_sync(&world, "checkout-staging", SECOND);
        ask(world.door(), Review::of(CONTROLLER, &before, &after))
    };
    let denied = forward().await;
    assert_eq!(denied["allowed"], false, "{denied}");
    let message = denied["status"]["message"].as_str().unwrap();
    assert!(
        message.contains("it was rolled back since its tests failed"),
        "{message}"
    );
    // Another commit may.
    let (before, after) = auto_sync(&world, "checkout-staging", THIRD);
    let asked = ask(world.door(), Review::of(CONTROLLER, &before, &after)).await;
    assert_eq!(asked["allowed"], true, "{asked}");
    // Or the same, once the rollback is abandoned; not by who may not deploy there.
    let path = format!("{PAGE}/{}/abandon", rollout["decision"].as_str().unwrap());
    let said = post(&world, &world.outside.sam(), &path, Value::Null).await;
    assert_eq!(said.status, 403, "{said:?}");
    let said = post(&world, &world.outside.alice(), &path, Value::Null).await;
    assert_eq!(said.json()["rollback"]["state"], "abandoned", "{said:?}");
    let asked = forward().await;
    assert_eq!(asked["allowed"], true, "{asked}");
}

#[tokio::test]
async fn a_person_who_syncs_it_again_goes_ahead_of_the_rollback() {
    let world = world(ROLLBACK).await;
    pass(&world).await;
    fail(&world).await;
    written(&world, "checkout-staging", 0).await;
    world.outside.argocd.push(THIRD);
    begin_staging(&world).await;
    let list = get(
        &world,
        &format!("{PAGE}?application=checkout-staging&limit=2"),
    )
    .await;
    let decision = list["rollouts"][1]["decision"].as_str().unwrap().to_owned();
    let ended = eventually("its end", || async {
        let shown = get(&world, &format!("{PAGE}/{decision}")).await;
        (shown["rollback"]["state"] == "superseded").then_some(shown)
    })
    .await;
    let step = &ended["rollback"]["steps"][0];
    assert_eq!(step["state"], "overtaken");
    assert!(
        step["note"]
            .as_str()
            .unwrap()
            .starts_with("alice@shop.example has synced it")
    );
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.outside.argocd.written().len(), 1);
}

#[tokio::test]
async fn what_is_abandoned_writes_nothing_more() {
    let world = world(ROLLBACK).await;
    set(&world).await;
    let rollout = set_fails(&world).await;
    eventually("the first step", || async {
        (!order(&world).is_empty()).then_some(())
    })
    .await;
    let path = format!("{PAGE}/{rollout}/abandon");
    let said = post(&world, &world.outside.alice(), &path, Value::Null).await;
    assert_eq!(said.status, 200, "{said:?}");
    end(&world, "m5-staging", well).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(order(&world).len(), 1);
    let shown = get(&world, &format!("{PAGE}/{rollout}")).await;
    assert_eq!(shown["rollback"]["state"], "abandoned");
    assert_eq!(*state_of(&shown, "m4-staging"), "waiting");
}

// A set of five

fn manifest(name: &str, wave: i64, environment: &str) -> Value {
    let component = name.split_once('-').unwrap().0;
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {
            "name": name, "namespace": "argocd",
            "annotations": {"argocd.argoproj.io/sync-wave": wave.to_string()},
        },
        "spec": {
            "project": "shop",
            "source": {
                "repoURL": "https://git.shop.example/shop.git",
                "path": format!("components/{component}"), "targetRevision": "main",
            },
            "destination": {
                "server": "https://kubernetes.default.svc", "namespace": format!("shop-{environment}"),
            },
        },
    })
}

fn live(mut manifest: Value) -> Value {
    let name = manifest["metadata"]["name"].as_str().unwrap().to_owned();
    manifest["metadata"]["uid"] = json!(syncgate::digest::sha256_hex(name.as_bytes()));
    manifest["metadata"]["resourceVersion"] = json!("1");
    manifest["status"] = json!({
        "sync": {
            "status": "OutOfSync", "revision": FIRST,
            "comparedTo": {"source": manifest["spec"]["source"]},
        },
        "controllerNamespace": "argocd",
    });
    manifest
}

/// Five applications and their parent, which have passed at the first commit.
async fn set(world: &World) {
    let mut manifests = Vec::new();
    for (name, wave) in SET {
        let manifest = manifest(name, wave, "staging");
        world.outside.argocd.put(live(manifest.clone()), Vec::new());
        let source = &manifest["spec"]["source"];
        for commit in [FIRST, THIRD] {
            passed(
                &world.app.store,
                name.split_once('-').unwrap().0,
                commit,
                source,
            )
            .await;
        }
        manifests.push(manifest);
    }
    let root = live(manifest("root-staging", 0, "staging"));
    world.outside.argocd.put(root, manifests);
    roll_out(world, SET.len()).await;
}

/// Rolls out the parent, and then the first `ending_well` children; the others begin.
async fn roll_out(world: &World, ending_well: usize) -> String {
    let alice = world.outside.alice();
    let opened = post(world, &alice, PAGE, json!({"application": "root-staging"})).await;
    assert_eq!(opened.status, 201, "{opened:?}");
    let opened = opened.json();
    let members = opened["members"].as_array().unwrap().iter();
    let names: Vec<&str> = members
        .map(|member| member["application"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, SET.map(|(name, _)| name));
    let rollout = opened["decision"].as_str().unwrap().to_owned();
    let belongs = json!({"infos": [{"name": "rollout", "value": rollout}]});
    for name in ["root-staging"].into_iter().chain(names) {
        let path = format!("/api/v1/applications/{name}/sync");
        let said = post(world, &alice, &path, belongs.clone()).await;
        assert_eq!(said.status, 200, "{name}: {said:?}");
    }
    world.outside.argocd.finish("root-staging", "Succeeded");
    for (name, _) in SET.into_iter().take(ending_well) {
        world.outside.argocd.finish(name, "Succeeded");
        settled(world, name, "succeeded").await;
    }
    rollout
}

/// The second commit is rolled out, and the tests of the last fail.
async fn set_fails(world: &World) -> String {
    world.outside.argocd.push(SECOND);
    world.outside.argocd.forget();
    let rollout = roll_out(world, SET.len() - 1).await;
    world.outside.argocd.fail(SET[SET.len() - 1].0);
    rollout
}

/// Ends the operation that the gate has just written for `name`.
async fn end(world: &World, name: &str, how: impl FnOnce(&World, &str)) {
    eventually("its begin", || async {
        let application = world.outside.argocd.application(name);
        let state = &application["status"]["operationState"];
        let own = state["operation"]["info"][1]["name"] == "syncgate-rollback";
        (own && state["phase"] == "Running").then_some(())
    })
    .await;
    how(world, name);
}

fn well(world: &World, name: &str) {
    world.outside.argocd.finish(name, "Succeeded");
}

fn badly(world: &World, name: &str) {
    world.outside.argocd.fail(name);
}

fn order(world: &World) -> Vec<(String, String)> {
    let written = world.outside.argocd.written().into_iter();
    written
        .map(|(name, revision, _)| (name, revision))
        .collect()
}

async fn shown(world: &World, rollout: &str, state: &str) -> Value {
    eventually(&format!("a rollback that is {state}"), || async {
        let shown = get(world, &format!("{PAGE}/{rollout}")).await;
        (shown["rollback"]["state"] == state).then_some(shown)
    })
    .await
}

fn state_of<'a>(rollout: &'a Value, name: &str) -> &'a Value {
    let steps = rollout["rollback"]["steps"].as_array().unwrap();
    let step = steps.iter().find(|it| it["application"]["name"] == name);
    &step.unwrap()["state"]
}

/// Ends each of the first `expected` operations that the gate writes as soon as it is there.
async fn end_well(world: &World, expected: usize) {
    for nth in 0..expected {
        let (name, _) = eventually(&format!("operation {nth}"), || async {
            order(world).get(nth).cloned()
        })
        .await;
        end(world, &name, well).await;
    }
}

#[tokio::test]
async fn a_set_goes_back_as_a_whole_in_reverse_wave_order() {
    let world = world(ROLLBACK).await;
    set(&world).await;
    let rollout = set_fails(&world).await;
    // One wave after the other, and never the next before the one before has passed.
    let waves: [&[&str]; 4] = [&["m5"], &["m4"], &["m2", "m3"], &["m1"]];
    let mut so_far = 0;
    for wave in waves {
        so_far += wave.len();
        eventually("the wave", || async {
            (order(&world).len() >= so_far).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let written = order(&world);
        assert_eq!(written.len(), so_far, "{written:?}");
        for (name, revision) in &written[so_far - wave.len()..] {
            let component = name.split_once('-').unwrap().0;
            assert!(wave.contains(&component), "{written:?}");
            assert_eq!(revision, FIRST);
            end(&world, name, well).await;
        }
    }
    let ended = shown(&world, &rollout, "verified").await;
    for (name, _) in SET {
        assert_eq!(*state_of(&ended, name), "verified");
    }
    assert_eq!(
        ended["rollback"]["because"]["application"]["name"],
        "m5-staging"
    );
    assert_eq!(order(&world).len(), SET.len());
}

#[tokio::test]
async fn what_fails_on_the_way_back_is_tried_once_more_and_then_a_person_must_look() {
    let world = world(ROLLBACK).await;
    set(&world).await;
    let rollout = set_fails(&world).await;
    for nth in 0..5 {
        let (name, _) = eventually("the next operation", || async {
            order(&world).get(nth).cloned()
        })
        .await;
        if name == "m4-staging" {
            end(&world, &name, badly).await;
        } else {
            end(&world, &name, well).await;
        }
    }
    // All others are back before it is tried again.
    let (name, revision) =
        eventually("the second try", || async { order(&world).get(5).cloned() }).await;
    assert_eq!((name.as_str(), revision.as_str()), ("m4-staging", FIRST));
    end(&world, &name, badly).await;
    let stuck = shown(&world, &rollout, "stuck").await;
    assert_eq!(*state_of(&stuck, "m4-staging"), "failed");
    let why = stuck["rollback"]["why"].as_str().unwrap();
    assert_eq!(why, "m4-staging: its operation failed");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(order(&world).len(), 6);
    // Who may lets it try again.
    let path = format!("{PAGE}/{rollout}/resume");
    let said = post(&world, &world.outside.sam(), &path, Value::Null).await;
    assert_eq!(said.status, 403, "{said:?}");
    let said = post(&world, &world.outside.alice(), &path, Value::Null).await;
    assert_eq!(said.status, 202, "{said:?}");
    eventually("the third try", || async { order(&world).get(6).cloned() }).await;
    end(&world, "m4-staging", well).await;
    shown(&world, &rollout, "verified").await;
}

#[tokio::test]
async fn what_a_person_syncs_meanwhile_is_theirs_and_the_others_go_back() {
    let world = world(ROLLBACK).await;
    set(&world).await;
    let rollout = set_fails(&world).await;
    eventually("the first step", || async {
        (!order(&world).is_empty()).then_some(())
    })
    .await;
    world.outside.argocd.push(THIRD);
    let path = "/api/v1/applications/m2-staging/sync";
    let said = post(&world, &world.outside.alice(), path, json!({})).await;
    assert_eq!(said.status, 200, "{said:?}");
    end_well(&world, 4).await;
    let ended = shown(&world, &rollout, "superseded").await;
    assert_eq!(*state_of(&ended, "m2-staging"), "overtaken");
    assert!(order(&world).iter().all(|(name, _)| name != "m2-staging"));
    for name in ["m1-staging", "m3-staging", "m4-staging", "m5-staging"] {
        assert_eq!(*state_of(&ended, name), "verified");
    }
}

#[tokio::test]
async fn it_waits_for_operations_that_go_on_and_writes_nothing_over_changes() {
    let world = world(ROLLBACK).await;
    set(&world).await;
    // Somebody else's operation goes on, and ends after a while.
    let other = |phase: &'static str| {
        world.outside.argocd.change("m5-staging", move |application| {
            application["status"]["operationState"] = json!({
                "phase": phase, "startedAt": "2026-11-23T10:00:00Z",
                "operation": {"sync": {"revision": THIRD, "source": application["spec"]["source"]}},
            });
        });
    };
    let rollout = set_fails(&world).await;
    // The failure is seen before the other one begins.
    shown(&world, &rollout, "running").await;
    let was = order(&world).len();
    if was == 0 {
        other("Running");
        let waits = eventually("that it waits", || async {
            let shown = get(&world, &format!("{PAGE}/{rollout}")).await;
            let note = shown["rollback"]["steps"][0]["note"].as_str()?.to_owned();
            (note == "another operation goes on" || !order(&world).is_empty()).then_some(note)
        })
        .await;
        if waits == "another operation goes on" {
            assert!(order(&world).is_empty());
            other("Succeeded");
        }
    }
    // What is written lands on what was read, or not at all: it is read again then.
    world.outside.argocd.before_sync(|application| {
        application["metadata"]["resourceVersion"] = json!("2");
    });
    let ends = async {
        let mut ended = 0;
        while ended < SET.len() {
            let done = get(&world, &format!("{PAGE}/{rollout}")).await;
            ended = done["rollback"]["steps"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|step| step["state"] == "verified")
                .count();
            for (name, _) in SET {
                let state = world.outside.argocd.application(name);
                let state = &state["status"]["operationState"];
                let own = state["operation"]["initiatedBy"]["username"] == "syncgate";
                if own && state["phase"] == "Running" {
                    world.outside.argocd.finish(name, "Succeeded");
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(40), ends)
        .await
        .unwrap();
    shown(&world, &rollout, "verified").await;
}

#[tokio::test]
async fn what_does_not_come_back_in_time_is_stuck() {
    let ahead = Ahead::default();
    let outside = Outside::start().await;
    outside.write_kubeconfig();
    let world = World::at(ahead.clock(), outside, ROLLBACK).await;
    pass(&world).await;
    fail(&world).await;
    for tries in 1..=2 {
        eventually("that it is asked for", || async {
            let rollout = newest(&world, "checkout-staging").await;
            let step = &rollout["rollback"]["steps"][0];
            let goes_on = step["note"] == "its operation goes on";
            (goes_on && step["tries"] == tries).then_some(())
        })
        .await;
        // What hangs is ended before the second try.
        let written = world.outside.argocd.written();
        assert_eq!(written.len(), tries, "{written:?}");
        ahead.by(16 * 60 * i64::try_from(tries).unwrap());
    }
    let rollout = rolled_back(&world, "checkout-staging", "stuck").await;
    let why = rollout["rollback"]["why"].as_str().unwrap();
    assert!(
        why.ends_with("its operation goes on, for too long"),
        "{why}"
    );
}

#[tokio::test]
async fn only_ones_own_rollout_can_be_joined() {
    let world = world(ROLLBACK).await;
    set(&world).await;
    let rita = world.outside.rita();
    let opened = newest(&world, "m1-staging").await;
    for value in [
        opened["decision"].as_str().unwrap(),
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "x",
    ] {
        let body = json!({"infos": [{"name": "rollout", "value": value}]});
        let path = "/api/v1/applications/m1-staging/sync";
        let said = post(&world, &rita, path, body).await;
        assert_eq!(said.status, 400, "{said:?}");
        assert!(
            said.sentence().contains("names no rollout of yours"),
            "{}",
            said.sentence()
        );
    }
    let said = post(&world, &rita, PAGE, json!({"application": "checkout-prod"})).await;
    assert!([400, 403].contains(&said.status), "{said:?}");
}
