//! Freezes and stopped lines: nothing new goes out, what runs stays, and what waited goes on by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use syncgate::clock::Clock;
use syncgate::names::{Component, EnvironmentName};
use syncgate::record::Word;
use syncgate::store::DeploymentState;

use crate::admission::{CONTROLLER, Review, ask, auto_sync};
use crate::world::{Call, FIRST, Outside, SECOND, Said, Wire, World, eventually, run};

/// A clock that tests set forward, in seconds.
#[derive(Clone, Default)]
pub(crate) struct Ahead(Arc<AtomicI64>);

impl Ahead {
    pub(crate) fn by(&self, seconds: i64) {
        self.0.store(seconds, Ordering::SeqCst);
    }

    pub(crate) fn clock(&self) -> Clock {
        let (system, ahead) = (Clock::system(), Arc::clone(&self.0));
        Clock::from_fn(move || {
            system.now() + SignedDuration::from_secs(ahead.load(Ordering::SeqCst))
        })
    }
}

/// A freeze of `environment` from 100 to 200 seconds from now, and who may pass.
fn drill(environment: &str) -> String {
    let now: Timestamp = Clock::system().now();
    let at = |seconds| {
        let at = now + SignedDuration::from_secs(seconds);
        at.to_zoned(TimeZone::get("Europe/Zurich").unwrap())
    };
    format!(
        r#"
[[role]]
name = "freeze-passer"
groups = [{{ issuer = "@PEOPLE@", group = "on-call" }}]

[[freeze]]
name = "drill"
environments = ["{environment}"]
reason = "a drill, 100% of it"
from = "{}"
until = "{}"
"#,
        at(100),
        at(200)
    )
}

async fn sync(world: &World, token: &str, application: &str) -> Said {
    let call = Call::sync(application);
    world.gate.ask(Wire::Rest, token, &call).await
}

/// The operation of `checkout-staging` ends well, and the gate knows.
async fn finished(world: &World, commit: &str) {
    world.outside.argocd.finish("checkout-staging", "Succeeded");
    world
        .outside
        .argocd
        .change("checkout-staging", |application| {
            let source = application["spec"]["source"].clone();
            let history = &mut application["status"]["history"];
            let mut entries = history.as_array().cloned().unwrap_or_default();
            let id = entries.len() + 1;
            entries.push(json!({"id": id, "revision": commit, "source": source}));
            *history = json!(entries);
        });
    let staging = EnvironmentName::parse("staging").unwrap();
    let checkout = Component::parse("checkout").unwrap();
    eventually("the deployment succeeded", || async {
        let rows = world.app.store.deployments(&staging, &checkout, 1).await;
        let row = rows.unwrap().into_iter().next()?;
        let is_it = row.commits[0].as_str() == commit && row.state == DeploymentState::Succeeded;
        is_it.then_some(())
    })
    .await;
}

fn assert_held(said: &Said, because: &[&str]) {
    assert_eq!((said.status, said.code()), (403, 7), "{said:?}");
    for part in because {
        assert!(
            said.sentence().contains(part),
            "{part}: {}",
            said.sentence()
        );
    }
}

#[tokio::test]
async fn a_freeze_begins_and_ends_by_the_clock_and_lets_those_pass_who_may() {
    let ahead = Ahead::default();
    let outside = Outside::start().await;
    let world = World::at(ahead.clock(), outside, &drill("staging")).await;
    let alice = world.outside.alice();
    let gina = world
        .outside
        .issuer
        .person("gina", &["engineering", "on-call"]);
    let said = sync(&world, &alice, "checkout-staging").await;
    assert_eq!(said.code(), 0, "before it begins: {said:?}");
    finished(&world, FIRST).await;

    ahead.by(101);
    world.outside.argocd.push(SECOND);
    world.outside.argocd.forget();
    let said = sync(&world, &alice, "checkout-staging").await;
    let told = [
        "sync of checkout-staging refused: staging is frozen until ",
        " Europe/Zurich by 'drill' (a drill, 100 percent of it); wait until the freeze ends, or ask \
         somebody with the role `freeze-passer`. decision ",
    ];
    assert_held(&said, &told);
    let seconds: u32 = said.header("retry-after").parse().unwrap();
    assert!((1..100).contains(&seconds), "{seconds}");
    assert!(world.outside.argocd.forwarded().is_empty());
    let opening = world.record(said.decision()).await.opening;
    assert_eq!(
        (opening.word, &opening.determining[..]),
        (Word::Deny, &["freeze".to_owned()][..])
    );
    assert_eq!(opening.planned[0].moves, "forward");
    assert_eq!(opening.planned[0].held.freezes[0].name.as_str(), "drill");
    let context = &opening.evaluation[0]["request"]["context"];
    assert_eq!(
        (&context["freezes"], &context["stopped"]),
        (&json!(["drill"]), &json!(false))
    );
    // A dry run is no change; another environment is not frozen.
    let dry = "{\"dryRun\": true}";
    let path = "/api/v1/applications/checkout-staging/sync";
    assert_eq!(world.gate.rest("POST", path, &alice, dry).await.code(), 0);

    let said = sync(&world, &gina, "checkout-staging").await;
    assert_eq!(said.code(), 0, "who may pass: {said:?}");
    finished(&world, SECOND).await;
    // What was rolled out last stays as it is; what ran before is a change.
    let said = sync(&world, &alice, "checkout-staging").await;
    assert_eq!(said.code(), 0, "again: {said:?}");
    finished(&world, SECOND).await;
    let said = roll_back(&world, &alice).await;
    assert_held(
        &said,
        &["rollback of checkout-staging refused: staging is frozen"],
    );
    assert_eq!(
        world.record(said.decision()).await.opening.planned[0].moves,
        "back"
    );

    ahead.by(201);
    let said = roll_back(&world, &alice).await;
    assert_eq!(said.code(), 0, "after it has ended: {said:?}");
}

/// Back to [`FIRST`], the first entry of its history.
async fn roll_back(world: &World, token: &str) -> Said {
    let path = "/api/v1/applications/checkout-staging/rollback";
    world.gate.rest("POST", path, token, "{\"id\": 1}").await
}

async fn line(world: &World, token: &str, environment: &str, verb: &str, body: &Value) -> Said {
    let path = format!("/syncgate/v1/lines/{environment}/{verb}");
    world
        .gate
        .rest("POST", &path, token, &body.to_string())
        .await
}

#[tokio::test]
async fn a_line_is_stopped_and_started_on_record_by_who_may() {
    let world = World::new().await;
    let (alice, rita, sam) = (
        world.outside.alice(),
        world.outside.rita(),
        world.outside.sam(),
    );
    let nobody = world.outside.nobody();
    let because = json!({"reason": "payments fail"});
    for (token, environment, body, status) in [
        (&nobody, "staging", &because, 404),
        (&alice, "nowhere", &because, 404),
        (&alice, "staging", &json!({}), 400),
        (&alice, "staging", &json!({"reason": " "}), 400),
        (&alice, "staging", &json!({"reason": "two\nlines"}), 400),
        (&alice, "staging", &json!({"reason": "x".repeat(201)}), 400),
    ] {
        let said = line(&world, token, environment, "stop", body).await;
        assert_eq!(said.status, status, "{environment} {body}: {said:?}");
    }
    let stopped = line(&world, &sam, "staging", "stop", &because).await;
    assert_eq!(stopped.status, 200, "{stopped:?}");
    let opening = world.record(stopped.decision()).await.opening;
    assert_eq!(opening.operation, "Line.stop");
    assert_eq!(opening.effect, "write");
    assert_eq!(
        opening.request,
        json!({"environment": "staging", "reason": "payments fail"})
    );
    assert_eq!(opening.determining, ["security-stop-line"]);
    // It stays with the first stop.
    let other = json!({"reason": "me too"});
    let again = line(&world, &alice, "staging", "stop", &other).await;
    assert_eq!(again.json()["stopped"]["by"], "sam@shop.example");
    let shown = async |token: &str| {
        let said = world.gate.rest("GET", "/syncgate/v1/lines", token, "");
        said.await.json()["lines"].clone()
    };
    let lines = shown(&alice).await;
    assert_eq!(lines[0]["environment"], "staging");
    assert_eq!(lines[0]["stopped"]["reason"], "payments fail");
    assert_eq!(lines[1]["stopped"], Value::Null);
    assert_eq!(shown(&nobody).await, json!([]));

    let said = line(&world, &sam, "staging", "start", &json!({})).await;
    assert_eq!(said.status, 403, "{said:?}");
    let needs = "starting the line of dev or staging needs the role `engineer`";
    assert!(said.sentence().contains(needs), "{said:?}");
    let mended = json!({"reason": "mended"});
    let said = line(&world, &rita, "staging", "start", &mended).await;
    assert_eq!((said.status, &said.json()["stopped"]), (200, &Value::Null));
    let opening = world.record(said.decision()).await.opening;
    assert_eq!(opening.operation, "Line.start");
    assert_eq!(opening.request["reason"], "mended");
}

#[tokio::test]
async fn a_stopped_line_holds_what_is_new_and_nothing_else() {
    let world = World::new().await;
    let alice = world.outside.alice();
    for commit in [FIRST, SECOND] {
        world.outside.argocd.push(commit);
        let said = sync(&world, &alice, "checkout-staging").await;
        assert_eq!(said.code(), 0, "{said:?}");
        finished(&world, commit).await;
    }
    let because = json!({"reason": "payments fail"});
    let said = line(&world, &alice, "staging", "stop", &because).await;
    assert_eq!(said.status, 200, "{said:?}");
    let said = sync(&world, &alice, "checkout-staging").await;
    assert_eq!(said.code(), 0, "what runs stays: {said:?}");
    finished(&world, SECOND).await;

    world.outside.argocd.push(&"7".repeat(40));
    let said = sync(&world, &alice, "checkout-staging").await;
    let told = [
        "sync of checkout-staging refused: the line of staging was stopped at 20",
        " UTC by alice@shop.example (payments fail); wait until the line is started again. decision ",
    ];
    assert_held(&said, &told);
    let hint = said.headers.get("retry-after");
    assert!(hint.is_none(), "nobody knows when it ends: {hint:?}");
    // Going back is how a line is mended.
    let said = roll_back(&world, &alice).await;
    assert_eq!(said.code(), 0, "{said:?}");
    let moves = &world.record(said.decision()).await.opening.planned[0].moves;
    assert_eq!(moves, "back");
    let said = line(&world, &alice, "staging", "start", &json!({})).await;
    assert_eq!(said.status, 200, "{said:?}");
    let said = sync(&world, &alice, "checkout-staging").await;
    assert_eq!(said.code(), 0, "{said:?}");
}

/// Waits until the gate has Argo CD look at `checkout-staging` again.
async fn refreshed(world: &World) {
    eventually("the refresh by which Argo CD tries again", || async {
        let asked = world.outside.argocd.own_questions();
        let refreshed =
            |it: &String| it.contains("/checkout-staging?") && it.contains("refresh=normal");
        asked.iter().any(refreshed).then_some(())
    })
    .await;
}

#[tokio::test]
async fn automated_sync_waits_while_something_holds_it_and_goes_on_by_itself() {
    let ahead = Ahead::default();
    let world = World::with_admission_at(ahead.clock(), &drill("staging")).await;
    let (before, after) = auto_sync(&world, "checkout-staging", FIRST);
    let review = || Review::of(CONTROLLER, &before, &after);
    let refused = async |because: &str| {
        let response = ask(world.door(), review()).await;
        assert_eq!(response["allowed"], false, "{response}");
        let said = response["status"]["message"].as_str().unwrap();
        assert!(said.contains(because), "{said}");
        world.outside.argocd.forget();
    };
    let because = json!({"reason": "payments fail"});
    let rita = world.outside.rita();
    assert_eq!(
        line(&world, &rita, "staging", "stop", &because)
            .await
            .status,
        200
    );
    refused("the line of staging was stopped").await;
    assert_eq!(
        line(&world, &rita, "staging", "start", &json!({}))
            .await
            .status,
        200
    );
    refreshed(&world).await;

    ahead.by(101);
    refused("staging is frozen until").await;
    ahead.by(201);
    refreshed(&world).await;
    let response = ask(world.door(), review()).await;
    assert_eq!(response["allowed"], true, "{response}");
}

#[tokio::test]
async fn a_parent_is_refused_for_the_child_whose_environment_is_held() {
    let world = World::new().await;
    let source = |path: &str, target: &str| json!({"repoURL": "https://git.shop.example/shop.git", "path": path, "targetRevision": target});
    let object = |name: &str, source: &Value, policy: Value| {
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": name, "namespace": "argocd", "uid": format!("uid-{name}")},
            "spec": {
                "project": "shop", "source": source, "syncPolicy": policy,
                "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop-staging"},
            },
            "status": {
                "sync": {"status": "Synced", "revision": FIRST, "comparedTo": {"source": source}},
                "controllerNamespace": "argocd",
            },
        })
    };
    let armed = json!({"automated": {}});
    let child = object("pay-staging", &source("pay", FIRST), armed.clone());
    let mut changed = object("pay-staging", &source("pay", SECOND), armed);
    changed.as_object_mut().unwrap().remove("status");
    changed["metadata"].as_object_mut().unwrap().remove("uid");
    let root = object("root-prod", &source("root", FIRST), json!({}));
    world.outside.argocd.put(
        child,
        vec![json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})],
    );
    world.outside.argocd.put(root, vec![changed]);
    let rita = world.outside.rita();
    let because = json!({"reason": "payments fail"});
    assert_eq!(
        line(&world, &rita, "staging", "stop", &because)
            .await
            .status,
        200
    );
    let said = sync(&world, &rita, "root-prod").await;
    assert_held(
        &said,
        &["sync of root-prod refused: pay-staging: the line of staging was stopped"],
    );
    assert_eq!(
        line(&world, &rita, "staging", "start", &json!({}))
            .await
            .status,
        200
    );
    let said = sync(&world, &rita, "root-prod").await;
    assert_eq!(said.code(), 0, "{said:?}");
}

#[tokio::test]
async fn an_environment_that_observes_records_what_a_freeze_would_refuse() {
    let ahead = Ahead::default();
    ahead.by(101);
    let outside = Outside::start().await;
    let world = World::at(ahead.clock(), outside, &drill("observed")).await;
    let said = sync(&world, &world.outside.rita(), "checkout-observed").await;
    assert_eq!(said.code(), 0, "{said:?}");
    let opening = world.record(said.decision()).await.opening;
    assert_eq!(opening.word, Word::ObserveDeny);
    assert_eq!(opening.planned[0].held.freezes.len(), 1);
    let context = &opening.evaluation[0]["request"]["context"];
    assert_eq!(context["freezes"], json!(["drill"]));
}

#[tokio::test]
async fn a_check_of_the_configuration_shows_the_next_windows() {
    let outside = Outside::start().await;
    outside.write_config("");
    let file = outside.add_config(&drill("staging"));
    let checked = run(["serve", "--check", "--config", file.to_str().unwrap()]).await;
    assert_eq!(checked.code, 0, "{checked:?}");
    let shown = checked.out.lines().nth(2).unwrap();
    assert!(
        shown.starts_with("staging: will be frozen from 20"),
        "{shown}"
    );
    let end = " Europe/Zurich by 'drill': a drill, 100% of it";
    assert!(shown.ends_with(end), "{shown}");
}
