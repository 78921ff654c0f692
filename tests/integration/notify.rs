//! Receivers are told what they asked for, once, also over a restart.

use serde_json::{Value, json};
use syncgate::notify::{Kind, Template};

use crate::evidence::{assert_prod_is_closed, begin_staging};
use crate::world::{Call, FIRST, Outside, Receiver, Wire, World};

fn data(event: &Value) -> &Value {
    &event["data"]
}

#[tokio::test]
async fn a_refused_deploy_is_told_once_an_hour() {
    let receiver = Receiver::down();
    let world = receiver
        .world(Outside::start().await, |receiver| {
            receiver.environments = vec!["prod".parse().unwrap()];
        })
        .await;
    receiver.up(&world.outside.tasks).await;
    let first = assert_prod_is_closed(&world, "has no passing").await;
    assert_prod_is_closed(&world, "has no passing").await;
    // What policy refuses, in words of its own, is another matter.
    let alice = world.outside.alice();
    let sync = Call::sync("checkout-prod");
    let denied = world.gate.ask(Wire::Rest, &alice, &sync).await;
    assert_eq!(denied.status, 403, "{denied:?}");

    let got = receiver.gets(2).await;
    let (_, evidence) = &got[0];
    assert_eq!(evidence["type"], "dev.syncgate.deploy.refused");
    assert_eq!(evidence["id"], first.decision().to_string());
    assert_eq!(evidence["subject"], "checkout-prod");
    let said = data(evidence)["text"].as_str().unwrap();
    assert!(first.sentence().starts_with(said), "{said}");
    assert_eq!(data(evidence)["commits"], json!([FIRST]));
    assert_eq!(data(evidence)["environments"], json!(["prod"]));
    assert_eq!(data(evidence)["caller"], "rita@shop.example");
    let see = data(evidence)["see"].as_str().unwrap();
    assert!(see.ends_with(&first.decision().to_string()), "{see}");
    let (_, policy) = &got[1];
    assert_eq!(policy["id"], denied.decision().to_string());
    assert_eq!(data(policy)["caller"], "alice@shop.example");
}

#[tokio::test]
async fn failed_tests_are_told_to_slack_and_passed_ones_are_not() {
    let receiver = Receiver::down();
    let world = receiver
        .world(Outside::start().await, |receiver| {
            receiver.slack = Some(Template::default());
            receiver.events = vec![Kind::RunFailed];
        })
        .await;
    receiver.up(&world.outside.tasks).await;
    begin_staging(&world).await;
    world.report("passed").await;
    let failed = world.report("failed").await;
    assert_prod_is_closed(&world, "has no passing").await;

    let [(headers, message)] = &receiver.gets(1).await[..] else {
        panic!("one message");
    };
    assert_eq!(headers["content-type"], "application/json");
    let text = message["text"].as_str().unwrap();
    assert!(
        text.starts_with(
            "*Tests failed*: run of suite integration on checkout-staging in staging at 3f2c1a9 \
             failed: "
        ),
        "{text}"
    );
    let run = failed["run"].as_str().unwrap();
    assert!(
        text.contains(&format!("/syncgate/v1/runs/{run}|More>")),
        "{text}"
    );
}

#[tokio::test]
async fn failed_tests_are_told_after_a_restart_and_not_twice() {
    let receiver = Receiver::down();
    let outside = Outside::start().await;
    // Nobody is told while there is nobody to tell, and nobody is later.
    let world = World::with(outside, |_| ()).await;
    begin_staging(&world).await;
    let untold = world.report("failed").await;
    crate::world::eventually("the run is looked at", || async {
        let waiting = world.app.store.untold_runs(1).await.unwrap();
        waiting.is_empty().then_some(())
    })
    .await;
    let outside = world.stop().await;

    let world = receiver.world(outside, |_| ()).await;
    let told = world.report("failed").await;
    let outside = world.stop().await;
    let world = receiver.world(outside, |_| ()).await;
    receiver.up(&world.outside.tasks).await;
    let got = receiver.gets(1).await;
    assert_eq!(got[0].1["id"], told["run"]);
    assert_ne!(told["run"], untold["run"]);
    crate::world::eventually("an empty queue", || async {
        let next = world.app.store.next_notice().await.unwrap();
        next.is_none().then_some(())
    })
    .await;
    assert_eq!(receiver.got.lock().unwrap().len(), 1);
}
