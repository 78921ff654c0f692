//! The closed table of operations, held against the schema of the policies and against callers who
//! may do nothing.

use std::collections::{BTreeMap, BTreeSet};

use syncgate::argocd::operation::Operation;
use syncgate::argocd::table::{Answer, Handling};
use syncgate::policy::{Policies, Source};

use crate::world::{Said, Wire, World};

/// Actions that are the gate's own, with their groups.
const OWN: [(&str, &str); 21] = [
    ("Application.Refresh", "write"),
    ("Application.Extension", "deploy"),
    ("Application.Terminal", "deploy"),
    ("ArgoCd.Webhook", "write"),
    ("Endpoint.read", "reach"),
    ("Endpoint.write", "reach"),
    ("BreakGlass.read", "read"),
    ("Line.read", "read"),
    ("Line.start", "write"),
    ("Line.stop", "write"),
    ("Log.read", "read"),
    ("Preflight.check", "read"),
    ("Rollout.abandon", "write"),
    ("Rollout.read", "read"),
    ("Rollout.rollback", "deploy"),
    ("Run.read", "read"),
    ("Run.report", "report"),
    ("Run.withdraw", "write"),
    ("Session.begin", "write"),
    ("Session.read", "read"),
    ("Session.revoke", "write"),
];

#[test]
fn every_operation_is_an_action_in_the_group_of_its_effect_and_the_other_way_round() {
    let schema = Policies::build(&Source::shipped()).unwrap().actions();
    let groups = |group: &str| BTreeSet::from([group.to_owned()]);
    let table = Operation::all().map(|o| (o.name().to_owned(), groups(o.effect().word())));
    let own = OWN.map(|(name, group)| (name.to_owned(), groups(group)));
    let expected: BTreeMap<_, _> = table.chain(own).collect();
    assert_eq!(expected.len(), 109 + OWN.len());
    // A group is an action in no group.
    let (found, group): (BTreeMap<_, _>, BTreeMap<_, _>) = schema
        .into_iter()
        .partition(|(_, groups)| !groups.is_empty());
    assert_eq!(found, expected);
    let words: Vec<_> = group.keys().map(String::as_str).collect();
    let expected = ["administer", "deploy", "reach", "read", "report", "write"];
    assert_eq!(words, expected);
}

/// What everybody is answered, signed in or not.
fn is_public(operation: Operation) -> bool {
    matches!(
        operation.row().handling,
        Handling::Answer(Answer::Version | Answer::Settings | Answer::UserInfo)
    )
}

/// The way to call an operation without saying much: on gRPC, gRPC-Web, and each REST binding.
async fn knock(world: &World, operation: Operation, token: Option<&str>) -> Vec<(String, Said)> {
    let mut answers = Vec::new();
    let row = operation.row();
    for wire in Wire::FRAMED {
        let headers: Vec<_> = token
            .map(|token| wire.credential(token))
            .into_iter()
            .collect();
        let said = world.gate.framed(wire, &headers, row.grpc, b"").await;
        answers.push((format!("{wire:?} {}", row.grpc), said));
    }
    for rest in row.rest {
        let segments: Vec<&str> = rest
            .template
            .split('/')
            .map(|part| if part.starts_with('{') { "x" } else { part })
            .collect();
        let path = segments.join("/");
        let headers: Vec<_> = token
            .map(|t| Wire::Rest.credential(t))
            .into_iter()
            .collect();
        let body = if rest.method == "GET" { "" } else { "{}" };
        let said = world
            .gate
            .send(Wire::Rest, rest.method, &path, &headers, body.into())
            .await;
        answers.push((format!("{} {path}", rest.method), said));
    }
    answers
}

#[tokio::test]
async fn without_a_credential_no_operation_of_the_table_reaches_argo_cd() {
    let world = World::new().await;
    world.outside.argocd.must_not_be_touched();
    for operation in Operation::all().filter(|operation| !is_public(*operation)) {
        let expected = match operation.row().handling {
            Handling::Refuse(_) => 7,
            _ => 16,
        };
        for (what, said) in knock(&world, operation, None).await {
            assert_eq!(said.code(), expected, "{what}: {said:?}");
        }
    }
}

#[tokio::test]
async fn without_a_role_no_operation_of_the_table_reaches_argo_cd() {
    let world = World::new().await;
    world.outside.argocd.must_not_be_touched_by_callers();
    let nobody = world.outside.nobody();
    for operation in Operation::all().filter(|operation| !is_public(*operation)) {
        if matches!(operation.row().handling, Handling::Answer(Answer::CanI)) {
            continue;
        }
        for (what, said) in knock(&world, operation, Some(&nobody)).await {
            // An empty message lacks the application's name.
            assert!([3, 7].contains(&said.code()), "{what}: {said:?}");
        }
    }
}
