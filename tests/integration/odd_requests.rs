//! Requests written to be taken for others: odd paths, odd headers. What is forwarded is what was
//! decided on, or nothing is.

use serde_json::json;

use crate::world::{Call, GATE_TOKEN, Wire, World, raw_http1, raw_http2};

/// Ways to write the path of a sync that some server on the way might take for it.
const SYNC_PATHS: &[&str] = &[
    "//api/v1/applications/checkout-prod/sync",
    "/api//v1/applications/checkout-prod/sync",
    "/api/v1/applications//checkout-prod/sync",
    "/api/v1/applications/checkout-prod//sync",
    "/api/v1/applications/checkout-prod/sync/",
    "/api/v1/applications/checkout-prod/sync;x=y",
    "/api/v1/applications/checkout-prod;x=y/sync",
    "/api/v1/applications/checkout-prod/./sync",
    "/api/v1/applications/x/../checkout-prod/sync",
    "/api/v1/applications/x/%2e%2e/checkout-prod/sync",
    "/api/v1/applications/checkout-staging/../checkout-prod/sync",
    "/api/v1/applications/checkout-staging%2f..%2fcheckout-prod/sync",
    "/api/v1/applications/checkout-prod%2Fsync",
    "/api/v1/applications%2Fcheckout-prod/sync",
    "/api/v1/applications/checkout-prod%00/sync",
    "/api/v1/applications/checkout-prod%0a/sync",
    "/api/v1/applications/checkout-prod%20/sync",
    "/api/v1/applications/checkout-prod/sync%20",
    "/api/v1/applications/checkout-prod/sync%3Fx",
    "/api/v1/applications/checkout-prod/sync%23x",
    "/api/v1/applications/checkout-prod/sync#x",
    "/api/v1/applications/checkout-prod\\sync",
    "/api/v1/applications/checkout-prod/%73ync",
    "/api/v1/applications/checkout%2Dprod/sync",
    "/api/v1/applications/checkout-prod/Sync",
    "/api/v1/applications/Checkout-Prod/sync",
    "/API/v1/applications/checkout-prod/sync",
    "/%61pi/v1/applications/checkout-prod/sync",
    "/api/v1/applications/checkout-prod/sync%",
    "/api/v1/applications/checkout-prod/sync%zz",
    "/api/v1/applications/checkout-prod/%C0%AFsync",
    "/api/v1/applications/checkout-prod/sync?appNamespace=argocd",
    "/argocd/api/v1/applications/checkout-prod/sync",
    "http://elsewhere.example/api/v1/applications/checkout-prod/sync",
    "api/v1/applications/checkout-prod/sync",
    "*",
    "/syncgate/../api/v1/applications/checkout-prod/sync",
    "/syncgate/%2e%2e/api/v1/applications/checkout-prod/sync",
    "/SYNCGATE/v1/runs",
    "/syncgate//v1/runs",
];

fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: gate.example\r\nconnection: close\r\n\
         content-length: {length}\r\n{headers}\r\n{body}"
    )
    .into_bytes()
}

#[tokio::test]
async fn an_odd_path_never_syncs_what_its_caller_may_not() {
    let world = World::new().await;
    world.outside.argocd.must_not_be_touched_by_callers();
    let headers = format!(
        "content-type: application/json\r\nauthorization: Bearer {}\r\n",
        world.outside.alice()
    );
    for path in SYNC_PATHS {
        for method in ["POST", "post", "PUT", "PATCH", "DELETE"] {
            let bytes = request(method, path, &headers, "{}");
            let (status, text) = raw_http1(&world.gate, &bytes).await;
            assert!(
                [400, 403, 404, 405].contains(&status),
                "{method} {path}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn a_read_of_an_odd_path_carries_no_credential_of_ours() {
    let world = World::new().await;
    for path in SYNC_PATHS {
        let bytes = request("GET", path, "", "");
        raw_http1(&world.gate, &bytes).await;
    }
    // What is left are files of the web UI, which everybody may have.
    for seen in world.outside.argocd.forwarded() {
        assert!(!seen.path.starts_with("/api/"), "{}", seen.path);
        let headers = format!("{:?}", seen.headers);
        assert!(!headers.contains(GATE_TOKEN), "{}: {headers}", seen.path);
    }
}

#[tokio::test]
async fn a_grpc_path_that_is_not_exact_is_refused() {
    let world = World::new().await;
    world.outside.argocd.must_not_be_touched_by_callers();
    let token = world.outside.alice();
    let body = b"\0\0\0\0\x0f\x0a\x0dcheckout-prod";
    for path in [
        "application.ApplicationService/Sync",
        "//application.ApplicationService/Sync",
        "/application.ApplicationService//Sync",
        "/application.ApplicationService/Sync/",
        "/application.ApplicationService/Sync ",
        "/application.ApplicationService/Sync?x",
        "/application.ApplicationService/sync",
        "/APPLICATION.APPLICATIONSERVICE/SYNC",
        "/application.ApplicationService/Syn%63",
        "/api/v1/applications/checkout-prod/sync",
        "",
        "*",
    ] {
        for kind in [
            "application/grpc",
            "application/grpc+proto",
            "Application/gRPC",
        ] {
            let fields = [
                (":method", "POST"),
                (":scheme", "http"),
                (":authority", "gate.example"),
                (":path", path),
                ("content-type", kind),
                ("te", "trailers"),
                ("token", token.as_str()),
            ];
            let frame = raw_http2(&world.gate, &fields, body).await;
            assert!([1, 3, 7].contains(&frame), "{path} {kind}: frame {frame}");
        }
        if path.starts_with('/') && !path.contains(' ') {
            for wire in Wire::FRAMED {
                let headers = [wire.credential(&token)];
                let said = world.gate.framed(wire, &headers, path, &body[5..]).await;
                assert_eq!(said.code(), 7, "{path}: {said:?}");
            }
        }
    }
}

#[tokio::test]
async fn other_forms_of_the_grpc_content_types_are_refused() {
    let world = World::new().await;
    world.outside.argocd.must_not_be_touched_by_callers();
    let token = world.outside.alice();
    for kind in [
        "application/grpc-web",
        "application/grpc-web-text",
        "application/grpc-web+json",
        "application/grpc; x=y",
        "APPLICATION/GRPC-WEB+PROTO",
        "application/json",
        "text/plain",
    ] {
        let headers = format!("content-type: {kind}\r\ntoken: {token}\r\n");
        let path = "/application.ApplicationService/Sync";
        let bytes = request("POST", path, &headers, "\0\0\0\0\u{f}\n\u{d}checkout-prod");
        let (_, text) = raw_http1(&world.gate, &bytes).await;
        let refused = text.contains(" 403 ") || text.contains("grpc-status: 7");
        assert!(refused, "{kind}: {text}");
    }
}

#[tokio::test]
async fn what_a_caller_says_about_itself_does_not_arrive() {
    let world = World::new().await;
    let token = world.outside.alice();
    let names = [
        "X-Forwarded-User",
        "X-Forwarded-Email",
        "X-Forwarded-Uri",
        "x_forwarded_user",
        "X-Auth-Request-User",
        "X_Auth_Request_Groups",
        "X-Remote-User",
        "Remote-User",
        "Impersonate-User",
        "Impersonate-Group",
        "Grpc-Metadata-Token",
        "grpc_metadata_token",
        "Grpc-Metadata-Authorization",
        "Argocd-Username",
        "Argocd-User-Groups",
        "X-Original-Url",
        "X-Http-Method-Override",
        "X-Method-Override",
        "X-Real-Ip",
        "Forwarded",
        "Syncgate-Decision",
        "X-Syncgate-Caller",
        "X-Access-Token",
    ];
    let mut headers = format!("authorization: Bearer {token}\r\n");
    for name in names {
        for value in ["forged-1", "forged-2"] {
            headers += &[name, ": ", value, "\r\n"].concat();
        }
    }
    headers.push_str("x-forwarded-for: 10.9.8.7\r\nx-forwarded-proto: ftp\r\n");
    for connection in ["Connection", "connection", "CONNECTION"] {
        // Whoever names our headers there does not get them removed.
        headers += &[connection, ": authorization, x-forwarded-for, host\r\n"].concat();
    }
    let bytes = request("GET", "/api/v1/applications/checkout-prod", &headers, "");
    let (status, text) = raw_http1(&world.gate, &bytes).await;
    assert_eq!(status, 200, "{text}");
    let [seen] = world.outside.argocd.forwarded().try_into().unwrap();
    let all = format!("{:?}", seen.headers);
    assert!(
        !all.contains("forged") && !all.contains("10.9.8.7"),
        "{all}"
    );
    assert_eq!(
        seen.headers["authorization"],
        format!("Bearer {GATE_TOKEN}")
    );
    assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen.headers["x-forwarded-proto"], "http");
}

#[tokio::test]
async fn a_method_in_a_header_changes_nothing() {
    let world = World::new().await;
    world.outside.argocd.must_not_be_touched_by_callers();
    for name in [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ] {
        let headers = [
            Wire::Rest.credential(&world.outside.sam()),
            (name, "DELETE".to_owned()),
        ];
        let body = json!({}).to_string();
        let path = "/api/v1/applications/checkout-prod/sync";
        let said = world
            .gate
            .send(Wire::Rest, "POST", path, &headers, body.into())
            .await;
        assert_eq!(said.code(), 7, "{said:?}");
    }
}

#[tokio::test]
async fn an_argo_object_is_not_changed_as_a_resource_of_another_application() {
    let world = World::new().await;
    world.outside.argocd.must_not_be_touched_by_callers();
    let patch = r#""{\"operation\":{\"sync\":{}}}""#;
    for (method, path, body) in [
        (
            "POST",
            "/api/v1/applications/checkout-staging/resource?resourceName=checkout-prod&group=argoproj.io\
             &version=v1alpha1&kind=Application&namespace=argocd&patchType=application/merge-patch%2Bjson",
            patch,
        ),
        (
            "POST",
            "/api/v1/applications/checkout-staging/resource/actions?resourceName=checkout-prod\
             &group=argoproj%2Eio&version=v1alpha1&kind=Application&namespace=argocd",
            r#""toggle-auto-sync""#,
        ),
        (
            "POST",
            "/api/v1/applications/checkout-staging/resource/actions/v2",
            r#"{"name": "checkout-staging", "group": "argoproj.io", "kind": "Application",
                "resourceName": "checkout-prod", "action": "toggle-auto-sync"}"#,
        ),
        (
            "DELETE",
            "/api/v1/applications/checkout-staging/resource?resourceName=checkout-prod&group=ARGOPROJ.io\
             &version=v1alpha1&kind=Application&namespace=argocd",
            "",
        ),
    ] {
        let said = world
            .gate
            .rest(method, path, &world.outside.alice(), body)
            .await;
        assert_eq!(said.code(), 7, "{path}: {said:?}");
        assert!(
            said.sentence()
                .contains(" of checkout-prod in prod) refused"),
            "{path}: {said:?}"
        );
    }
    let said = world
        .gate
        .ask(Wire::Grpc, &world.outside.nobody(), &Call::list())
        .await;
    assert_eq!(said.code(), 7);
}
