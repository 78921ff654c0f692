//! R7: a claim that is not plainly what it should be is no claim.

use super::*;

async fn all_refused(world: &World, cases: Vec<(&str, Value, &str)>) {
    for (name, value, fault) in cases {
        assert_eq!(
            refused(world, &world.person(set(name, value.clone()))).await,
            format!(
                "the token's claim `{name}` {fault}: ask whoever runs `PEOPLE` to have it put right"
            ),
            "{value}"
        );
    }
}

#[tokio::test]
async fn r7_subjects_and_names() {
    let world = World::new().await;
    let cases = vec![
        ("sub", json!(""), "is empty"),
        ("sub", json!(7), "is of the wrong type"),
        ("sub", json!(["00u1"]), "is of the wrong type"),
        ("sub", json!("00u1\n"), "is not well-formed"),
        ("sub", json!("x".repeat(513)), "is too long"),
        ("name", json!({"first": "Ada"}), "is of the wrong type"),
        ("aud", json!(["argocd-cli", 7]), "is of the wrong type"),
        ("azp", json!(["argocd-cli"]), "is of the wrong type"),
        ("typ", json!(true), "is of the wrong type"),
    ];
    all_refused(&world, cases).await;
    assert_eq!(
        refused(&world, &world.person(unset("sub"))).await,
        "the token's claim `sub` is missing: ask whoever runs `PEOPLE` to have it put right"
    );
}

#[tokio::test]
async fn r7_addresses() {
    let cases = vec![
        ("email", json!(""), "is empty"),
        ("email", json!(["ada@example.com"]), "is of the wrong type"),
        ("email", Value::Null, "is of the wrong type"),
        ("email", json!("ada"), "is not well-formed"),
        ("email", json!("@example.com"), "is not well-formed"),
        (
            "email",
            json!("ada@evil.example@example.com"),
            "is not well-formed",
        ),
        (
            "email",
            json!("ada@example.com,eve@example.com"),
            "is not well-formed",
        ),
        ("email", json!("ada@example.com "), "is not well-formed"),
        ("email", json!("ada@exa\u{0}mple.com"), "is not well-formed"),
        // A Cyrillic letter that looks like the Latin one.
        (
            "email",
            json!("\u{430}da@example.com"),
            "is not well-formed",
        ),
        ("email_verified", json!("yes"), "is of the wrong type"),
        ("email_verified", json!(1), "is of the wrong type"),
    ];
    all_refused(&World::new().await, cases).await;
}

#[tokio::test]
async fn r7_groups() {
    let cases = vec![
        (
            "groups",
            json!({"engineering": true}),
            "is of the wrong type",
        ),
        ("groups", Value::Null, "is of the wrong type"),
        ("groups", json!(["engineering", 7]), "is of the wrong type"),
        (
            "groups",
            json!(["engineering", ["x"]]),
            "is of the wrong type",
        ),
        ("groups", json!(""), "is empty"),
        ("groups", json!([""]), "is empty"),
        (
            "groups",
            json!(["engineering\u{202e}"]),
            "is not well-formed",
        ),
        ("groups", json!(vec!["g"; 2_001]), "is too long"),
    ];
    all_refused(&World::new().await, cases).await;
}

/// What is wrong with the token in which `change` was made to an account's claims, without the
/// advice, which is the same for all.
async fn account_fault(world: &World, change: impl FnOnce(&mut Value)) -> String {
    let sentence = refused(world, &world.account(change)).await;
    let end = ": ask whoever runs `CLUSTER` to have it put right";
    sentence.strip_suffix(end).unwrap_or(&sentence).to_owned()
}

#[tokio::test]
async fn r7_account_names() {
    let world = World::new().await;
    for sub in [
        "tests",
        "system:node:n1",
        "system:serviceaccount:shop",
        "system:serviceaccount:shop:tests:x",
        "system:serviceaccount::tests",
        "system:serviceaccount:shop:",
        "system:serviceaccount:shop:Tests",
        "system:serviceaccount:shop/x:tests",
    ] {
        assert_eq!(
            account_fault(&world, set("sub", json!(sub))).await,
            "the token's claim `sub` is not well-formed"
        );
    }
    assert_eq!(
        account_fault(&world, unset("iat")).await,
        "the token's claim `iat` is missing"
    );
}

/// What a token says of its account must be said twice in the same way.
#[tokio::test]
async fn r7_accounts_that_are_not_what_they_say() {
    let world = World::new().await;
    for (path, value, fault) in [
        (
            "/sub",
            json!("system:serviceaccount:shop:admin"),
            "does not agree with `sub`",
        ),
        (
            "/kubernetes.io/namespace",
            json!("kube-system"),
            "does not agree with `sub`",
        ),
        (
            "/kubernetes.io/namespace",
            Value::Null,
            "is of the wrong type",
        ),
        (
            "/kubernetes.io/serviceaccount",
            json!({"name": "admin"}),
            "does not agree with `sub`",
        ),
        (
            "/kubernetes.io/serviceaccount",
            json!("tests"),
            "is of the wrong type",
        ),
        ("/kubernetes.io/pod", json!({"name": ""}), "is empty"),
        ("/kubernetes.io/pod", json!({}), "is of the wrong type"),
        ("/kubernetes.io", json!("shop"), "is of the wrong type"),
        ("/kubernetes.io", json!({}), "is of the wrong type"),
    ] {
        let change = |claims: &mut Value| *claims.pointer_mut(path).unwrap() = value;
        assert_eq!(
            account_fault(&world, change).await,
            format!("the token's claim `kubernetes.io` {fault}"),
            "{path}"
        );
    }
    assert_eq!(
        account_fault(&world, unset("kubernetes.io")).await,
        "the token's claim `kubernetes.io` is missing"
    );
}
