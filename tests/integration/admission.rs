//! What the API server of the cluster asks: the same policies decide, by the same tests.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use syncgate::names::DecisionId;
use syncgate::record::{self, Word};
use syncgate::store::DecisionFilter;

use crate::world::{Call, FIRST, Gate, SECOND, Said, Wire, World, eventually};

pub(crate) const CONTROLLER: &str = "system:serviceaccount:argocd:argocd-application-controller";
pub(crate) const SERVER: &str = "system:serviceaccount:argocd:argocd-server";
/// By kubectl.
const ADMIN: (&str, &[&str]) = ("kubernetes-admin", &["system:masters"]);

/// A question of the API server.
pub(crate) struct Review(Value);

impl Review {
    /// Of a write of an Application.
    pub(crate) fn of(user: &str, before: &Value, after: &Value) -> Self {
        let verb = if before.is_null() { "CREATE" } else { "UPDATE" };
        Self(json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "review-1", "operation": verb, "namespace": "argocd",
                "resource": {
                    "group": "argoproj.io", "version": "v1alpha1", "resource": "applications",
                },
                "userInfo": {"username": user, "groups": ["system:authenticated"]},
                "object": after, "oldObject": before, "dryRun": false,
                "options": {"apiVersion": "meta.k8s.io/v1", "kind": "PatchOptions"},
            },
        }))
    }

    fn set(mut self, field: &str, value: Value) -> Self {
        self.0["request"][field] = value;
        self
    }

    fn by((user, groups): (&str, &[&str]), before: &Value, after: &Value) -> Self {
        let info = json!({"username": user, "groups": groups});
        Self::of(user, before, after).set("userInfo", info)
    }
}

async fn send(door: &Gate, method: &str, path: &str, body: &str) -> Said {
    let body = Bytes::from(body.to_owned());
    door.send(Wire::Rest, method, path, &[], body).await
}

/// The `response` of the answer.
pub(crate) async fn ask(door: &Gate, review: Review) -> Value {
    let said = send(door, "POST", "/validate?timeout=30s", &review.0.to_string()).await;
    assert_eq!(said.status, 200, "{said:?}");
    let answer = said.json();
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(answer["response"]["uid"], "review-1");
    answer["response"].clone()
}

fn message(response: &Value) -> &str {
    assert_eq!(response["allowed"], false, "{response}");
    assert_eq!(response["status"]["code"], 403);
    response["status"]["message"].as_str().unwrap()
}

fn assert_allowed(response: &Value) {
    assert_eq!(*response, json!({"uid": "review-1", "allowed": true}));
}

/// The application as it is, and with the operation by which the controller syncs it to `commit`.
pub(crate) fn auto_sync(world: &World, name: &str, commit: &str) -> (Value, Value) {
    let before = world.outside.argocd.application(name);
    let mut after = before.clone();
    after["operation"] = json!({
        "sync": {"revision": commit, "source": before["spec"]["source"]},
        "initiatedBy": {"automated": true}, "retry": {"limit": 5},
    });
    (before, after)
}

async fn test_in_staging(world: &World) {
    let sync = Call::sync("checkout-staging");
    let alice = world.outside.alice();
    let said = world.gate.ask(Wire::Rest, &alice, &sync).await;
    assert_eq!(said.code(), 0, "{said:?}");
    world.report("passed").await;
    world.outside.argocd.finish("checkout-staging", "Succeeded");
}

/// Every decision on record, newest first.
async fn log(world: &World) -> Vec<record::LogEntry> {
    let filter = DecisionFilter {
        limit: 100,
        ..DecisionFilter::default()
    };
    record::list(&world.app.store, filter)
        .await
        .unwrap()
        .entries
}

/// The decision that a sentence names.
fn decision_in(message: &str) -> DecisionId {
    let (_, rest) = message.split_once(". decision ").unwrap();
    let (id, _) = rest.split_once(" - see https://gate.example/").unwrap();
    serde_json::from_value(json!(id)).unwrap()
}

#[tokio::test]
async fn automatic_sync_waits_for_its_tests_and_goes_on_by_itself() {
    let world = World::with_admission("").await;
    let (before, after) = auto_sync(&world, "checkout-prod", FIRST);
    let review = || Review::of(CONTROLLER, &before, &after);
    let denied = ask(world.door(), review()).await;
    let said = message(&denied);
    assert!(
        said.contains("checkout@3f2c1a9 has no passing 'integration' run in staging"),
        "{said}"
    );
    let record = world.record(decision_in(said)).await;
    assert_eq!(record.opening.word, Word::Deny);
    let opening = serde_json::to_value(&record.opening).unwrap();
    assert_eq!(
        (&opening["door"], &opening["wire"]),
        (&json!("admission"), &json!("admission"))
    );
    assert_eq!(opening["operation"], "ApplicationService.Sync");
    assert_eq!(opening["caller"]["display"], CONTROLLER);

    world.outside.argocd.forget();
    test_in_staging(&world).await;
    eventually("the refresh by which Argo CD tries again", || async {
        let asked = world.outside.argocd.own_questions();
        let refreshed =
            |it: &String| it.contains("/checkout-prod?") && it.contains("refresh=normal");
        asked.iter().any(refreshed).then_some(())
    })
    .await;
    assert_allowed(&ask(world.door(), review()).await);
    assert_eq!(log(&world).await[0].opening.word, Word::Permit);
    // Another commit has not passed.
    let (before, after) = auto_sync(&world, "checkout-prod", SECOND);
    let denied = ask(world.door(), Review::of(CONTROLLER, &before, &after)).await;
    assert!(message(&denied).contains("checkout@9ab12cd"), "{denied}");
}

#[tokio::test]
async fn what_automatic_sync_rolled_out_may_come_back() {
    let world = World::with_admission("").await;
    test_in_staging(&world).await;
    let (before, after) = auto_sync(&world, "checkout-prod", FIRST);
    eventually("a permission", || async {
        let response = ask(world.door(), Review::of(CONTROLLER, &before, &after)).await;
        (response["allowed"] == true).then_some(())
    })
    .await;
    let operation = after["operation"].clone();
    world.outside.argocd.change("checkout-prod", move |application| {
        let started = syncgate::clock::Clock::system().now();
        application["status"]["operationState"] =
            json!({"phase": "Running", "startedAt": started.to_string(), "operation": operation});
    });
    world.outside.argocd.finish("checkout-prod", "Succeeded");
    let prod = "prod".parse().unwrap();
    let component = "checkout".parse().unwrap();
    eventually("the deployment succeeded", || async {
        let rows = world.app.store.deployments(&prod, &component, 1).await;
        let state = serde_json::to_value(rows.unwrap().first()?.state).unwrap();
        (state == "succeeded").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_the_gate_has_let_through_is_not_decided_again() {
    let world = World::with_admission("").await;
    test_in_staging(&world).await;
    let before = world.outside.argocd.application("checkout-prod");
    let sync = Call::sync("checkout-prod");
    let said = world
        .gate
        .ask(Wire::Grpc, &world.outside.rita(), &sync)
        .await;
    assert_eq!(said.code(), 0, "{said:?}");
    let mut after = before.clone();
    let state = &world.outside.argocd.application("checkout-prod")["status"]["operationState"];
    after["operation"] = state["operation"].clone();
    after["operation"]["sync"]["syncStrategy"] = json!({"hook": {}});
    after["operation"]["initiatedBy"] = json!({"username": "syncgate"});
    // Argo CD repeats a write that met another.
    for _ in 0..2 {
        assert_allowed(&ask(world.door(), Review::of(SERVER, &before, &after)).await);
        let newest = &log(&world).await[0].opening;
        assert_eq!(newest.word, Word::Answer);
        assert_eq!(
            newest.request["intended_by"],
            json!(said.decision().to_string())
        );
    }
    // Something else than what was let through, and the same by somebody else, are decided.
    let mut other = after.clone();
    other["operation"]["sync"]["revision"] = json!(SECOND);
    message(&ask(world.door(), Review::of(SERVER, &before, &other)).await);
    message(&ask(world.door(), Review::of("nils", &before, &after)).await);
}

#[tokio::test]
async fn a_status_is_written_by_argo_cd_alone() {
    let world = World::with_admission("").await;
    let before = world.outside.argocd.application("checkout-prod");
    let mut after = before.clone();
    after["status"]["history"] = json!([{"id": 1, "revision": SECOND}]);
    for review in [
        Review::by(ADMIN, &before, &after),
        Review::by(ADMIN, &Value::Null, &after),
        Review::of(CONTROLLER, &Value::Null, &after),
        Review::of("system:serviceaccount:other:argocd-server", &before, &after),
    ] {
        let denied = ask(world.door(), review).await;
        let said = message(&denied);
        assert!(said.contains("status is set by Argo CD alone"), "{said}");
        assert_eq!(
            world.record(decision_in(said)).await.opening.word,
            Word::Refuse
        );
    }
    let entries = log(&world).await.len();
    assert_allowed(&ask(world.door(), Review::of(CONTROLLER, &before, &after)).await);
    assert_eq!(
        log(&world).await.len(),
        entries,
        "ordinary status is not recorded"
    );
}

#[tokio::test]
async fn nothing_of_a_dry_run_is_kept() {
    let world = World::with_admission("").await;
    let (before, after) = auto_sync(&world, "checkout-prod", FIRST);
    let review = || Review::of(CONTROLLER, &before, &after).set("dryRun", json!(true));
    let denied = ask(world.door(), review()).await;
    let said = message(&denied);
    assert!(said.contains("has no passing 'integration' run"), "{said}");
    assert!(said.ends_with("a dry run, not recorded"), "{said}");
    let (before, after) = auto_sync(&world, "checkout-staging", FIRST);
    let review = Review::of(CONTROLLER, &before, &after).set("dryRun", json!(true));
    assert_allowed(&ask(world.door(), review).await);
    assert!(log(&world).await.is_empty());
    let pending = world.app.store.pending_deployments().await.unwrap();
    assert!(pending.is_empty(), "{pending:?}");
}

#[tokio::test]
async fn an_environment_that_observes_warns_and_lets_through() {
    let world = World::with_admission("").await;
    let (before, after) = auto_sync(&world, "checkout-observed", FIRST);
    let answer = ask(world.door(), Review::of(CONTROLLER, &before, &after)).await;
    assert_eq!(answer["allowed"], true, "{answer}");
    let warning = answer["warnings"][0].as_str().unwrap();
    assert!(
        warning.starts_with("would be refused: ") && warning.contains("has no passing"),
        "{warning}"
    );
    assert_eq!(log(&world).await[0].opening.word, Word::ObserveDeny);
}

#[tokio::test]
async fn what_cannot_be_found_out_is_denied() {
    let world = World::with_admission_alone().await;
    let (before, after) = auto_sync(&world, "checkout-prod", FIRST);
    let denied = ask(world.door(), Review::of(CONTROLLER, &before, &after)).await;
    let said = message(&denied);
    assert!(said.contains("Argo CD cannot be reached"), "{said}");
    // The store is gone.
    world.app.store.close().await;
    let denied = ask(world.door(), Review::of(SERVER, &before, &after)).await;
    assert!(message(&denied).contains("the gate failed"), "{denied}");
}

#[tokio::test]
async fn a_plan_that_is_not_ready_in_time_goes_on_and_serves_the_next_who_asks() {
    let world = World::with_admission("").await;
    let (before, after) = auto_sync(&world, "checkout-prod", FIRST);
    let body = Review::of(CONTROLLER, &before, &after).0.to_string();
    let briefly = async || {
        let said = send(world.door(), "POST", "/validate?timeout=1s", &body).await;
        message(&said.json()["response"]).to_owned()
    };
    let argocd = &world.outside.argocd;
    argocd.answer_own_after(Duration::from_millis(1500));
    let (one, other) = tokio::join!(briefly(), briefly());
    for said in [one, other] {
        assert!(said.starts_with("planning: "), "{said}");
    }
    let manifests = || {
        let asked = argocd.own_questions();
        asked.iter().filter(|it| it.contains("/manifests")).count()
    };
    assert_eq!(manifests(), 1, "the same work is done once");
    eventually("the refresh by which Argo CD tries again", || async {
        let refreshed = |it: &String| it.contains("refresh=normal");
        argocd.own_questions().iter().any(refreshed).then_some(())
    })
    .await;
    // What is known is told at once, and once: what the evidence says may change.
    let said = briefly().await;
    assert!(said.contains("has no passing 'integration' run"), "{said}");
    assert_eq!(manifests(), 1);
    let said = briefly().await;
    assert!(said.starts_with("planning: "), "{said}");
}

#[tokio::test]
async fn users_of_the_cluster_may_what_their_roles_may() {
    let world = World::with_admission("").await;
    let before = world.outside.argocd.application("checkout-staging");
    let mut moved = before.clone();
    moved["spec"]["source"]["targetRevision"] = json!("release");
    let denied = ask(world.door(), Review::of("nils", &before, &moved)).await;
    let said = message(&denied);
    assert!(
        said.contains("update of checkout-staging in staging refused for nils"),
        "{said}"
    );
    assert_allowed(&ask(world.door(), Review::by(ADMIN, &before, &moved)).await);
    let developer: (&str, &[&str]) = ("dora", &["shop-developers"]);
    assert_allowed(&ask(world.door(), Review::by(developer, &before, &moved)).await);
    let before = world.outside.argocd.application("checkout-prod");
    let mut moved = before.clone();
    moved["spec"]["source"]["targetRevision"] = json!("release");
    message(&ask(world.door(), Review::by(developer, &before, &moved)).await);
    let nobody = Review::of("system:serviceaccount:argocd", &before, &moved);
    let denied = ask(world.door(), nobody).await;
    assert!(
        message(&denied).contains("is not the name of a user"),
        "{denied}"
    );
    // To take an operation back is a change, too.
    let mut pending = before.clone();
    pending["operation"] = json!({"sync": {"revision": FIRST}});
    message(&ask(world.door(), Review::of("nils", &pending, &before)).await);
    assert_allowed(&ask(world.door(), Review::of(CONTROLLER, &pending, &before)).await);
    // What says nothing about what runs is everybody's.
    let mut annotated = before.clone();
    annotated["metadata"]["annotations"] = json!({"argocd.argoproj.io/refresh": "normal"});
    assert_allowed(&ask(world.door(), Review::of("nils", &before, &annotated)).await);
}

#[tokio::test]
async fn projects_and_sets_are_written_by_who_may_change_argo_cd() {
    let world = World::with_admission("").await;
    for resource in ["appprojects", "applicationsets"] {
        let object = |description: &str| {
            json!({
                "metadata": {"name": "shop", "namespace": "argocd"},
                "spec": {"description": description},
            })
        };
        let (before, after) = (object("a"), object("b"));
        let kind = json!({"group": "argoproj.io", "version": "v1alpha1", "resource": resource});
        let review = |user: (&str, &[&str]), before: &Value, after: &Value| {
            Review::by(user, before, after).set("resource", kind.clone())
        };
        assert_allowed(&ask(world.door(), review(ADMIN, &before, &after)).await);
        assert_allowed(&ask(world.door(), review(ADMIN, &Value::Null, &after)).await);
        assert_allowed(&ask(world.door(), review((CONTROLLER, &[]), &before, &after)).await);
        let developer: (&str, &[&str]) = ("dora", &["shop-developers"]);
        message(&ask(world.door(), review(developer, &before, &after)).await);
        assert_allowed(&ask(world.door(), review(developer, &before, &before)).await);
    }
    assert_eq!(log(&world).await[0].opening.effect, "administer");
}

#[tokio::test]
async fn only_reviews_are_answered() {
    let world = World::with_admission("").await;
    for (method, path, body, status) in [
        ("GET", "/validate", "", 405),
        ("POST", "/", "{}", 404),
        ("POST", "/validate", "{}", 400),
        ("POST", "/validate", "{\"kind\":\"a\",\"kind\":\"b\"}", 400),
    ] {
        let said = send(world.door(), method, path, body).await;
        assert_eq!(said.status, status, "{method} {path}");
    }
    let public = world
        .gate
        .rest("POST", "/validate", &world.outside.alice(), "{}")
        .await;
    assert_ne!(public.status, 200, "the door is not on the public listener");
}

#[tokio::test]
async fn an_api_server_must_show_its_certificate_where_that_is_configured() {
    let world = World::with_admission("client_ca = \"cert.pem\"").await;
    let door = world.door.as_ref().unwrap();
    let sent = door
        .try_begin(Wire::Rest, "POST", "/validate", &[], Bytes::new())
        .await;
    assert!(sent.is_err());
}
