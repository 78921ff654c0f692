//! Policies are edited while the gate runs.

use serde_json::Value;

use crate::world::{Call, Outside, Process, Wire, World, eventually};

/// Nobody may see the resources of prod any more.
const NARROW: &str = r#"
@id("prod-is-closed")
@advice("the tree of prod is closed today")
forbid (principal, action == Syncgate::Action::"ApplicationService.ResourceTree", resource is Syncgate::Application)
when { resource.environment == Syncgate::Environment::"prod" };
"#;

async fn policies(process: &Process) -> Value {
    let ready = process.admin.rest("GET", "/ready", "", "").await.json();
    let checks = ready["checks"].as_array().unwrap().iter();
    checks
        .clone()
        .find(|check| check["name"] == "policies")
        .unwrap()
        .clone()
}

#[tokio::test]
async fn a_bad_edit_leaves_the_old_policies_in_force_and_shows_on_ready() {
    let outside = Outside::start().await;
    let process = Process::serve(&outside).await;
    assert_eq!(policies(&process).await["state"], "ready");
    outside.write_policy("edit.cedar", "permit (principal, action, resource");
    let shown = eventually("a degraded state", || async {
        let shown = policies(&process).await;
        (shown["state"] == "degraded").then_some(shown)
    })
    .await;
    assert!(
        shown["detail"].as_str().unwrap().contains("edit.cedar"),
        "{shown}"
    );
    let call = Call::sync("checkout-prod");
    let said = process.gate.ask(Wire::Rest, &outside.alice(), &call).await;
    assert_eq!(said.code(), 7, "{said:?}");
    std::fs::remove_file(outside.path().join("policies/edit.cedar")).unwrap();
    eventually("a ready state", || async {
        (policies(&process).await["state"] == "ready").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_edit_that_breaks_a_case_is_not_taken() {
    let world = World::new().await;
    // It is valid, and lets nobody read what the cases say that engineers read.
    outside_forbids_all(&world);
    eventually("a refused edit", || async {
        world.app.policies.status().last_error.clone()
    })
    .await;
    let said = world
        .gate
        .ask(
            Wire::Rest,
            &world.outside.alice(),
            &Call::get("checkout-prod"),
        )
        .await;
    assert_eq!(said.code(), 0, "{said:?}");
}

fn outside_forbids_all(world: &World) {
    world.outside.write_policy(
        "all.cedar",
        "@id(\"all\") forbid (principal, action, resource);",
    );
}

#[tokio::test]
async fn a_good_edit_takes_effect() {
    let world = World::new().await;
    let alice = world.outside.alice();
    let mut call = Call::get("checkout-prod");
    call.becomes(
        "/resource-tree",
        "/application.ApplicationService/ResourceTree",
    );
    assert_eq!(world.gate.ask(Wire::Rest, &alice, &call).await.code(), 0);
    let before = world.app.policies.status().digest.clone();
    world.outside.write_policy("narrow.cedar", NARROW);
    eventually("other policies", || async {
        (world.app.policies.status().digest != before).then_some(())
    })
    .await;
    for wire in Wire::ALL {
        let said = world.gate.ask(wire, &alice, &call).await;
        assert_eq!(said.code(), 7, "{said:?}");
        assert!(
            said.sentence().contains("the tree of prod is closed today"),
            "{said:?}"
        );
    }
}
