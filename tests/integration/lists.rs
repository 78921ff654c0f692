//! Lists and watches show what their caller may read, and nothing else.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde_json::Value;
use syncgate::argocd::proto::{ApplicationList, ApplicationWatchEvent};

use crate::world::{Call, Outside, Wire, World, within};

/// Partners list and watch, and read staging alone.
const PARTNER: &str = r#"
@id("partner-list")
@advice("listing needs the role `partner`")
permit (
  principal in Syncgate::Role::"partner",
  action in [
    Syncgate::Action::"ApplicationService.List",
    Syncgate::Action::"ApplicationService.Watch"
  ],
  resource
);

@id("partner-read")
@advice("reading staging needs the role `partner`")
permit (
  principal in Syncgate::Role::"partner",
  action in Syncgate::Action::"read",
  resource is Syncgate::Application
)
when { resource.environment == Syncgate::Environment::"staging" };
"#;

const CASES: &str = r#"[
  { "name": "partners list", "caller": { "roles": ["partner"] },
    "action": "ApplicationService.List", "decision": "allow", "reason": ["partner-list"] },
  { "name": "partners read staging", "caller": { "roles": ["partner"] },
    "action": "ApplicationService.Get", "application": { "environment": "staging" },
    "decision": "allow", "reason": ["partner-read"] },
  { "name": "partners do not read prod", "caller": { "roles": ["partner"] },
    "action": "ApplicationService.Get", "application": { "environment": "prod" },
    "decision": "deny", "reason": [] }
]"#;

const STAGING: [&str; 4] = [
    "auto-staging",
    "cart-staging",
    "checkout-staging",
    "multi-staging",
];
const WATCH: &str = "/api/v1/stream/applications";

/// A gate, and the token of a partner.
pub(crate) async fn world() -> (World, String) {
    let outside = Outside::start().await;
    outside.write_policy("partner.cedar", PARTNER);
    outside.write_policy("partner.cases.json", CASES);
    let world = World::over(outside).await;
    let token = world.outside.issuer.person("pia", &["partners"]);
    (world, token)
}

fn names(items: &Value) -> Vec<String> {
    let items = items.as_array().unwrap().iter();
    items
        .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_list_on_rest_shows_what_may_be_read() {
    let (world, pia) = world().await;
    let said = world.gate.ask(Wire::Rest, &pia, &Call::list()).await;
    assert_eq!(names(&said.json()["items"]), STAGING);
    let all = world
        .gate
        .ask(Wire::Rest, &world.outside.alice(), &Call::list())
        .await;
    assert_eq!(names(&all.json()["items"]).len(), 10);
    // A choice of fields does not leave out what is decided by.
    for query in [
        "?fields=items.metadata.name",
        "?fields=items.status,metadata",
        "?fields=",
    ] {
        let path = format!("/api/v1/applications{query}");
        let said = world.gate.rest("GET", &path, &pia, "").await;
        assert_eq!(said.json()["items"].as_array().unwrap().len(), 4, "{query}");
        assert!(
            !String::from_utf8_lossy(&said.body).contains("-prod"),
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_list_in_protobuf_shows_what_may_be_read() {
    let (world, pia) = world().await;
    for wire in Wire::FRAMED {
        let said = world.gate.ask(wire, &pia, &Call::list()).await;
        assert_eq!(said.code(), 0, "{said:?}");
        let [list] = said.messages::<ApplicationList>().try_into().unwrap();
        let names: Vec<_> = list
            .items
            .into_iter()
            .map(|a| a.metadata.unwrap().name.unwrap())
            .collect();
        assert_eq!(names, STAGING, "{wire:?}");
    }
}

#[tokio::test]
async fn a_watch_in_protobuf_shows_what_may_be_read() {
    let (world, pia) = world().await;
    for wire in Wire::FRAMED {
        let call = Call::read(WATCH, "/application.ApplicationService/Watch");
        let said = world.gate.ask(wire, &pia, &call).await;
        assert_eq!(said.code(), 0, "{said:?}");
        let events = said.messages::<ApplicationWatchEvent>();
        let names: Vec<_> = events
            .into_iter()
            .map(|event| event.application.unwrap().metadata.unwrap().name.unwrap())
            .collect();
        assert_eq!(names, STAGING, "{wire:?}");
    }
}

#[tokio::test]
async fn a_stream_of_events_shows_what_may_be_read_now_and_later() {
    let (world, pia) = world().await;
    for accept in ["text/event-stream", "application/json"] {
        let headers = [Wire::Rest.credential(&pia), ("accept", accept.to_owned())];
        let answer = world
            .gate
            .begin(Wire::Rest, "GET", WATCH, &headers, Bytes::new());
        let answer = answer.await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], accept);
        let mut body = answer.into_body();
        let mut text = String::new();
        let mut changed = false;
        let reading = async {
            while !text.contains("MODIFIED") {
                let frame = body.frame().await.unwrap().unwrap();
                text.push_str(&String::from_utf8_lossy(frame.data_ref().unwrap()));
                if !changed && text.contains("multi-staging") {
                    changed = true;
                    let touch = |application: &mut Value| application["status"]["n"] = 1.into();
                    world.outside.argocd.change("checkout-prod", touch);
                    world.outside.argocd.change("checkout-staging", touch);
                }
            }
        };
        within("a change", reading).await;
        for name in STAGING {
            assert!(text.contains(&format!("\"{name}\"")), "{accept}: {text}");
        }
        for hidden in ["-prod", "stray", "both-ways", "-observed"] {
            assert!(!text.contains(hidden), "{accept}: {hidden} in {text}");
        }
        assert_eq!(text.starts_with("data: "), accept == "text/event-stream");
    }
}

#[tokio::test]
async fn lists_of_runs_show_what_may_be_read() {
    let (world, pia) = world().await;
    let call = Call::sync("checkout-staging");
    world
        .gate
        .ask(Wire::Rest, &world.outside.alice(), &call)
        .await;
    world.report("passed").await;
    let count = async |token: String| {
        let said = world
            .gate
            .rest("GET", "/syncgate/v1/runs", &token, "")
            .await;
        assert_eq!(said.status, 200, "{said:?}");
        said.json()["runs"].as_array().unwrap().len()
    };
    assert_eq!(count(pia).await, 1);
    assert_eq!(count(world.outside.nobody()).await, 0);
}
