use http::{HeaderMap, HeaderValue, Method};
use prost::Message as _;
use serde_json::{Value, json};

mod patch;
mod whole;

use super::*;
use crate::argocd::classify::{Class, GRPC, classify};
use crate::argocd::table::Field;

fn classified(method: &str, uri: &str, content_type: &'static str) -> Classified {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(content_type));
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    match classify(&method, &uri.parse().unwrap(), &headers) {
        Ok(Class::Api(classified)) => classified,
        other => panic!("{method} {uri}: {other:?}"),
    }
}

fn rest(method: &str, uri: &str, body: &str) -> Result<Call, Error> {
    let classified = classified(method, uri, "application/json");
    Call::parse(classified, &Bytes::copy_from_slice(body.as_bytes()))
}

fn grpc(operation: Operation, message: &[u8]) -> Result<Call, Error> {
    let classified = classified("POST", operation.row().grpc, GRPC);
    Call::parse(classified, &framing::write_message(message).unwrap())
}

/// The same call as JSON over HTTP and as protobuf.
fn both(
    operation: Operation,
    (method, uri, body): (&str, &str, &Value),
    message: &[u8],
) -> [Result<Call, Error>; 2] {
    [
        rest(method, uri, &body.to_string()),
        grpc(operation, message),
    ]
}

/// One field of length-delimited bytes; numbers below 16 only.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
    out.extend_from_slice(bytes);
    out
}

fn target(name: &str, namespace: Option<&str>, project: Option<&str>) -> AppTarget {
    AppTarget {
        app: AppRef {
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        },
        project: project.map(str::to_owned),
    }
}

// ---- The application's name, on every wire ----

#[test]
fn every_operation_on_one_application_finds_it_in_protobuf() {
    for operation in Operation::all() {
        let Some(fields) = operation.row().application else {
            continue;
        };
        let nest = |field_: &Field, text: &str| {
            let numbers: Vec<u32> = field_.numbers().collect();
            numbers
                .iter()
                .rev()
                .fold(text.as_bytes().to_vec(), |inner, n| {
                    let tag = n << 3 | 2;
                    let mut out = Vec::new();
                    prost::encoding::encode_varint(tag.into(), &mut out);
                    prost::encoding::encode_varint(inner.len() as u64, &mut out);
                    out.extend(inner);
                    out
                })
        };
        // Messages that share their outer fields are merged into one, as an encoder would.
        let name = nest(&fields.name, "shop");
        let both = if fields.name.numbers().count() == 1 {
            [name, nest(&fields.namespace, "team-a")].concat()
        } else {
            let depth = fields.name.numbers().count() - 1;
            let leaf = [field(1, b"shop"), field(3, b"team-a")].concat();
            (0..depth).fold(leaf, |inner, _| field(1, &inner))
        };
        let whole = [both, needed_of(operation)].concat();
        let call = grpc(operation, &whole).unwrap_or_else(|e| panic!("{operation}: {e}"));
        assert_eq!(
            call.app.clone().unwrap(),
            target("shop", Some("team-a"), None),
            "{operation}"
        );
        assert_eq!(call.forward_path, operation.row().grpc);
    }
}

/// What the message of an operation needs beside the application's name.
fn needed_of(operation: Operation) -> Vec<u8> {
    let object = [field(3, b"web"), field(4, b"v1"), field(6, b"Deployment")].concat();
    match operation {
        Operation::ApplicationUpdateSpec => field(2, &field(3, b"default")),
        Operation::ApplicationRollback => vec![0x10, 1],
        Operation::ApplicationPatch => [field(2, b"[]"), field(3, b"json")].concat(),
        Operation::ApplicationPatchResource => {
            let patch = [field(7, b"{}"), field(8, b"application/merge-patch+json")];
            [object, patch.concat()].concat()
        }
        Operation::ApplicationDeleteResource => object,
        Operation::ApplicationRunResourceAction | Operation::ApplicationRunResourceActionV2 => {
            [object, field(7, b"restart")].concat()
        }
        _ => Vec::new(),
    }
}

#[test]
fn every_operation_on_one_application_finds_it_in_rest() {
    for operation in Operation::all() {
        let Some(fields) = operation.row().application else {
            continue;
        };
        for binding in operation.row().rest {
            let path = binding
                .template
                .replace(&format!("{{{}}}", fields.name.path), "shop")
                .replace("{revision}", "1a2b3c4")
                .replace("{podName}", "pod");
            let application = json!({
                "metadata": { "name": "shop", "namespace": "team-a" },
                "spec": { "project": "default" },
            });
            let in_body = json!({
                "query": { "name": "shop", "appNamespace": "team-a", "project": "default" },
            });
            let place = fields.namespace.path;
            let (query, body) = match binding.body {
                Some("*") if operation == Operation::ApplicationGetManifestsWithFiles => {
                    (String::new(), in_body)
                }
                Some("*") => (String::new(), whole_body(operation)),
                Some("application") if operation == Operation::ApplicationUpdate => {
                    ("?project=default".to_owned(), application)
                }
                Some("application") => (String::new(), application),
                Some("spec") => (
                    "?appNamespace=team-a&project=default".into(),
                    json!({ "project": "default" }),
                ),
                Some("patch") => (
                    format!("{OBJECT}&patchType=application%2Fmerge-patch%2Bjson"),
                    json!("{}"),
                ),
                Some(_) => (OBJECT.to_owned(), json!("restart")),
                None if operation == Operation::ApplicationDeleteResource => {
                    (OBJECT.to_owned(), json!({}))
                }
                None if fields.optional => (format!("?name=shop&{place}=team-a"), json!({})),
                None => (format!("?{place}=team-a&project=default"), json!({})),
            };
            let call = rest(binding.method, &(path + &query), &body.to_string())
                .unwrap_or_else(|e| panic!("{operation}: {e}"));
            let project = fields.project.is_some().then_some("default");
            assert_eq!(
                call.app.clone().unwrap(),
                target("shop", Some("team-a"), project),
                "{operation}"
            );
        }
    }
}

/// The query of a call about one object, as the web UI sends it.
const OBJECT: &str = "?appNamespace=team-a&project=default&name=web&resourceName=web\
    &group=apps&kind=Deployment&version=v1";

/// The body of a call whose body is the whole message.
fn whole_body(operation: Operation) -> Value {
    let mut body = json!({ "appNamespace": "team-a", "project": "default" });
    let more = match operation {
        Operation::ApplicationRollback => json!({ "id": 1 }),
        Operation::ApplicationPatch => json!({ "patch": "[]", "patchType": "json" }),
        Operation::ApplicationRunResourceActionV2 => json!({
            "resourceName": "web", "kind": "Deployment", "version": "v1", "action": "restart",
        }),
        _ => json!({}),
    };
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

/// The web UI sends the name of a resource as `name`; there it is not the application's.
#[test]
fn a_name_in_the_query_does_not_rename_the_application_of_the_path() {
    let call = rest(
        "GET",
        "/api/v1/applications/shop/resource?name=web&appNamespace=argocd",
        "",
    )
    .unwrap();
    assert_eq!(
        call.app.clone().unwrap(),
        target("shop", Some("argocd"), None)
    );
    let call = rest(
        "GET",
        "/api/v1/applications/shop/managed-resources?name=web&namespace=x",
        "",
    )
    .unwrap();
    assert_eq!(call.app.clone().unwrap(), target("shop", None, None));
}

#[test]
fn a_name_in_the_body_that_is_not_the_name_in_the_path_is_refused() {
    for (method, uri, body) in [
        (
            "POST",
            "/api/v1/applications/shop/rollback",
            json!({"name": "other", "id": 1}),
        ),
        (
            "POST",
            "/api/v1/applications/shop/sync",
            json!({"name": "other"}),
        ),
        (
            "PUT",
            "/api/v1/applications/shop",
            json!({"metadata": {"name": "other"}}),
        ),
    ] {
        let refused = rest(method, uri, &body.to_string());
        assert!(
            matches!(refused, Err(Error::Disagree { .. })),
            "{uri}: {refused:?}"
        );
    }
}

#[test]
fn the_application_twice_is_refused() {
    let twice = [field(1, b"shop"), field(1, b"other")].concat();
    assert_eq!(
        grpc(Operation::ApplicationDelete, &twice),
        Err(Error::Protobuf(protobuf::Error::Twice(1)))
    );
    assert!(matches!(
        rest(
            "GET",
            "/api/v1/applications/shop?appNamespace=a&appNamespace=b",
            ""
        ),
        Err(Error::Path(_))
    ));
}

#[test]
fn a_name_that_no_object_has_is_refused() {
    for name in ["Shop", "shop_prod", "-x", "a b", "a..b", "shop\u{e9}"] {
        let refused = grpc(Operation::ApplicationDelete, &field(1, name.as_bytes()));
        assert!(matches!(refused, Err(Error::Name { .. })), "{name}");
    }
    assert_eq!(
        grpc(Operation::ApplicationDelete, &[]),
        Err(Error::Missing("name"))
    );
    assert!(grpc(Operation::ApplicationList, &[]).unwrap().app.is_none());
}

#[test]
fn a_get_that_names_a_refresh_is_a_write_even_if_it_is_empty() {
    let plain = grpc(Operation::ApplicationGet, &field(1, b"shop")).unwrap();
    assert_eq!((plain.refresh, plain.effect()), (false, Effect::Read));
    let message = [field(1, b"shop"), field(2, b"")].concat();
    let asked = grpc(Operation::ApplicationGet, &message).unwrap();
    assert_eq!((asked.refresh, asked.effect()), (true, Effect::Write));
    for query in ["refresh=hard", "refresh=", "refresh"] {
        let uri = format!("/api/v1/applications/shop?{query}");
        assert!(rest("GET", &uri, "").unwrap().refresh, "{query}");
    }
}

#[test]
fn bodies_that_the_upstream_does_not_read_are_not_sent_on() {
    let call = rest("DELETE", "/api/v1/applications/shop", "{\"x\": 1}").unwrap();
    assert_eq!(call.forward_body().unwrap(), Bytes::new());
}

#[test]
fn every_message_of_a_stream_is_looked_at() {
    let classified = || {
        classified(
            "POST",
            Operation::ApplicationGetManifestsWithFiles.row().grpc,
            GRPC,
        )
    };
    let first = framing::write_message(&field(1, &field(1, b"shop"))).unwrap();
    let chunk = framing::write_message(&field(2, &field(1, b"data"))).unwrap();
    let body: Bytes = [&first[..], &chunk[..]].concat().into();
    let call = Call::parse(classified(), &body).unwrap();
    assert_eq!(call.app.clone().unwrap(), target("shop", None, None));
    assert_eq!(call.forward_body().unwrap(), body);
    let compressed: Bytes = [&first[..], &[1, 0, 0, 0, 0]].concat().into();
    assert_eq!(
        Call::parse(classified(), &compressed),
        Err(Error::Framing(framing::Error::Compressed))
    );
}

/// Passwords of repositories and manifests of a local sync pass here.
#[test]
fn bodies_and_codes_are_not_shown() {
    let body = json!({ "repo": "https://git.example/shop", "password": "canary" });
    let call = rest("POST", "/api/v1/repositories", &body.to_string()).unwrap();
    assert!(!format!("{call:?}").contains("canary"));
    let body = json!({ "manifests": ["canary"] });
    let call = rest("POST", "/api/v1/applications/shop/sync", &body.to_string()).unwrap();
    assert!(!format!("{call:?}").contains("canary"));
    let uri = "/auth/callback?code=canary".parse().unwrap();
    let class = classify(&Method::GET, &uri, &HeaderMap::new()).unwrap();
    assert!(!format!("{class:?}").contains("canary"));
}

#[test]
fn an_error_repeats_only_so_much_of_the_callers_text() {
    let long = "X".repeat(1 << 20);
    let refused = grpc_long(Operation::ApplicationDelete, long.as_bytes()).unwrap_err();
    assert!(refused.to_string().len() < 200);
    let body = json!({ long: 1 });
    let refused = rest("POST", "/api/v1/applications/shop/sync", &body.to_string());
    assert!(refused.unwrap_err().to_string().len() < 500);
}

/// A message whose field 1 is `bytes`, of any length.
fn grpc_long(operation: Operation, bytes: &[u8]) -> Result<Call, Error> {
    let mut message = Vec::new();
    prost::encoding::bytes::encode(1, &bytes.to_vec(), &mut message);
    grpc(operation, &message)
}

// ---- Sync ----

/// A message with every field.
fn full() -> proto::ApplicationSyncRequest {
    proto::ApplicationSyncRequest {
        name: "shop".into(),
        revision: Some("main".into()),
        dry_run: Some(false),
        prune: Some(true),
        strategy: Some(proto::SyncStrategy {
            apply: None,
            hook: Some(proto::SyncStrategyHook {
                sync_strategy_apply: Some(proto::SyncStrategyApply { force: Some(true) }),
            }),
        }),
        resources: vec![proto::SyncOperationResource {
            group: Some("apps".into()),
            kind: Some("Deployment".into()),
            name: Some("web".into()),
            namespace: None,
        }],
        manifests: vec!["{}".into()],
        infos: vec![proto::Info {
            name: Some("ticket".into()),
            value: Some("OPS-1".into()),
        }],
        retry_strategy: Some(proto::RetryStrategy {
            limit: Some(5),
            backoff: Some(proto::Backoff {
                duration: Some("5s".into()),
                factor: Some(2),
                max_duration: Some("3m".into()),
            }),
            refresh: Some(true),
        }),
        sync_options: Some(proto::SyncOptions {
            items: vec!["Replace=true".into()],
        }),
        app_namespace: Some("team-a".into()),
        project: Some("default".into()),
        source_positions: vec![2, 1],
        revisions: vec!["v1".into(), "main".into()],
    }
}

#[test]
fn a_sync_with_every_field_is_read_and_written_alike_on_both_wires() {
    let by_grpc = SyncRequest::from_grpc_message(&full().encode_to_vec()).unwrap();
    assert_eq!(by_grpc.to_grpc_message(), full().encode_to_vec());
    let by_json = SyncRequest::from_json(
        "shop",
        Some(json::read(&by_grpc.to_json().unwrap()).unwrap()),
    )
    .unwrap();
    assert_eq!(by_json, by_grpc);
    assert!(by_grpc.is_partial() && by_grpc.is_local() && by_grpc.is_forced());
    assert!(by_grpc.replaces() && by_grpc.prunes() && by_grpc.skips_hooks());
    assert!(!by_grpc.is_dry_run());
    assert_eq!(by_grpc.info("ticket"), Some("OPS-1"));
    assert_eq!(
        by_grpc.revisions().collect::<Vec<_>>(),
        [(2, "v1"), (1, "main")]
    );
}

#[test]
fn the_json_of_a_sync_has_the_names_of_argo_cd() {
    let request = SyncRequest::from_grpc_message(&full().encode_to_vec()).unwrap();
    let value: Value = serde_json::from_slice(&request.to_json().unwrap()).unwrap();
    assert_eq!(
        value,
        json!({
            "name": "shop", "revision": "main", "dryRun": false, "prune": true,
            "strategy": { "hook": { "force": true } },
            "resources": [{ "group": "apps", "kind": "Deployment", "name": "web" }],
            "manifests": ["{}"],
            "infos": [{ "name": "ticket", "value": "OPS-1" }],
            "retryStrategy": {
                "limit": 5, "refresh": true,
                "backoff": { "duration": "5s", "factor": 2, "maxDuration": "3m" },
            },
            "syncOptions": { "items": ["Replace=true"] },
            "appNamespace": "team-a", "project": "default",
            "sourcePositions": [2, 1], "revisions": ["v1", "main"],
        })
    );
}

#[test]
fn the_sync_of_the_web_ui_is_taken() {
    let body = json!({
        "appNamespace": "argocd", "revision": "HEAD", "prune": false, "dryRun": false,
        "strategy": { "hook": { "force": false } }, "resources": null, "syncOptions": null,
    });
    let call = rest("POST", "/api/v1/applications/shop/sync", &body.to_string()).unwrap();
    assert_eq!(
        call.app.clone().unwrap(),
        target("shop", Some("argocd"), None)
    );
    let Body::Sync(request) = &call.body else {
        panic!("{call:?}")
    };
    assert_eq!(request.revision(), Some("HEAD"));
    assert!(!request.is_partial());
    let sent: Value = serde_json::from_slice(&call.forward_body().unwrap()).unwrap();
    assert_eq!(
        sent,
        json!({
            "name": "shop", "appNamespace": "argocd", "revision": "HEAD", "prune": false,
            "dryRun": false, "strategy": { "hook": { "force": false } },
        })
    );
}

#[test]
fn a_field_of_a_sync_that_is_not_known_is_refused_by_its_number_at_any_depth() {
    let mut message = full().encode_to_vec();
    message.extend([0xa2, 0x06, 1, b'x']); // 100: "x"
    let refused = SyncRequest::from_grpc_message(&message).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`ApplicationSyncRequest` has the unknown field 100"
    );
    // resources: { 5: 1 }
    let message = [field(1, b"shop"), field(7, &[0x28, 1])].concat();
    let refused = SyncRequest::from_grpc_message(&message).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`ApplicationSyncRequest.resources` has the unknown field 5"
    );
}

#[test]
fn a_key_of_a_sync_that_is_not_known_twice_or_misspelt_is_refused_by_its_name() {
    for (body, word) in [
        (r#"{"sources": []}"#, "sources"),
        (r#"{"revision": "main", "REVISION": "1"}"#, "REVISION"),
        (r#"{"revision": "a", "revision": "b"}"#, "revision"),
        (r#"{"MANIFESTS": ["x"]}"#, "MANIFESTS"),
        (
            r#"{"strategy": {"hook": {"syncStrategyApply": {}}}}"#,
            "syncStrategyApply",
        ),
        (r#"{"retryStrategy": {"backoff": {"jitter": 1}}}"#, "jitter"),
        (r#"{"dryRun": true} {"dryRun": false}"#, "trailing"),
        (r#"{"resources": [{"exclude": true}]}"#, "exclude"),
    ] {
        let refused = rest("POST", "/api/v1/applications/shop/sync", body).unwrap_err();
        assert!(refused.to_string().contains(word), "{body}: {refused}");
    }
}

#[test]
fn positions_and_revisions_must_pair_up() {
    for (positions, revisions) in [
        (vec![1, 2], vec!["a"]),
        (vec![], vec!["a"]),
        (vec![1], vec![]),
        (vec![0], vec!["a"]),
        (vec![-1], vec!["a"]),
        (vec![1, 1], vec!["a", "b"]),
    ] {
        let message = proto::ApplicationSyncRequest {
            source_positions: positions.clone(),
            revisions: revisions.into_iter().map(String::from).collect(),
            ..full()
        };
        let refused = SyncRequest::from_grpc_message(&message.encode_to_vec());
        assert!(matches!(refused, Err(Error::Sources(_))), "{positions:?}");
    }
}

#[test]
fn what_a_git_client_could_take_for_an_option_is_no_revision() {
    for text in ["--upload-pack=x", "-x", "main\nx", "a\0b"] {
        let message = proto::ApplicationSyncRequest {
            revision: Some(text.into()),
            ..full()
        };
        let refused = SyncRequest::from_grpc_message(&message.encode_to_vec());
        assert_eq!(refused, Err(Error::Revision(text.into())));
    }
}

// ---- Pinning ----

const SHA: &str = "3f2c1a93f2c1a93f2c1a93f2c1a93f2c1a93f2c1";

fn pinned(commits: &[&str]) -> Vec<crate::gate::PinnedSource> {
    commits
        .iter()
        .map(|commit| crate::gate::PinnedSource {
            repository: "https://git.example/shop".into(),
            asked: "main".into(),
            commit: crate::names::Commit::parse(*commit).unwrap(),
        })
        .collect()
}

fn decision() -> crate::names::DecisionId {
    crate::names::DecisionId::new(jiff::Timestamp::UNIX_EPOCH)
}

#[test]
fn pinning_a_single_source_sets_its_revision_and_leaves_the_rest() {
    let mut request = SyncRequest::from_grpc_message(&full().encode_to_vec()).unwrap();
    let id = decision();
    request
        .pin(&pinned(&[SHA]), false, None, &id, "ada@example.org")
        .unwrap();
    let info = |name: &str, value: &str| proto::Info {
        name: Some(name.into()),
        value: Some(value.into()),
    };
    let mut expected = full();
    expected.revision = Some(SHA.into());
    expected.source_positions.clear();
    expected.revisions.clear();
    expected.retry_strategy.as_mut().unwrap().refresh = Some(false);
    expected.infos = vec![
        info("ticket", "OPS-1"),
        info(INFO_DECISION, &id.to_string()),
        info(INFO_CALLER, "ada@example.org"),
    ];
    assert_eq!(request.message(), &expected);
}

#[test]
fn pinning_several_sources_names_every_position() {
    let mut request = SyncRequest::from_grpc_message(&full().encode_to_vec()).unwrap();
    request
        .pin(&pinned(&[SHA, "1.2.3"]), true, None, &decision(), "ada")
        .unwrap();
    assert_eq!(
        request.revisions().collect::<Vec<_>>(),
        [(1, SHA), (2, "1.2.3")]
    );
    assert_eq!(request.revision(), None);
}

#[test]
fn pinning_refuses_sources_that_the_application_does_not_have() {
    for (commits, multi_source) in [(vec![], true), (vec![], false), (vec![SHA, SHA], false)] {
        let mut request = SyncRequest::from_grpc_message(&full().encode_to_vec()).unwrap();
        let before = request.clone();
        let refused = request.pin(&pinned(&commits), multi_source, None, &decision(), "ada");
        assert!(matches!(refused, Err(Error::Pin { .. })));
        assert_eq!(request, before);
    }
}

#[test]
fn without_a_strategy_of_its_own_the_specs_is_taken_and_held() {
    let bare = proto::ApplicationSyncRequest {
        retry_strategy: None,
        ..full()
    };
    let spec = Retry {
        limit: Some(-1),
        backoff: None,
        refresh: Some(true),
    };
    let mut request = SyncRequest::from_grpc_message(&bare.encode_to_vec()).unwrap();
    request
        .pin(&pinned(&[SHA]), false, Some(spec.clone()), &decision(), "a")
        .unwrap();
    let held = Retry {
        refresh: Some(false),
        ..spec
    };
    assert_eq!(request.message().retry_strategy, Some(held));

    let mut request = SyncRequest::from_grpc_message(&bare.encode_to_vec()).unwrap();
    request
        .pin(&pinned(&[SHA]), false, None, &decision(), "a")
        .unwrap();
    // Said, so that Argo CD does not take the spec's of that moment.
    let none = Retry {
        limit: Some(0),
        backoff: None,
        refresh: Some(false),
    };
    assert_eq!(request.message().retry_strategy, Some(none));
}

#[test]
fn remarks_by_which_a_caller_claims_to_be_the_gate_are_removed() {
    let claim = |name: &str| proto::Info {
        name: Some(name.into()),
        value: Some("forged".into()),
    };
    let message = proto::ApplicationSyncRequest {
        infos: [
            "syncgate-decision",
            "Syncgate-Caller",
            " syncgate-caller ",
            "syncgate-rollback",
        ]
        .map(claim)
        .into(),
        ..full()
    };
    let mut request = SyncRequest::from_grpc_message(&message.encode_to_vec()).unwrap();
    request.stamp(&decision(), "ada");
    assert_eq!(request.message().infos.len(), 2);
    assert_eq!(request.info(INFO_CALLER), Some("ada"));
}

// ---- Properties ----

mod properties {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn request()(
            name in "[a-z][a-z0-9]{0,8}",
            revision in prop::option::of("[a-zA-Z0-9./ >=]{0,12}"),
            flags in any::<[Option<bool>; 4]>(),
            apply in any::<bool>(),
            manifests in prop::collection::vec(any::<String>(), 0..3),
            infos in prop::collection::vec((any::<Option<String>>(), any::<Option<String>>()), 0..3),
            retry in prop::option::of((any::<Option<i64>>(), any::<Option<i64>>())),
            revisions in prop::collection::vec("[a-z0-9.]{1,8}", 0..4),
            options in prop::option::of(prop::collection::vec(any::<String>(), 0..3)),
        ) -> proto::ApplicationSyncRequest {
            let [dry_run, prune, force, refresh] = flags;
            let inner = force.map(|force| proto::SyncStrategyApply { force: Some(force) });
            proto::ApplicationSyncRequest {
                name,
                revision,
                dry_run,
                prune,
                strategy: Some(proto::SyncStrategy {
                    apply: inner.filter(|_| apply),
                    hook: Some(proto::SyncStrategyHook { sync_strategy_apply: inner }),
                }),
                resources: vec![proto::SyncOperationResource::default(); usize::from(apply)],
                manifests,
                infos: infos
                    .into_iter()
                    .map(|(name, value)| proto::Info { name, value })
                    .collect(),
                retry_strategy: retry.map(|(limit, factor)| proto::RetryStrategy {
                    limit,
                    backoff: Some(proto::Backoff { factor, ..Default::default() }),
                    refresh,
                }),
                sync_options: options.map(|items| proto::SyncOptions { items }),
                app_namespace: None,
                project: Some(String::new()),
                source_positions: (1..).take(revisions.len()).collect(),
                revisions,
            }
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_on_both_wires(message in request()) {
            let read = SyncRequest::from_grpc_message(&message.encode_to_vec()).unwrap();
            prop_assert_eq!(read.message(), &message);
            let body = json::read(&read.to_json().unwrap()).unwrap();
            let again = SyncRequest::from_json(&message.name, Some(body)).unwrap();
            prop_assert_eq!(again.message(), &message);
        }

        #[test]
        fn arbitrary_messages_never_panic_and_are_stable_once_read(
            bytes in prop::collection::vec(any::<u8>(), 0..48),
        ) {
            if let Ok(request) = SyncRequest::from_grpc_message(&bytes) {
                let again = SyncRequest::from_grpc_message(&request.to_grpc_message()).unwrap();
                prop_assert_eq!(again, request);
            }
            for operation in Operation::all() {
                let _ = grpc(operation, &bytes);
            }
        }
    }
}

/// argocd-server 3.6 dereferences what is not there.
#[test]
fn a_message_that_argocd_server_would_die_of_is_refused() {
    for operation in [
        Operation::RepositoryGetAppDetails,
        Operation::RepositoryUpdate,
        Operation::RepositoryUpdateRepository,
        Operation::RepositoryUpdateWriteRepository,
    ] {
        assert!(
            matches!(grpc(operation, &[]), Err(Error::Missing(_))),
            "{operation}"
        );
        assert!(grpc(operation, &field(1, b"")).is_ok(), "{operation}");
    }
}
