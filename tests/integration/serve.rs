//! `syncgate serve`: what it says about its configuration, and how it ends.

use crate::world::{Call, Outside, Process, Wire, run};

#[tokio::test]
async fn every_mistake_of_a_configuration_is_named_with_its_key() {
    let outside = Outside::start().await;
    let file = outside.path().join("wrong.toml");
    let text = r#"
url = "ftp://gate"
colour = "red"

[listen]
address = "nowhere"

[upstream]
url = "http://argocd.example"
token = "file:missing"

[[oidc]]
issuer = "https://login.example"

[[environment]]
name = "prod"
mode = "maybe"
applications = { names = ["*-prod"] }
component = "{component}-prod"

[[environment.requires]]
suite = "integration"
environment = "stagging"
"#;
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    for arguments in [
        vec!["serve", "--config", file],
        vec!["serve", "--check", "--config", file],
    ] {
        let ran = run(arguments).await;
        assert_eq!(ran.code, 64, "{ran:?}");
        assert!(ran.out.is_empty(), "{ran:?}");
        for key in [
            "  url: ",
            "  colour: ",
            "  listen.address: ",
            "  upstream.url: ",
            "  upstream.token: ",
            "  oidc[0].cli_client_id: ",
            "  environment[0].mode: ",
            "  environment[0].requires[0].environment: ",
        ] {
            assert!(ran.err.contains(key), "{key} is not in {}", ran.err);
        }
    }
}

#[tokio::test]
async fn a_configuration_that_is_not_there_or_no_toml_is_one_mistake() {
    let outside = Outside::start().await;
    let file = outside.path().join("odd.toml");
    let file = file.to_str().unwrap();
    let ran = run(["serve", "--config", file]).await;
    assert_eq!(ran.code, 64, "{ran:?}");
    assert!(ran.err.contains("cannot be read"), "{ran:?}");
    std::fs::write(file, "url = [").unwrap();
    let ran = run(["serve", "--config", file]).await;
    assert_eq!(ran.code, 64, "{ran:?}");
    assert_eq!(run(["serve"]).await.code, 2);
}

#[tokio::test]
async fn check_says_that_all_is_in_order_or_where_a_policy_is_not() {
    let outside = Outside::start().await;
    let config = outside.write_config("");
    let config = config.to_str().unwrap();
    let ran = run(["serve", "--config", config, "--check"]).await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    assert!(!outside.store().exists(), "a check leaves nothing behind");
    let account = "callers reach Argo CD as the account of upstream.token";
    assert_eq!(ran.out.lines().nth(1), Some(account));
    let text = std::fs::read_to_string(config).unwrap();
    let named = text.replace("[upstream]", "[upstream]\ncallers = \"named\"");
    std::fs::write(config, named).unwrap();
    let ran = run(["serve", "--config", config, "--check"]).await;
    let issuer = "the issuer https://gate.example/syncgate/argocd and the clientID syncgate";
    assert!(ran.out.contains(issuer), "{ran:?}");
    outside.write_policy(
        "odd.cedar",
        "permit (principal, action, resource) when { colour };",
    );
    let ran = run(["serve", "--config", config, "--check"]).await;
    assert_eq!(ran.code, 64, "{ran:?}");
    assert!(ran.err.contains("odd.cedar"), "{ran:?}");
    let ran = run(["serve", "--config", config]).await;
    assert_eq!(ran.code, 64, "{ran:?}");
    assert!(ran.err.contains("odd.cedar"), "{ran:?}");
}

#[tokio::test]
async fn probes_and_metrics_are_on_the_admin_port_alone() {
    let outside = Outside::start().await;
    let process = Process::serve(&outside).await;
    let said = process
        .gate
        .ask(Wire::Grpc, &outside.alice(), &Call::list())
        .await;
    assert_eq!(said.code(), 0, "{said:?}");
    assert_eq!(process.admin.rest("GET", "/live", "", "").await.status, 200);
    let ready = process.admin.rest("GET", "/ready", "", "").await;
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &true.into()));
    let metrics = process.admin.rest("GET", "/metrics", "", "").await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(
        text.contains("operation=\"ApplicationService.List\""),
        "{text}"
    );
    outside.argocd.forget();
    for path in ["/metrics", "/ready", "/live"] {
        let said = process.gate.rest("GET", path, "", "").await;
        assert!(
            !String::from_utf8_lossy(&said.body).contains("syncgate_"),
            "{path}"
        );
        assert_eq!(
            process
                .admin
                .rest("GET", "/api/v1/applications", "", "")
                .await
                .status,
            404
        );
    }
}

#[tokio::test]
async fn a_second_gate_on_the_same_store_does_not_start() {
    let outside = Outside::start().await;
    let _first = Process::serve(&outside).await;
    let config = outside.write_config("");
    let ran = run(["serve", "--config", config.to_str().unwrap()]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("the store cannot be used"), "{ran:?}");
}

#[tokio::test]
async fn sigterm_lets_a_call_under_way_finish_and_ends_with_zero() {
    let outside = Outside::start().await;
    let mut process = Process::serve(&outside).await;
    let (arrived, arrival) = tokio::sync::mpsc::channel(1);
    let (go, wait) = tokio::sync::watch::channel(false);
    outside.argocd.at_forward(move |_| {
        let (arrived, mut wait) = (arrived.clone(), wait.clone());
        async move {
            arrived.send(()).await.unwrap();
            wait.wait_for(|go| *go).await.unwrap();
        }
    });
    let (gate, token) = (process.gate.clone(), outside.alice());
    let call = async move {
        gate.ask(Wire::Rest, &token, &Call::sync("checkout-staging"))
            .await
    };
    let call = outside.tasks.spawn(call);
    let mut arrival = arrival;
    arrival.recv().await.unwrap();
    process.terminate().await;
    let said = crate::world::eventually("the gate to stop listening", || async {
        let socket = tokio::net::TcpStream::connect(process.gate.address).await;
        socket.is_err().then_some(())
    });
    said.await;
    go.send(true).unwrap();
    assert_eq!(call.await.unwrap().code(), 0);
    assert_eq!(process.ended().await, 0);
}
