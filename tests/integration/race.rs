//! A commit is pushed between check and forward: it never goes out.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::admission::{Review, SERVER, ask};
use crate::world::{Call, Said, Wire, World, passed, push};

const ROUNDS: usize = 1000;

/// The commit of a round that has its evidence, or the one that is pushed while it is checked.
fn commit(round: usize, late: bool) -> String {
    format!("{:040x}", 2 * round + usize::from(late) + 1)
}

fn wire(round: usize) -> Wire {
    [Wire::Rest, Wire::Grpc, Wire::GrpcWeb][round % 3]
}

/// Rounds of one component; what is known of a component is read at each decision.
const EACH: usize = 25;

/// The component of a round, whose application is like `model`, and its source.
fn component(world: &World, round: usize, model: &str) -> (String, Value) {
    let component = format!("race-{}", round / EACH);
    let mut application = world.outside.argocd.application(model);
    if round.is_multiple_of(EACH) {
        let name = format!("{component}-prod");
        application["metadata"]["uid"] = json!(syncgate::digest::sha256_hex(name.as_bytes()));
        application["metadata"]["name"] = json!(name);
        world.outside.argocd.put(application.clone(), Vec::new());
    }
    (component, application["spec"]["source"].clone())
}

async fn sync(world: &World, round: usize, name: &str) -> Said {
    let rita = world.outside.rita();
    world.gate.ask(wire(round), &rita, &Call::sync(name)).await
}

/// What the last operation of `name` rolls out.
fn rolled_out(world: &World, name: &str) -> Option<String> {
    let application = world.outside.argocd.application(name);
    let revision = application.pointer("/status/operationState/operation/sync/revision");
    revision.and_then(Value::as_str).map(str::to_owned)
}

#[tokio::test]
async fn a_commit_pushed_meanwhile_does_not_go_out() {
    let world = World::new().await;
    for round in 0..ROUNDS / 2 {
        let (component, source) = component(&world, round, "checkout-prod");
        let name = &format!("{component}-prod");
        let (checked, late) = (commit(round, false), commit(round, true));
        world
            .outside
            .argocd
            .change(name, |application| push(application, &checked));
        passed(&world.app.store, &component, &checked, &source).await;
        let pushed = late.clone();
        // Half of them already while the gate looks.
        if round.is_multiple_of(2) {
            world
                .outside
                .argocd
                .after_refresh(move |application| push(application, &pushed));
        } else {
            world
                .outside
                .argocd
                .before_sync(move |application| push(application, &pushed));
        }
        world.outside.argocd.forget();
        let said = sync(&world, round, name).await;
        assert_eq!(said.code(), 0, "round {round}: {said:?}");
        assert_eq!(rolled_out(&world, name), Some(checked), "round {round}");
        // The late one is refused as what it is.
        if round.is_multiple_of(50) {
            assert_eq!(sync(&world, round, name).await.code(), 9);
        }
    }
}

/// With automated sync on, Argo CD takes no commit from anybody: it resolves the branch when it writes the
/// operation, and the webhook is asked about what it has resolved.
#[tokio::test]
async fn nor_does_one_that_automated_sync_would_take() {
    let world = Arc::new(World::with_admission("").await);
    let denied = Arc::new(AtomicUsize::new(0));
    let pushes: Arc<Mutex<Option<String>>> = Arc::default();
    let (at_webhook, count, late_ones) = (
        Arc::downgrade(&world),
        Arc::clone(&denied),
        Arc::clone(&pushes),
    );
    world.outside.argocd.at_forward(move |seen| {
        let (world, count) = (at_webhook.clone(), Arc::clone(&count));
        let late = late_ones.lock().unwrap().take();
        async move {
            let Some((world, sync)) = world.upgrade().zip(seen.sync()) else {
                return;
            };
            assert_eq!(sync.revision, None, "automated sync takes no revision");
            let argocd = &world.outside.argocd;
            if let Some(late) = &late {
                argocd.change(&sync.name, |application| push(application, late));
            }
            let before = argocd.application(&sync.name);
            let mut after = before.clone();
            after["operation"] = json!({
                "sync": {
                    "source": before["spec"]["source"],
                    "revision": before["status"]["sync"]["revision"],
                },
            });
            // As argocd-server does: the state of the last operation goes.
            after["status"]["operationState"] = Value::Null;
            let response = ask(world.door(), Review::of(SERVER, &before, &after)).await;
            assert_eq!(response["allowed"], json!(late.is_none()), "{response}");
            if response["allowed"] == false {
                count.fetch_add(1, Ordering::Relaxed);
                argocd.deny_next();
            }
        }
    });
    for round in 0..ROUNDS / 2 {
        let (component, source) = component(&world, round, "auto-prod");
        let name = &format!("{component}-prod");
        let checked = commit(round, false);
        let see = |application: &mut Value| push(application, &checked);
        passed(&world.app.store, &component, &checked, &source).await;
        world.outside.argocd.change(name, see);
        world.outside.argocd.forget();
        *pushes.lock().unwrap() = Some(commit(round, true));
        let said = sync(&world, round, name).await;
        assert_eq!(said.code(), 7, "round {round}: {said:?}");
        assert_ne!(rolled_out(&world, name), Some(commit(round, true)));
        // Without a push it goes out.
        if round.is_multiple_of(10) {
            world.outside.argocd.change(name, see);
            let said = sync(&world, round, name).await;
            assert_eq!(said.code(), 0, "round {round}: {said:?}");
            assert_eq!(rolled_out(&world, name), Some(checked), "round {round}");
        }
    }
    assert_eq!(denied.load(Ordering::Relaxed), ROUNDS / 2);
}
