//! Ways to deploy that are no sync: what needs evidence is refused without it and goes through with it;
//! the rest is a matter of who may.

use serde_json::{Value, json};
use syncgate::record::Word;

use crate::world::{FIRST, SECOND, Said, Wire, World, passed};

/// `checkout-prod`'s source, whose evidence is what staging passed.
fn source(world: &World) -> Value {
    world.outside.argocd.application("checkout-prod")["spec"]["source"].clone()
}

async fn evidence(world: &World, commit: &str) {
    passed(&world.app.store, "checkout", commit, &source(world)).await;
}

async fn ask(world: &World, method: &str, path: &str, body: &Value) -> Said {
    let rita = world.outside.rita();
    world
        .gate
        .rest(method, path, &rita, &body.to_string())
        .await
}

fn refused_for_evidence(said: &Said, because: &str) {
    assert_eq!((said.status, said.code()), (400, 9), "{said:?}");
    assert!(said.sentence().contains(because), "{}", said.sentence());
}

fn history(world: &World, entries: Value) {
    world.outside.argocd.change("checkout-prod", |application| {
        application["status"]["history"] = entries;
    });
}

#[tokio::test]
async fn a_rollback_needs_evidence_for_what_its_entry_holds() {
    let world = World::new().await;
    let path = "/api/v1/applications/checkout-prod/rollback";
    let own = source(&world);
    let mut other = own.clone();
    other["kustomize"] = json!({"images": ["shop:evil"]});
    history(
        &world,
        json!([
            {"id": 1, "revision": FIRST, "source": own},
            {"id": 2, "revision": FIRST, "source": other},
        ]),
    );
    let body = json!({"id": 1});
    refused_for_evidence(
        &ask(&world, "POST", path, &body).await,
        "checkout@3f2c1a9 has no passing",
    );
    // A dry run changes nothing.
    let dry = json!({"id": 1, "dryRun": true});
    assert_eq!(ask(&world, "POST", path, &dry).await.code(), 0);
    evidence(&world, FIRST).await;
    let said = ask(&world, "POST", path, &body).await;
    assert_eq!(said.code(), 0, "{said:?}");
    // With other parameters it is something else.
    let said = ask(&world, "POST", path, &json!({"id": 2})).await;
    refused_for_evidence(&said, "argo cd cannot show yet what these sources hold");
    let said = ask(&world, "POST", path, &json!({"id": 7})).await;
    assert_eq!(said.code(), 3, "{said:?}");
    assert!(
        said.sentence().contains("no entry 7"),
        "{}",
        said.sentence()
    );
}

/// `spec` of `checkout-prod` with another target revision and sync policy.
fn spec(world: &World, target: &str, policy: Value) -> Value {
    let mut spec = world.outside.argocd.application("checkout-prod")["spec"].clone();
    spec["source"]["targetRevision"] = json!(target);
    spec["syncPolicy"] = policy;
    spec
}

#[tokio::test]
async fn a_source_may_change_while_nothing_takes_it_up() {
    let world = World::new().await;
    let path = "/api/v1/applications/checkout-prod/spec";
    let said = ask(&world, "PUT", path, &spec(&world, SECOND, json!({}))).await;
    assert_eq!(said.code(), 0, "{said:?}");
    let record = world.record(said.decision()).await;
    assert_eq!(record.opening.word, Word::Permit);
    // Who may not deploy there may not change it either.
    let body = spec(&world, SECOND, json!({})).to_string();
    let alice = world.outside.alice();
    assert_eq!(world.gate.rest("PUT", path, &alice, &body).await.code(), 7);
}

#[tokio::test]
async fn arming_automated_sync_needs_evidence_for_what_it_would_take_up() {
    let world = World::new().await;
    let path = "/api/v1/applications/checkout-prod/spec";
    let moving = spec(&world, "main", json!({"automated": {}}));
    refused_for_evidence(
        &ask(&world, "PUT", path, &moving).await,
        "it needs the admission door",
    );
    let pinned = spec(&world, FIRST, json!({"automated": {}}));
    refused_for_evidence(
        &ask(&world, "PUT", path, &pinned).await,
        "checkout@3f2c1a9 has no passing",
    );
    evidence(&world, FIRST).await;
    let said = ask(&world, "PUT", path, &pinned).await;
    assert_eq!(said.code(), 0, "{said:?}");
    let record = world.record(said.decision()).await;
    assert_eq!(
        record.opening.planned[0].changes,
        ["arm", "source-armed", "sync-policy"]
    );
    // Retries that take newer commits would go past it.
    let retry = json!({"automated": {}, "retry": {"limit": 1, "refresh": true}});
    let said = ask(&world, "PUT", path, &spec(&world, FIRST, retry)).await;
    refused_for_evidence(&said, "`retry.refresh`");
}

#[tokio::test]
async fn a_patch_is_what_it_makes_of_the_application() {
    let world = World::new().await;
    let path = "/api/v1/applications/checkout-prod";
    let merge = |patch: &Value| json!({"name": "checkout-prod", "patchType": "merge", "patch": patch.to_string()});
    let arms = merge(&json!({"spec": {
        "source": {"targetRevision": SECOND}, "syncPolicy": {"automated": {}},
    }}));
    refused_for_evidence(
        &ask(&world, "PATCH", path, &arms).await,
        "checkout@9ab12cd has no passing",
    );
    evidence(&world, SECOND).await;
    let said = ask(&world, "PATCH", path, &arms).await;
    assert_eq!(said.code(), 0, "{said:?}");
    for forged in [
        json!({"status": {"history": []}}),
        json!({"operation": {"sync": {}}}),
    ] {
        let said = ask(&world, "PATCH", path, &merge(&forged)).await;
        assert_eq!(said.code(), 3, "{said:?}");
    }
    let moves = merge(&json!({"spec": {"destination": {"namespace": "shop-staging"}}}));
    assert_eq!(ask(&world, "PATCH", path, &moves).await.code(), 0);
}

const CHILD: &str = "resource?resourceName=checkout-prod&group=argoproj.io&version=v1alpha1&kind=Application\
                     &namespace=argocd";

#[tokio::test]
async fn an_application_changed_as_a_resource_is_changed_as_an_application() {
    let world = World::new().await;
    let base = "/api/v1/applications/cart-prod";
    let patch = format!("{base}/{CHILD}&patchType=application/merge-patch%2Bjson");
    let body = |patch: &Value| Value::String(patch.to_string());
    let starts = body(&json!({"operation": {"sync": {"revision": SECOND}}}));
    refused_for_evidence(
        &ask(&world, "POST", &patch, &starts).await,
        "checkout-prod: checkout@9ab12cd has no passing",
    );
    evidence(&world, SECOND).await;
    let said = ask(&world, "POST", &patch, &starts).await;
    assert_eq!(said.code(), 0, "{said:?}");
    let said = ask(
        &world,
        "POST",
        &patch,
        &body(&json!({"status": {"history": []}})),
    )
    .await;
    assert_eq!(said.code(), 3, "{said:?}");
    // Everything, at whatever its branch is then.
    let said = ask(
        &world,
        "POST",
        &patch,
        &body(&json!({"operation": {"sync": {}}})),
    )
    .await;
    assert_eq!(said.code(), 9, "{said:?}");
    let apply = format!("{base}/{CHILD}&patchType=application/apply-patch%2Byaml");
    assert_eq!(ask(&world, "POST", &apply, &starts).await.code(), 3);
    let delete = format!("{base}/{CHILD}");
    let alice = world.outside.alice();
    assert_eq!(
        world.gate.rest("DELETE", &delete, &alice, "").await.code(),
        7
    );
    let rita = world.outside.rita();
    assert_eq!(
        world.gate.rest("DELETE", &delete, &rita, "").await.code(),
        0
    );
}

#[tokio::test]
async fn nor_is_one_read_as_a_resource_by_who_may_not_read_it() {
    let world = World::new().await;
    let path = |name: &str| {
        format!(
            "/api/v1/applications/checkout-staging/resource?group=argoproj.io&kind=Application\
             &version=v1alpha1&namespace=argocd&resourceName={name}"
        )
    };
    let tests = world.outside.tests();
    // The job of checkout-staging reads checkout-staging, and nothing else.
    let own = world
        .gate
        .rest("GET", &path("checkout-staging"), &tests, "")
        .await;
    assert_eq!(own.status, 200, "{own:?}");
    let other = world
        .gate
        .rest("GET", &path("checkout-prod"), &tests, "")
        .await;
    assert_eq!(other.code(), 7, "{other:?}");
    assert_eq!(world.outside.argocd.forwarded().len(), 1);
}

#[tokio::test]
async fn the_switch_of_automated_sync_is_a_change_of_the_application() {
    let world = World::new().await;
    let path = "/api/v1/applications/cart-prod/resource/actions/v2";
    let toggle = |name: &str| {
        json!({"name": "cart-prod", "group": "argoproj.io", "kind": "Application", "version": "v1alpha1",
               "namespace": "argocd", "resourceName": name, "action": "toggle-auto-sync"})
    };
    let said = ask(&world, "POST", path, &toggle("checkout-prod")).await;
    refused_for_evidence(&said, "it needs the admission door");
    // Off is always possible.
    assert_eq!(
        ask(&world, "POST", path, &toggle("auto-prod")).await.code(),
        0
    );
}

#[tokio::test]
async fn an_action_that_carries_on_needs_the_evidence_of_what_was_rolled_out() {
    let world = World::new().await;
    let path = "/api/v1/applications/checkout-prod/resource/actions/v2";
    let action = |group: &str, kind: &str, action: &str| {
        json!({"name": "checkout-prod", "group": group, "kind": kind, "version": "v1",
               "namespace": "shop-prod", "resourceName": "web", "action": action})
    };
    let promote = action("argoproj.io", "Rollout", "promote-full");
    refused_for_evidence(
        &ask(&world, "POST", path, &promote).await,
        "nothing is known",
    );
    history(
        &world,
        json!([{"id": 1, "revision": FIRST, "source": source(&world)}]),
    );
    refused_for_evidence(
        &ask(&world, "POST", path, &promote).await,
        "checkout@3f2c1a9",
    );
    evidence(&world, FIRST).await;
    assert_eq!(ask(&world, "POST", path, &promote).await.code(), 0);
    assert_eq!(
        ask(
            &world,
            "POST",
            path,
            &action("apps", "Deployment", "restart")
        )
        .await
        .code(),
        0
    );
    let own = action("apps", "Deployment", "set-image");
    refused_for_evidence(
        &ask(&world, "POST", path, &own).await,
        "in no commit that was tested",
    );
}

#[tokio::test]
async fn an_application_set_is_what_it_makes() {
    let world = World::new().await;
    let path = "/api/v1/applicationsets";
    let mut made = world.outside.argocd.application("checkout-prod");
    made["spec"] = spec(&world, SECOND, json!({"automated": {}}));
    world.outside.argocd.generates(vec![made]);
    let set = json!({
        "metadata": {"name": "all"},
        "spec": {
            "generators": [{"list": {"elements": []}}],
            "template": {"metadata": {"name": "x"}, "spec": {"project": "shop"}},
        },
    });
    let body = set.to_string();
    let rita = world.outside.rita();
    assert_eq!(world.gate.rest("POST", path, &rita, &body).await.code(), 7);
    let admin = world.outside.issuer.person("paul", &["platform"]);
    let said = world.gate.rest("POST", path, &admin, &body).await;
    refused_for_evidence(&said, "checkout@9ab12cd has no passing");
    evidence(&world, SECOND).await;
    let said = world.gate.rest("POST", path, &admin, &body).await;
    assert_eq!(said.code(), 0, "{said:?}");
}

#[tokio::test]
async fn extensions_and_webhooks_are_for_callers_who_may() {
    let world = World::new().await;
    let admin = world.outside.issuer.person("paul", &["platform"]);
    let named = |token: &str| {
        [
            Wire::Rest.credential(token),
            ("argocd-application-name", "argocd:checkout-prod".to_owned()),
            ("argocd-project-name", "shop".to_owned()),
            ("argocd-username", "root".to_owned()),
        ]
    };
    let call = async |token: String| {
        let headers = named(&token);
        let path = "/extensions/metrics/graph";
        world
            .gate
            .send(Wire::Rest, "GET", path, &headers, "".into())
            .await
    };
    assert_eq!(call(world.outside.alice()).await.status, 403);
    assert!(world.outside.argocd.forwarded().is_empty());
    assert_eq!(call(world.outside.rita()).await.status, 200);
    let forwarded = world.outside.argocd.forwarded();
    let headers = &forwarded[0].headers;
    assert_eq!(headers["argocd-application-name"], "argocd:checkout-prod");
    assert!(!headers.contains_key("argocd-username"));
    assert!(
        headers["cookie"]
            .to_str()
            .unwrap()
            .starts_with("argocd.token=")
    );
    world.outside.argocd.forget();
    for (token, status) in [(world.outside.rita(), 403), (admin, 200)] {
        let said = world.gate.rest("POST", "/api/webhook", &token, "{}").await;
        assert_eq!(said.status, status, "{said:?}");
    }
    assert_eq!(world.outside.argocd.forwarded().len(), 1);
}
