use http::HeaderValue;

use super::*;

fn ask(method: &str, uri: &str, content_type: Option<&str>) -> Result<Class, Error> {
    let mut headers = HeaderMap::new();
    if let Some(value) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
    }
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    classify(&method, &uri.parse().unwrap(), &headers)
}

fn api(method: &str, uri: &str, content_type: Option<&str>) -> Classified {
    match ask(method, uri, content_type) {
        Ok(Class::Api(classified)) => classified,
        other => panic!("{method} {uri}: {other:?}"),
    }
}

const JSON: Option<&str> = Some("application/json");
const SYNC: &str = "/application.ApplicationService/Sync";

#[test]
fn every_operation_is_found_on_grpc_and_grpc_web_by_its_exact_path() {
    for operation in Operation::all() {
        for (content_type, wire) in [(GRPC, Wire::Grpc), (GRPC_WEB, Wire::GrpcWeb)] {
            let found = api("POST", operation.row().grpc, Some(content_type));
            assert_eq!((found.operation, found.wire), (operation, wire));
            assert_eq!(found.forward_path, operation.row().grpc);
        }
    }
}

/// Advisories against gates like this one: each of these reached a method past its rule.
#[test]
fn a_grpc_path_that_is_not_exact_is_unknown() {
    for path in [
        "//application.ApplicationService/Sync",
        "/application.ApplicationService//Sync",
        "/application.ApplicationService/Sync/",
        "/application.ApplicationService/sync",
        "/APPLICATION.ApplicationService/Sync",
        "/application.ApplicationService/Syn%63",
        "/application.ApplicationService/Sync%20",
        "/application.ApplicationService/Sync?x=y",
        "/argocd/application.ApplicationService/Sync",
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/settings.SettingsService/Get",
    ] {
        for content_type in [GRPC, GRPC_WEB] {
            assert!(
                matches!(
                    ask("POST", path, Some(content_type)),
                    Err(Error::Path { .. })
                ),
                "{path}"
            );
        }
    }
    assert_eq!(
        Operation::from_grpc_path("application.ApplicationService/Sync"),
        None
    );
}

#[test]
fn only_the_two_exact_content_types_are_grpc() {
    for content_type in [
        "application/grpc+proto",
        "application/grpc-web",
        "application/grpc-web-text",
        "application/grpc; charset=utf-8",
        "Application/gRPC",
        "application/grpc-web+proto; x=y",
    ] {
        assert_eq!(
            ask("POST", SYNC, Some(content_type)),
            Err(Error::ContentType(content_type.into()))
        );
    }
}

#[test]
fn two_content_types_are_refused() {
    let mut headers = HeaderMap::new();
    headers.append(CONTENT_TYPE, HeaderValue::from_static(GRPC_WEB));
    headers.append(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let found = classify(&Method::POST, &SYNC.parse().unwrap(), &headers);
    assert!(matches!(found, Err(Error::ContentType(_))));
}

#[test]
fn grpc_content_types_decide_before_the_path() {
    for uri in ["/api/v1/applications/foo/sync", "/auth/logout", "/"] {
        assert!(matches!(
            ask("POST", uri, Some(GRPC_WEB)),
            Err(Error::Path { .. })
        ));
    }
    assert!(matches!(
        ask("GET", SYNC, Some(GRPC_WEB)),
        Err(Error::Method { .. })
    ));
}

#[test]
fn a_grpc_path_without_grpc_content_type_is_no_call() {
    assert!(matches!(ask("POST", SYNC, JSON), Err(Error::Method { .. })));
}

#[test]
fn rest_calls_carry_their_fields_and_are_written_anew() {
    let found = api("POST", "/api/v1/applications/sh%6Fp/sync?x=y", JSON);
    assert_eq!(found.operation, Operation::ApplicationSync);
    assert_eq!(found.wire, Wire::Rest);
    assert_eq!(found.path_param("name"), Some("shop"));
    // Sync reads no query: its body is the whole message.
    assert_eq!(found.forward_path, "/api/v1/applications/shop/sync");

    let found = api("GET", "/api/v1/applications/shop?refresh=hard", None);
    assert_eq!(found.operation, Operation::ApplicationGet);
    assert_eq!(found.forward_path, "/api/v1/applications/shop?refresh=hard");

    let found = api(
        "GET",
        "/api/v1/stream/applications/shop/resource-tree",
        None,
    );
    assert_eq!(found.operation, Operation::ApplicationWatchResourceTree);
    assert_eq!(found.wire, Wire::RestStream);

    let found = api("GET", "/api/v1/account/can-i/logs/get/default/shop", None);
    assert_eq!(found.operation, Operation::AccountCanI);
    assert_eq!(found.path_param("subresource"), Some("default/shop"));
}

#[test]
fn two_operations_on_one_rest_path_are_the_first_registered() {
    for (method, uri, operation) in [
        ("GET", "/api/v1/repositories", Operation::RepositoryList),
        ("POST", "/api/v1/repositories", Operation::RepositoryCreate),
        ("PUT", "/api/v1/repositories/r", Operation::RepositoryUpdate),
        (
            "DELETE",
            "/api/v1/repositories/r",
            Operation::RepositoryDelete,
        ),
    ] {
        assert_eq!(api(method, uri, JSON).operation, operation);
    }
}

#[test]
fn writing_by_rest_takes_exactly_json() {
    let uri = "/api/v1/applications/shop/sync";
    assert_eq!(
        api("POST", uri, Some("Application/JSON")).operation,
        Operation::ApplicationSync
    );
    for content_type in [
        None,
        Some("application/json; charset=utf-8"),
        Some("application/x-www-form-urlencoded"),
        Some("text/plain"),
    ] {
        assert!(matches!(
            ask("POST", uri, content_type),
            Err(Error::ContentType(_))
        ));
    }
    assert!(matches!(
        ask("DELETE", "/api/v1/applications/shop", None),
        Err(Error::ContentType(_))
    ));
}

#[test]
fn the_method_override_header_changes_nothing() {
    let mut headers = HeaderMap::new();
    headers.insert("x-http-method-override", HeaderValue::from_static("DELETE"));
    let found = classify(
        &Method::GET,
        &"/api/v1/applications/shop".parse().unwrap(),
        &headers,
    );
    assert!(matches!(found, Ok(Class::Api(c)) if c.operation == Operation::ApplicationGet));
}

#[test]
fn unknown_rest_paths_and_methods_are_told_apart() {
    for (method, uri) in [
        ("GET", "/api"),
        ("GET", "/api/v1"),
        ("GET", "/api/v2/applications"),
        ("GET", "/api/v1/applications/"),
        ("GET", "/API/v1/applications/x/y"),
        ("GET", "/api/v1/Applications"),
        ("GET", "/api/v1/applications/a/b/c/d"),
    ] {
        let found = ask(method, uri, JSON);
        if uri.starts_with("/API") {
            // Not the API for the upstream either: its web UI answers.
            assert!(matches!(found, Ok(Class::NonApi { .. })), "{uri}");
        } else {
            assert!(matches!(found, Err(Error::Path { .. })), "{uri}: {found:?}");
        }
    }
    for (method, uri) in [
        ("HEAD", "/api/v1/applications"),
        ("OPTIONS", "/api/v1/applications"),
        ("POST", "/api/v1/applications/shop"),
        ("get", "/api/v1/applications"),
    ] {
        assert!(
            matches!(ask(method, uri, JSON), Err(Error::Method { .. })),
            "{method} {uri}"
        );
    }
}

#[test]
fn paths_beside_the_api_are_a_closed_list() {
    for (method, uri, expected) in [
        ("GET", "/", NonApi::UiAsset),
        ("HEAD", "/assets/images/argo.png", NonApi::UiAsset),
        ("GET", "/extensions.js", NonApi::UiAsset),
        ("GET", "/applications/argocd/shop", NonApi::UiAsset),
        ("GET", "/healthz", NonApi::Healthz),
        ("GET", "/api/badge?name=shop", NonApi::Badge),
        ("POST", "/api/webhook", NonApi::Webhook),
        ("GET", "/terminal?pod=x", NonApi::Terminal),
        ("POST", "/extensions/metrics/api", NonApi::Extensions),
        ("GET", "/auth/login?return_url=x", NonApi::AuthLogin),
        ("GET", "/auth/callback?code=x", NonApi::AuthCallback),
        ("POST", "/auth/logout", NonApi::AuthLogout),
        ("POST", "/api/dex/token", NonApi::Dex),
        ("GET", "/download/argocd-linux-amd64", NonApi::Download),
        ("GET", "/swagger-ui", NonApi::Swagger),
        ("GET", "/swagger.json", NonApi::Swagger),
    ] {
        match ask(method, uri, None) {
            Ok(Class::NonApi {
                what, forward_path, ..
            }) => {
                assert_eq!(what, expected, "{uri}");
                assert_eq!(forward_path, uri);
            }
            other => panic!("{uri}: {other:?}"),
        }
    }
    for (method, uri) in [
        ("POST", "/"),
        ("DELETE", "/assets/x"),
        ("GET", "/api/webhook"),
        ("POST", "/terminal"),
    ] {
        assert!(
            matches!(ask(method, uri, JSON), Err(Error::Method { .. })),
            "{method} {uri}"
        );
    }
    assert!(matches!(
        ask("GET", "/terminal/", None),
        Err(Error::Path { .. })
    ));
}
