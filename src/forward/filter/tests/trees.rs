//! Trees and managed resources of a parent: of its children that are Applications, `visible` may be
//! seen and `hidden` may not.

use super::*;

fn nodes() -> impl Rule {
    Nodes(|named: &Named| named.name == "visible")
}

fn diffs() -> impl Rule {
    Diffs(|named: &Named, states: &[AppFacts]| {
        named.name == "visible" && states.iter().all(|facts| facts.project != "secret")
    })
}

async fn shown(
    kind: &str,
    layout: &'static Layout,
    rule: impl Rule + 'static,
    sent: &[u8],
    size: usize,
) -> Result<Vec<u8>, String> {
    let filtered = filter(answer(kind, cut(sent, size)), layout, "", rule);
    let filtered = filtered.map_err(|error| error.to_string())?;
    let collected = filtered.into_body().collect().await;
    let collected = collected.map_err(|error| error.to_string())?;
    Ok(collected.to_bytes().to_vec())
}

/// In JSON.
fn reference(kind: &str, name: &str) -> String {
    format!(
        r#""group":"argoproj.io","version":"v1alpha1","kind":"{kind}","namespace":"argocd","name":"{name}","uid":"u-{name}""#
    )
}

fn node(kind: &str, name: &str, parents: &[(&str, &str)]) -> String {
    let parents: Vec<_> = parents
        .iter()
        .map(|(kind, name)| format!("{{{}}}", reference(kind, name)))
        .collect();
    let reference = reference(kind, name);
    format!(
        r#"{{{reference},"parentRefs":[{}],"health":{{"status":"<ok>"}}}}"#,
        parents.join(",")
    )
}

fn tree(nodes: &[String]) -> String {
    format!(
        r#"{{"nodes":[{}],"orphanedNodes":[{}],"hosts":[{{"name":"h"}}],"shardsCount":1}}"#,
        nodes.join(","),
        nodes.join(",")
    )
}

/// A set with both below it, and something below each.
fn all() -> [String; 5] {
    [
        node("ApplicationSet", "set", &[]),
        node("Application", "hidden", &[("ApplicationSet", "set")]),
        node(
            "Application",
            "visible",
            &[("ApplicationSet", "set"), ("Application", "hidden")],
        ),
        node(
            "Job",
            "job",
            &[("Application", "hidden"), ("Application", "visible")],
        ),
        // Of another group, it is no Application of Argo CD.
        node("Application", "hidden", &[]).replacen("argoproj.io", "other.io", 1),
    ]
}

fn permitted() -> [String; 4] {
    [
        node("ApplicationSet", "set", &[]),
        node("Application", "visible", &[("ApplicationSet", "set")]),
        node("Job", "job", &[("Application", "visible")]),
        all()[4].clone(),
    ]
}

#[tokio::test]
async fn a_tree_in_json_leaves_hidden_applications_out_as_nodes_and_as_parents() {
    let (sent, kept) = (tree(&all()), tree(&permitted()));
    for size in [1, 7, 10_000] {
        let json = "application/json";
        let shown_whole = shown(json, &APPLICATION_TREE, nodes(), sent.as_bytes(), size).await;
        assert_eq!(String::from_utf8(shown_whole.unwrap()).unwrap(), kept);

        let lines = format!("{{\"result\":{sent}}}\n{{\"error\":{{}}}}\n{{\"result\":{kept}}}\n");
        let expected = lines.replace(&sent, &kept);
        let shown_lines = shown(json, &APPLICATION_TREES, nodes(), lines.as_bytes(), size).await;
        assert_eq!(String::from_utf8(shown_lines.unwrap()).unwrap(), expected);

        let events =
            format!(":\ndata: {{\"result\":{sent}}} \n\n\n:\ndata: {{\"result\":{kept}}} \n\n\n");
        let expected = events.replace(&sent, &kept);
        let events = shown(
            "text/event-stream",
            &APPLICATION_TREES,
            nodes(),
            events.as_bytes(),
            size,
        )
        .await;
        assert_eq!(String::from_utf8(events.unwrap()).unwrap(), expected);
    }
    // Blanks tell that what stays whole is not printed anew.
    let spaced = format!(
        "{{ \"nodes\" : [ {} ] }}",
        node("Application", "visible", &[])
    );
    let same = shown(
        "application/json",
        &APPLICATION_SET_TREE,
        nodes(),
        spaced.as_bytes(),
        3,
    )
    .await;
    assert_eq!(same.unwrap(), spaced.as_bytes());
}

/// In protobuf.
fn message_ref(kind: &str, name: &str) -> Vec<u8> {
    let group = if kind == "Job" {
        "batch"
    } else {
        "argoproj.io"
    };
    [
        field(1, group),
        field(2, "v1"),
        field(3, kind),
        field(4, "argocd"),
        field(5, name),
    ]
    .concat()
}

fn message_node(kind: &str, name: &str, parents: &[&str]) -> Vec<u8> {
    let parents = parents
        .iter()
        .map(|name| field(2, message_ref("Application", name)));
    let parents: Vec<_> = parents.collect();
    [
        field(1, message_ref(kind, name)),
        parents.concat(),
        field(5, "7"),
    ]
    .concat()
}

fn message_tree(nodes: &[Vec<u8>]) -> Vec<u8> {
    let of = |number| {
        nodes
            .iter()
            .map(move |node| field(number, node))
            .collect::<Vec<_>>()
            .concat()
    };
    // `shardsCount` is a number.
    [of(1), of(2), field(3, "host"), vec![4 << 3, 1]].concat()
}

#[tokio::test]
async fn a_tree_in_protobuf_leaves_hidden_applications_out_as_nodes_and_as_parents() {
    let sent = message_tree(&[
        message_node("Application", "hidden", &[]),
        message_node("Application", "visible", &["hidden"]),
        message_node("Job", "job", &["hidden", "visible", "hidden"]),
        message_node("Job", "same", &["visible"]),
    ]);
    let kept = message_tree(&[
        message_node("Application", "visible", &[]),
        message_node("Job", "job", &["visible"]),
        message_node("Job", "same", &["visible"]),
    ]);
    let trailers = framed(0x80, "grpc-status: 0\r\n");
    for size in [1, 7, 10_000] {
        for layout in [&APPLICATION_TREE, &APPLICATION_TREES] {
            let twice = [framed(0, &sent), framed(0, &kept)].concat();
            let expected = [framed(0, &kept), framed(0, &kept)].concat();
            let grpc = shown("application/grpc", layout, nodes(), &twice, size).await;
            assert_eq!(grpc.unwrap(), expected);
            let (twice, expected) = (
                [twice, trailers.clone()].concat(),
                [expected, trailers.clone()].concat(),
            );
            let web = shown("application/grpc-web+proto", layout, nodes(), &twice, size).await;
            assert_eq!(web.unwrap(), expected);
        }
    }
}

fn diff(name: &str, live: &str, target: &str) -> String {
    serde_json::json!({
        "group": "argoproj.io", "kind": "Application", "namespace": "argocd", "name": name,
        "liveState": live, "targetState": target,
    })
    .to_string()
}

#[tokio::test]
async fn managed_resources_leave_out_what_may_not_be_seen_in_any_of_its_states() {
    let job = r#"{"group":"batch","kind":"Job","name":"hidden","liveState":"not looked at"}"#;
    let secret = r#"{"metadata":{"name":"visible"},"spec":{"project":"secret"}}"#;
    let open = r#"{"metadata":{"name":"visible"},"spec":{"project":"shop"}}"#;
    let stays = [
        job.to_owned(),
        diff("visible", open, "null"),
        diff("visible", "null", open),
        diff("visible", "", ""),
    ];
    let goes = [
        diff("hidden", open, open),
        diff("visible", secret, open),
        diff("visible", open, secret),
        diff("visible", open, "{"),
    ];
    let list = |items: &[String]| format!(r#"{{"items":[{}]}}"#, items.join(","));
    let sent = list(&[stays.clone(), goes].concat());
    let kept = shown(
        "application/json",
        &MANAGED_RESOURCES,
        diffs(),
        sent.as_bytes(),
        64,
    )
    .await;
    assert_eq!(String::from_utf8(kept.unwrap()).unwrap(), list(&stays));

    let message = |name: &str, live: &str| {
        let name = [
            field(1, "argoproj.io"),
            field(2, "Application"),
            field(4, name),
        ]
        .concat();
        field(1, [name, field(6, live), vec![8 << 3, 1]].concat())
    };
    let stays = [message("visible", open), message("visible", "null")].concat();
    let sent = [
        message("hidden", open),
        stays.clone(),
        message("visible", secret),
    ]
    .concat();
    let kept = shown(
        "application/grpc",
        &MANAGED_RESOURCES,
        diffs(),
        &framed(0, sent),
        7,
    )
    .await;
    assert_eq!(kept.unwrap(), framed(0, stays));
}

#[tokio::test]
async fn a_tree_that_is_not_understood_is_refused() {
    let refused = async |kind: &str, sent: &[u8], says: &str| {
        let error = shown(kind, &APPLICATION_TREE, nodes(), sent, 9)
            .await
            .unwrap_err();
        assert!(error.contains(says), "{error} does not say {says}");
    };
    let json = "application/json";
    refused(json, br#"{"Nodes":[]}"#, "`Nodes`").await;
    refused(json, br#"{"nodes":[],"nodes":[]}"#, "`nodes`").await;
    refused(
        json,
        br#"{"nodes":[{"kind":"Job","kind":"Application"}]}"#,
        "malformed",
    )
    .await;
    refused(json, br#"{"nodes":[{"parentRefs":[1]}]}"#, "malformed").await;
    refused(json, br#"{"nodes":{}}"#, "malformed").await;
    let grpc = "application/grpc";
    refused(grpc, &framed(0, field(5, "")), "unknown field 5").await;
    let twice = [
        field(1, message_ref("Job", "a")),
        field(1, message_ref("Job", "b")),
    ]
    .concat();
    refused(grpc, &framed(0, field(1, twice)), "twice").await;
    let twice = field(1, [message_ref("Job", "a"), field(5, "b")].concat());
    refused(grpc, &framed(0, field(1, twice)), "twice").await;
}
