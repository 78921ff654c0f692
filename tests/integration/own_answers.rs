//! What the gate answers by itself: version, settings, who one is and what one may do, and calls that
//! it never takes.

use prost::Message as _;
use syncgate::argocd::operation::Operation;
use syncgate::argocd::proto::{
    CanIRequest, CanIResponse, GetUserInfoResponse, Settings, VersionMessage,
};
use syncgate::argocd::table::Handling;

use crate::world::{Call, GATE_TOKEN, Wire, World};

fn settings() -> Call {
    Call::read("/api/v1/settings", "/cluster.SettingsService/Get")
}

#[tokio::test]
async fn settings_carry_the_gates_sign_in_and_nothing_of_the_upstreams() {
    let world = World::new().await;
    // The CLI asks before it has a token, and with one that has expired.
    for token in ["", "garbage", &world.outside.alice()] {
        for wire in Wire::FRAMED {
            let said = world.gate.ask(wire, token, &settings()).await;
            assert_eq!(said.code(), 0, "{said:?}");
            assert!(
                !String::from_utf8_lossy(&said.body).contains("internal"),
                "{said:?}"
            );
            let [found] = said.messages::<Settings>().try_into().unwrap();
            let oidc = found.oidc_config.unwrap();
            assert_eq!(found.url.as_deref(), Some("https://gate.example"));
            assert_eq!(oidc.issuer, Some(world.outside.issuer.people()));
            assert_eq!(oidc.cli_client_id.as_deref(), Some("argocd-cli"));
            assert_eq!(
                (found.dex_config, found.user_logins_disabled),
                (None, Some(true))
            );
        }
        let headers = match token {
            "" => Vec::new(),
            token => vec![Wire::Rest.credential(token)],
        };
        let said = world.gate.ask_with(Wire::Rest, &headers, &settings()).await;
        let json = said.json();
        assert_eq!(json["url"], "https://gate.example");
        assert_eq!(json["oidcConfig"]["issuer"], world.outside.issuer.people());
        assert_eq!(json["userLoginsDisabled"], true);
        assert!(json.get("dexConfig").is_none(), "{json}");
        // The rest is the upstream's.
        assert_eq!(json["statusBadgeEnabled"], true);
        assert!(!json.to_string().contains("internal"), "{json}");
    }
    // What is asked of the upstream carries nothing of the caller's.
    let alice = world.outside.alice();
    for seen in world.outside.argocd.forwarded() {
        assert!(!format!("{:?}", seen.headers).contains(&alice), "{seen:?}");
    }
}

#[tokio::test]
async fn the_version_is_the_upstreams_and_everybodys() {
    let world = World::new().await;
    let call = Call::read("/api/version", "/version.VersionService/Version");
    for wire in Wire::FRAMED {
        let said = world.gate.ask_with(wire, &[], &call).await;
        let [version] = said.messages::<VersionMessage>().try_into().unwrap();
        assert_eq!(version.version.as_deref(), Some("v3.6.1+test"));
    }
    let said = world.gate.ask_with(Wire::Rest, &[], &call).await;
    assert_eq!(said.json()["Version"], "v3.6.1+test");
}

#[tokio::test]
async fn user_info_tells_who_one_is_for_the_gate() {
    let world = World::new().await;
    let path = "/api/v1/session/userinfo";
    let call = Call::read(path, "/session.SessionService/GetUserInfo");
    for wire in Wire::FRAMED {
        let said = world.gate.ask(wire, &world.outside.alice(), &call).await;
        let [info] = said.messages::<GetUserInfoResponse>().try_into().unwrap();
        assert_eq!(info.username.as_deref(), Some("alice@shop.example"));
        assert_eq!(
            (info.logged_in, info.groups),
            (Some(true), vec!["engineering".to_owned()])
        );
        let said = world.gate.ask_with(wire, &[], &call).await;
        let [info] = said.messages::<GetUserInfoResponse>().try_into().unwrap();
        assert_eq!(info, GetUserInfoResponse::default());
    }
    let said = world
        .gate
        .ask(Wire::Rest, &world.outside.alice(), &call)
        .await;
    assert_eq!(said.json()["iss"], world.outside.issuer.people());
    assert_eq!(said.json()["groups"], serde_json::json!(["engineering"]));
    let said = world.gate.ask_with(Wire::Rest, &[], &call).await;
    assert!(said.json()["loggedIn"].is_null(), "{said:?}");
}

#[tokio::test]
async fn can_i_answers_from_the_policies() {
    let world = World::new().await;
    let (alice, rita) = (world.outside.alice(), world.outside.rita());
    let asked = [
        (
            &alice,
            "applications",
            "sync",
            "shop/checkout-staging",
            "yes",
        ),
        (&alice, "applications", "sync", "shop/checkout-prod", "no"),
        (&alice, "applications", "get", "shop/checkout-prod", "yes"),
        (&rita, "applications", "sync", "shop/checkout-prod", "yes"),
        (&rita, "applications", "sync", "other/checkout-prod", "no"),
        (&rita, "applications", "sync", "shop/no-such-prod", "no"),
        (&rita, "applications", "sync", "*", "no"),
        (&rita, "exec", "create", "shop/checkout-prod", "no"),
    ];
    for (token, resource, action, subresource, expected) in asked {
        let path = format!("/api/v1/account/can-i/{resource}/{action}/{subresource}");
        let said = world.gate.rest("GET", &path, token, "").await;
        assert_eq!(said.json()["value"], expected, "{path}");
        let question = CanIRequest {
            resource: Some(resource.to_owned()),
            action: Some(action.to_owned()),
            subresource: Some(subresource.to_owned()),
        };
        for wire in Wire::FRAMED {
            let headers = [wire.credential(token)];
            let path = "/account.AccountService/CanI";
            let said = world
                .gate
                .framed(wire, &headers, path, &question.encode_to_vec())
                .await;
            let [answer] = said.messages::<CanIResponse>().try_into().unwrap();
            assert_eq!(answer.value.as_deref(), Some(expected), "{question:?}");
        }
    }
}

#[tokio::test]
async fn what_is_never_taken_is_refused_with_what_to_do_instead() {
    let world = World::new().await;
    world.outside.argocd.must_not_be_touched_by_callers();
    let token = world.outside.issuer.person("pete", &["platform"]);
    let mut count = 0;
    for operation in Operation::all() {
        let Handling::Refuse(sentence) = operation.row().handling else {
            continue;
        };
        count += 1;
        for wire in Wire::FRAMED {
            for headers in [vec![], vec![wire.credential(&token)]] {
                let said = world
                    .gate
                    .framed(wire, &headers, operation.row().grpc, b"")
                    .await;
                assert_eq!(said.code(), 7, "{operation:?}: {said:?}");
                assert!(said.sentence().starts_with(sentence), "{said:?}");
            }
        }
    }
    assert!(count >= 8, "{count}");
    let body = r#"{"username": "admin", "password": "admin"}"#;
    let said = world
        .gate
        .rest("POST", "/api/v1/session", &token, body)
        .await;
    assert_eq!((said.status, said.code()), (403, 7));
    assert!(said.sentence().contains("argocd login --sso"), "{said:?}");
}

#[tokio::test]
async fn files_of_the_web_ui_come_without_our_credential() {
    let world = World::new().await;
    let headers = [Wire::Rest.credential(&world.outside.alice())];
    for path in [
        "/",
        "/assets/images/logo.png",
        "/applications/checkout-prod",
    ] {
        world.outside.argocd.forget();
        let said = world
            .gate
            .send(Wire::Rest, "GET", path, &headers, "".into())
            .await;
        assert_eq!(said.status, 200, "{said:?}");
        let [seen] = world.outside.argocd.forwarded().try_into().unwrap();
        assert_eq!(seen.path, path);
        let all = format!("{:?}", seen.headers);
        assert!(!all.contains(GATE_TOKEN) && !seen.headers.contains_key("authorization"));
    }
}

#[tokio::test]
async fn signing_out_forgets_the_cookie() {
    let world = World::new().await;
    world.outside.argocd.must_not_be_touched_by_callers();
    let said = world
        .gate
        .rest("GET", "/auth/logout", &world.outside.alice(), "")
        .await;
    assert_eq!((said.status, said.header("location")), (303, "/"));
    assert!(
        said.header("set-cookie")
            .starts_with("argocd.token=; Path=/; Max-Age=0")
    );
}

#[tokio::test]
async fn a_terminal_opens_for_nobody_who_may_not_deploy_there() {
    let world = World::new().await;
    world.outside.argocd.must_not_be_touched_by_callers();
    let path = "/terminal?appName=checkout-prod&projectName=shop&pod=checkout-1&container=main";
    let handshake = [
        ("connection", "upgrade".to_owned()),
        ("upgrade", "websocket".to_owned()),
        ("sec-websocket-version", "13".to_owned()),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==".to_owned()),
        ("origin", "https://gate.example".to_owned()),
    ];
    let said = world
        .gate
        .send(Wire::Rest, "GET", path, &handshake, "".into())
        .await;
    assert_eq!((said.status, said.code()), (401, 16), "{said:?}");
    for token in [
        world.outside.alice(),
        world.outside.sam(),
        world.outside.nobody(),
    ] {
        let headers = [&handshake[..], &[Wire::Rest.credential(&token)]].concat();
        let said = world
            .gate
            .send(Wire::Rest, "GET", path, &headers, "".into())
            .await;
        assert_eq!((said.status, said.code()), (403, 7), "{said:?}");
    }
    // Who may is still not taken there by a page of another site.
    let foreign = [
        &handshake[..4],
        &[
            ("origin", "https://evil.example".to_owned()),
            Wire::Rest.credential(&world.outside.rita()),
        ],
    ]
    .concat();
    let said = world
        .gate
        .send(Wire::Rest, "GET", path, &foreign, "".into())
        .await;
    assert!([400, 403].contains(&said.status), "{said:?}");
}

#[tokio::test]
async fn what_argo_cd_has_beside_its_api_is_closed() {
    let world = World::new().await;
    world.outside.argocd.must_not_be_touched_by_callers();
    for path in [
        "/api/badge?name=checkout-prod",
        "/api/dex/auth",
        "/api/webhook",
        "/auth/callback?code=x",
        "/auth/login",
        "/swagger-ui",
        "/swagger.json",
    ] {
        for method in ["GET", "POST"] {
            let said = world
                .gate
                .rest(method, path, &world.outside.rita(), "{}")
                .await;
            assert_eq!(said.status, 403, "{method} {path}: {said:?}");
        }
    }
}
