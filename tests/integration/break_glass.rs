//! Break-glass: what has not been tested goes out in an emergency, nothing else does, and the tests stay owed.

use serde_json::{Value, json};
use syncgate::record::Word;

use crate::admission::{CONTROLLER, Review, ask, auto_sync};
use crate::evidence::{assert_prod_is_closed, assert_prod_is_open, begin_staging};
use crate::hold::Ahead;
use crate::world::{Call, FIRST, Outside, Receiver, SECOND, Said, Wire, World, eventually, run};

const TERMS: &str = r#"
[[role]]
name = "break-glass"
groups = [{ issuer = "@PEOPLE@", group = "on-call" }]

[break_glass]
expires = "100s"
due = "200s"
"#;
const WHY: &str = "payments are down, INC-4711";
const PAGE: &str = "/syncgate/v1/break-glass";

/// A release manager who may break the glass.
fn gina(world: &World) -> String {
    let issuer = &world.outside.issuer;
    issuer.person("gina", &["release", "on-call"])
}

/// A sync in an emergency, as the CLI sends it with `--info break-glass=WHY`.
async fn emergency(world: &World, token: &str, application: &str, why: &str) -> Said {
    let body = json!({ "infos": [{ "name": "break-glass", "value": why }] });
    let path = format!("/api/v1/applications/{application}/sync");
    let gate = &world.gate;
    gate.rest("POST", &path, token, &body.to_string()).await
}

async fn listed(world: &World, token: &str) -> Vec<Value> {
    let said = world.gate.rest("GET", PAGE, token, "").await;
    assert_eq!(said.status, 200, "{said:?}");
    let list = said
        .json()
        .get("break_glass")
        .and_then(Value::as_array)
        .cloned();
    list.unwrap_or_default()
}

#[tokio::test]
async fn who_may_not_break_it_or_does_not_say_why_rolls_out_nothing() {
    let world = World::with_sections(Outside::start().await, TERMS).await;
    let (gina, rita) = (gina(&world), world.outside.rita());
    world.outside.argocd.forget();
    let said = emergency(&world, &rita, "checkout-prod", WHY).await;
    assert_eq!((said.status, said.code()), (403, 7), "{said:?}");
    let needs = "breaking the glass needs the role `break-glass`";
    assert!(said.sentence().contains(needs), "{}", said.sentence());
    assert!(
        !said.sentence().contains("integration"),
        "{}",
        said.sentence()
    );
    for nothing in ["", "  ", "one\nand two"] {
        let said = emergency(&world, &gina, "checkout-prod", nothing).await;
        assert_eq!(said.status, 400, "{said:?}");
        assert!(
            said.sentence().contains("must say why in one line"),
            "{}",
            said.sentence()
        );
    }
    assert!(world.outside.argocd.forwarded().is_empty());
    assert!(listed(&world, &rita).await.is_empty());
    // Only who may is told how.
    let way_out =
        "; in an emergency: argocd app sync checkout-prod --info break-glass=WHY. decision ";
    for (token, may) in [(&gina, true), (&rita, false)] {
        let said = world
            .gate
            .ask(Wire::Rest, token, &Call::sync("checkout-prod"))
            .await;
        assert_eq!(said.code(), 9, "{said:?}");
        assert_eq!(
            said.sentence().contains(way_out),
            may,
            "{}",
            said.sentence()
        );
    }
}

#[tokio::test]
async fn who_may_rolls_out_what_is_not_tested_and_it_stays_open_until_it_is() {
    let ahead = Ahead::default();
    let world = World::at(ahead.clock(), Outside::start().await, TERMS).await;
    let (gina, rita) = (gina(&world), world.outside.rita());
    world.outside.argocd.forget();
    let said = emergency(&world, &gina, "checkout-prod", WHY).await;
    assert_eq!(said.code(), 0, "{said:?}");
    let sync = world.outside.argocd.only_sync();
    assert_eq!(sync.revision.as_deref(), Some(FIRST));
    let remarks: Vec<_> = sync
        .infos
        .iter()
        .map(|info| (info.name(), info.value()))
        .collect();
    assert!(remarks.contains(&("break-glass", WHY)), "{remarks:?}");
    let opening = world.record(said.decision()).await.opening;
    assert_eq!(opening.word, Word::Permit);
    assert_eq!(opening.request["break_glass"], WHY);
    assert_eq!(opening.planned[0].break_glass.as_deref(), Some("asked"));
    let context = &opening.evaluation[0]["request"]["context"];
    assert_eq!(
        (&context["break_glass"], &context["finding"]),
        (&json!("asked"), &json!("blocked"))
    );

    let [open] = &listed(&world, &rita).await[..] else {
        panic!("one")
    };
    assert_eq!(open["decision"], said.decision().to_string());
    assert_eq!(
        (&open["by"], &open["justification"]),
        (&json!("gina@shop.example"), &json!(WHY))
    );
    assert_eq!(open["closed_at"], Value::Null);
    assert_eq!(open["scope"][0]["application"]["name"], "checkout-prod");
    assert_eq!(open["scope"][0]["paid"], Value::Null);
    assert!(listed(&world, &world.outside.nobody()).await.is_empty());

    // Whoever may deploy there may roll the same out again, until it expires.
    assert_prod_is_open(&world, FIRST).await;
    ahead.by(101);
    assert_prod_is_closed(&world, "has no passing 'integration' run in staging").await;
}

#[tokio::test]
async fn nothing_but_the_tests_closes_it() {
    let world = World::with_sections(Outside::start().await, TERMS).await;
    let (gina, rita) = (gina(&world), world.outside.rita());
    let said = emergency(&world, &gina, "checkout-prod", WHY).await;
    assert_eq!(said.code(), 0, "{said:?}");
    let page = format!("{PAGE}/{}", said.decision());
    for method in ["DELETE", "PATCH", "POST", "PUT"] {
        let said = world.gate.rest(method, &page, &gina, "{}").await;
        assert_eq!(said.status, 405, "{said:?}");
    }
    begin_staging(&world).await;
    let finished = world.report("passed").await;
    world.outside.argocd.finish("checkout-staging", "Succeeded");
    let closed = eventually("its end", || async {
        let shown = world.gate.rest("GET", &page, &rita, "").await.json();
        (!shown["closed_at"].is_null()).then_some(shown)
    })
    .await;
    assert_eq!(closed["scope"][0]["paid"], json!([finished["run"]]));
    let (path, sam) = (
        "/syncgate/v1/log?operation=BreakGlass.close",
        world.outside.sam(),
    );
    let log = world.gate.rest("GET", path, &sam, "").await.json();
    let entries = log["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{log}");
    assert_eq!(
        entries[0]["opening"]["request"]["opened_by"],
        said.decision().to_string()
    );
    assert_eq!(
        entries[0]["opening"]["request"]["runs"],
        json!([finished["run"]])
    );
}

#[tokio::test]
async fn it_cannot_be_widened() {
    let world = World::with_sections(Outside::start().await, TERMS).await;
    let gina = gina(&world);
    let said = emergency(&world, &gina, "checkout-prod", WHY).await;
    assert_eq!(said.code(), 0, "{said:?}");
    assert_prod_is_open(&world, FIRST).await;
    // Another commit, another application, other parameters.
    world.outside.argocd.push(SECOND);
    assert_prod_is_closed(&world, "has no passing").await;
    world.outside.argocd.push(FIRST);
    assert_prod_is_open(&world, FIRST).await;
    let other = world
        .gate
        .ask(Wire::Rest, &world.outside.rita(), &Call::sync("cart-prod"))
        .await;
    assert_eq!((other.status, other.code()), (400, 9), "{other:?}");
    world.outside.argocd.change("checkout-prod", |application| {
        for source in ["/spec/source", "/status/sync/comparedTo/source"] {
            *application.pointer_mut(source).unwrap() =
                json!({"repoURL": application["spec"]["source"]["repoURL"], "path": "elsewhere", "targetRevision": "main"});
        }
    });
    assert_prod_is_closed(&world, "has no passing").await;
    // To break it is not to be allowed to deploy.
    let alice = world
        .outside
        .issuer
        .person("al", &["engineering", "on-call"]);
    let said = emergency(&world, &alice, "checkout-prod", WHY).await;
    assert_eq!((said.status, said.code()), (403, 7), "{said:?}");
}

#[tokio::test]
async fn what_it_was_broken_for_goes_out_by_itself_and_nothing_else_does() {
    let world = World::with_admission(TERMS).await;
    let (before, after) = auto_sync(&world, "checkout-prod", FIRST);
    let review = || Review::of(CONTROLLER, &before, &after);
    assert_eq!(ask(world.door(), review()).await["allowed"], false);
    let asked = json!({ "application": "checkout-prod", "justification": WHY }).to_string();
    let refused = world
        .gate
        .rest("POST", PAGE, &world.outside.rita(), &asked)
        .await;
    assert_eq!(refused.status, 403, "{refused:?}");
    let broken = world.gate.rest("POST", PAGE, &gina(&world), &asked).await;
    assert_eq!(broken.status, 201, "{broken:?}");
    let record = world.record(broken.decision()).await;
    assert_eq!(
        (record.opening.word, record.opening.operation.as_str()),
        (Word::Permit, "BreakGlass.open")
    );
    assert!(world.outside.argocd.forwarded().is_empty());
    assert_eq!(ask(world.door(), review()).await["allowed"], true);
    eventually("the refresh by which Argo CD tries again", || async {
        let asked = world.outside.argocd.own_questions();
        let refresh = |path: &String| path.contains("checkout-prod") && path.contains("refresh=");
        asked.iter().any(refresh).then_some(())
    })
    .await;
    let (before, after) = auto_sync(&world, "checkout-prod", SECOND);
    let other = ask(world.door(), Review::of(CONTROLLER, &before, &after)).await;
    assert_eq!(other["allowed"], false, "{other}");
    // Staging requires nothing, and owes nothing.
    let asked = json!({ "application": "checkout-staging", "justification": WHY }).to_string();
    let staging = world
        .outside
        .issuer
        .person("eva", &["engineering", "on-call"]);
    let broken = world.gate.rest("POST", PAGE, &staging, &asked).await;
    assert_eq!(
        (broken.status, &broken.json()["scope"][0]["paid"]),
        (201, &json!([])),
        "{broken:?}"
    );
}

#[tokio::test]
async fn people_are_told_of_it_and_each_day_of_tests_that_are_overdue() {
    let (ahead, receiver) = (Ahead::default(), Receiver::down());
    let sections = format!("{TERMS}{}", receiver.section());
    let world = World::at(ahead.clock(), Outside::start().await, &sections).await;
    receiver.up(&world.outside.tasks).await;
    let said = emergency(&world, &gina(&world), "checkout-prod", WHY).await;
    assert_eq!(said.code(), 0, "{said:?}");
    let (_, opened) = receiver.gets(1).await.remove(0);
    assert_eq!(opened["type"], "dev.syncgate.break-glass.opened");
    assert_eq!(opened["id"], said.decision().to_string());
    let text = opened["data"]["text"].as_str().unwrap();
    assert!(
        text.starts_with("gina@shop.example broke the glass for checkout-prod until "),
        "{text}"
    );
    assert!(text.ends_with(WHY), "{text}");
    for (seconds, nth) in [(201, 1), (201 + 86_400, 2)] {
        ahead.by(seconds);
        let got = receiver.gets(nth + 1).await;
        let (_, overdue) = &got[nth];
        assert_eq!(overdue["type"], "dev.syncgate.break-glass.overdue");
        assert_eq!(overdue["id"], format!("{}-overdue-{nth}", said.decision()));
        let text = overdue["data"]["text"].as_str().unwrap();
        assert!(
            text.starts_with("the tests of checkout-prod are missing, which gina"),
            "{text}"
        );
    }
    assert_eq!(receiver.gets(3).await.len(), 3);
}

#[tokio::test]
async fn the_commands_break_the_glass_and_show_what_is_open() {
    let world = World::with_sections(Outside::start().await, TERMS).await;
    let url = world.gate.url();
    let token = gina(&world);
    let options = ["--gate", &url, "--token", &token];
    let command = async |arguments: &[&str]| {
        let all = [&["break-glass"], arguments, &options].concat();
        run(all).await
    };
    let none = command(&["list"]).await;
    assert_eq!(
        (none.code, none.out.trim()),
        (0, "no glass was broken, as far as you may see"),
        "{none:?}"
    );
    let opened = command(&["open", "checkout-prod", "--justification", WHY]).await;
    assert_eq!(opened.code, 0, "{opened:?}");
    let owes = "checkout-prod in prod at 3f2c1a9: owes a passing 'integration' in staging";
    for part in [
        "OPEN, tests due by",
        "by gina@shop.example at ",
        WHY,
        "lets through until",
        owes,
    ] {
        assert!(opened.out.contains(part), "{part}: {}", opened.out);
    }
    let decision = opened.out.split_whitespace().next().unwrap();
    let shown = command(&["show", decision, "--output", "json"]).await;
    assert_eq!(shown.json()["decision"], decision);
    assert!(command(&["list"]).await.out.contains(owes));
    let unknown = command(&["show", "01J00000000000000000000000"]).await;
    assert_eq!(unknown.code, 1, "{unknown:?}");
    let said = run([
        "log",
        "show",
        decision,
        "--gate",
        &url,
        "--token",
        &world.outside.sam(),
    ])
    .await;
    assert!(
        said.out.contains(&format!("BREAK-GLASS  {WHY}")),
        "{}",
        said.out
    );
}

#[tokio::test]
async fn during_a_freeze_it_lets_its_plan_through_although_no_test_is_owed() {
    let frozen = format!(
        "{TERMS}\n[[freeze]]\nname = \"drill\"\nenvironments = [\"staging\"]\nreason = \"a drill\"\n\
         from = \"2026-01-01T00:00[UTC]\"\nuntil = \"2126-01-01T00:00[UTC]\"\n"
    );
    let world = World::with_sections(Outside::start().await, &frozen).await;
    let issuer = &world.outside.issuer;
    let (alice, eva) = (
        world.outside.alice(),
        issuer.person("eva", &["engineering", "on-call"]),
    );
    let call = Call::sync("checkout-staging");
    let said = world.gate.ask(Wire::Rest, &alice, &call).await;
    assert_eq!((said.status, said.code()), (403, 7), "{said:?}");
    let asked = json!({ "application": "checkout-staging", "justification": WHY }).to_string();
    let broken = world.gate.rest("POST", PAGE, &eva, &asked).await;
    assert_eq!(broken.status, 201, "{broken:?}");
    let page = format!("{PAGE}/{}", broken.decision());
    eventually("its end", || async {
        let shown = world.gate.rest("GET", &page, &alice, "").await.json();
        (!shown["closed_at"].is_null()).then_some(())
    })
    .await;
    let said = world.gate.ask(Wire::Rest, &alice, &call).await;
    assert_eq!(said.code(), 0, "{said:?}");
    world.outside.argocd.push(SECOND);
    let said = world.gate.ask(Wire::Rest, &alice, &call).await;
    assert_eq!((said.status, said.code()), (403, 7), "{said:?}");
}
