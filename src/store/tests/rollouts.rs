//! Rollouts, and how they are taken back.

use jiff::Timestamp;

use super::*;
use crate::names::{AppRef, DecisionId, EnvironmentName};
use crate::rollout::{Because, Member, Rollback, Rollout, State, Step, StepState, Target};

fn named(name: &str) -> AppRef {
    AppRef {
        namespace: None,
        name: name.to_owned(),
    }
}

fn rollout(decision: DecisionId, root: &str, members: &[&str]) -> Rollout {
    let member = |name: &&str| Member {
        application: named(name),
        uid: Some(format!("uid of {name}")),
        environment: EnvironmentName::parse("staging").unwrap(),
        component: crate::names::Component::parse(*name).unwrap(),
        wave: vec![1],
        automated: false,
        to: None,
        begun: Some(decision),
    };
    Rollout {
        decision,
        application: named(root),
        by: "rita@shop.example".to_owned(),
        caller: "https://idp#rita".to_owned(),
        at: Timestamp::UNIX_EPOCH,
        members: members.iter().map(member).collect(),
        rollback: None,
    }
}

fn rollback(state: State, target: Option<Target>) -> Rollback {
    Rollback {
        because: Because {
            application: named("cart"),
            run: None,
            operation: None,
            suite: None,
            text: "its tests failed".to_owned(),
        },
        by: None,
        at: Timestamp::UNIX_EPOCH,
        state,
        why: String::new(),
        steps: vec![Step {
            application: named("cart"),
            wave: vec![1],
            target,
            state: StepState::Waiting,
            tries: 0,
            began: None,
            decision: None,
            since: Timestamp::UNIX_EPOCH,
            note: String::new(),
        }],
        ended_at: None,
    }
}

fn target(decision: DecisionId) -> Target {
    serde_json::from_value(serde_json::json!({
        "decision": decision, "ran": {}, "runs": [],
        "pinned": {"commits": [], "source_digest": "0".repeat(64)},
    }))
    .unwrap()
}

#[tokio::test]
async fn a_rollout_is_found_by_its_root_and_by_each_member_newest_first() {
    let folder = Folder::new();
    let store = folder.open();
    let mut ids = [decision(), decision()];
    // Of one millisecond, they come in any order.
    ids.sort_unstable();
    let [first, second] = ids;
    let one = rollout(first, "root", &["cart", "pay"]);
    store.add_rollout(one.clone()).await.unwrap();
    store
        .add_rollout(rollout(second, "cart", &["cart"]))
        .await
        .unwrap();
    // What is there is not replaced.
    store
        .add_rollout(rollout(first, "root", &[]))
        .await
        .unwrap();
    assert_eq!(store.rollout(first).await.unwrap(), Some(one));
    assert_eq!(store.rollout(decision()).await.unwrap(), None);
    let of = async |name: &str| -> Vec<DecisionId> {
        let found = store.rollouts_of(&named(name), 10).await.unwrap();
        found.iter().map(|it| it.decision).collect()
    };
    assert_eq!(of("root").await, [first]);
    assert_eq!(of("pay").await, [first]);
    assert_eq!(of("cart").await, [second, first]);
    assert!(of("other").await.is_empty());
    let elsewhere = AppRef {
        namespace: Some("team".to_owned()),
        name: "cart".to_owned(),
    };
    assert!(store.rollouts_of(&elsewhere, 10).await.unwrap().is_empty());
    assert_eq!(store.rollouts(1).await.unwrap()[0].decision, second);
}

#[tokio::test]
async fn a_rollback_goes_on_and_holds_as_its_state_says() {
    let folder = Folder::new();
    let store = folder.open();
    let id = decision();
    store
        .add_rollout(rollout(id, "root", &["cart"]))
        .await
        .unwrap();
    for (state, with_target, goes_on, holds) in [
        (State::Proposed, true, false, false),
        (State::Running, true, true, true),
        (State::Stuck, true, false, true),
        (State::Stuck, false, false, false),
        (State::Verified, true, false, true),
        (State::Superseded, true, false, true),
        (State::Abandoned, true, false, false),
    ] {
        let target = with_target.then(|| target(id));
        let changed = store.change_rollout(id, move |stored| {
            stored.rollback = Some(rollback(state, target));
            Some(Vec::new())
        });
        assert!(changed.await.unwrap());
        let returning = store.returning_rollouts().await.unwrap();
        assert_eq!(!returning.is_empty(), goes_on, "{state:?}");
        for name in ["root", "cart"] {
            let held = store.has_held_rollout(&named(name)).await.unwrap();
            assert_eq!(held, holds, "{state:?} {name}");
        }
    }
    // What a change leaves as it is stays so, and there is nothing to change where there is nothing.
    assert!(!store.change_rollout(id, |_| None).await.unwrap());
    let elsewhere = store.change_rollout(decision(), |_| Some(Vec::new()));
    assert!(!elsewhere.await.unwrap());
}

#[tokio::test]
async fn what_is_asked_with_every_deploy_is_answered_by_an_index() {
    let folder = Folder::new();
    let store = folder.open();
    let sql = "SELECT 1 FROM rollout_application
               WHERE application = 'x' AND application_namespace = '' AND holds = 1";
    let plan = super::log::plan_of(&store, sql.to_owned(), Vec::new()).await;
    assert!(!plan.contains("SCAN"), "{plan}");
}
