//! The commands that operators and pipelines run: their output and their exit codes.

use crate::world::{Call, Gate, Outside, Ran, Wire, World, run};

/// Runs a command against the gate with a token.
async fn at(gate: &Gate, token: &str, arguments: &[&str]) -> Ran {
    let url = gate.url();
    let options = ["--gate", url.as_str(), "--token", token];
    run(arguments.iter().copied().chain(options)).await
}

// Policies

#[tokio::test]
async fn policy_check_and_test_tell_by_their_exit_code() {
    let outside = Outside::start().await;
    let folder = outside.path().join("policies");
    let folder = folder.to_str().unwrap();
    for command in ["check", "test"] {
        let ran = run(["policy", command, folder]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let json = run(["policy", command, folder, "--output", "json"])
            .await
            .json();
        assert_eq!(json["ok"], true, "{json}");
    }
    // Valid, but determined by no case.
    outside.write_policy(
        "more.cedar",
        "@id(\"more\") forbid (principal, action, resource) when { context.now < 0 };",
    );
    assert_eq!(run(["policy", "check", folder]).await.code, 0);
    let ran = run(["policy", "test", folder]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("more"), "{ran:?}");
    // Not valid: a field that there is not.
    outside.write_policy(
        "more.cedar",
        "permit (principal, action, resource)\nwhen { context.moon };",
    );
    for command in ["check", "test"] {
        let ran = run(["policy", command, folder]).await;
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.out.contains("more.cedar:2"), "{ran:?}");
        let json = run(["policy", command, folder, "--output", "json"])
            .await
            .json();
        assert_eq!(json["ok"], false, "{json}");
    }
    assert_eq!(run(["policy", "check", "/no/such/folder"]).await.code, 1);
}

// The log

#[tokio::test]
async fn the_log_is_listed_and_shown_to_who_may_read_it() {
    let world = World::new().await;
    let (gate, sam) = (&world.gate, world.outside.sam());
    let said = gate
        .ask(
            Wire::Rest,
            &world.outside.rita(),
            &Call::sync("checkout-prod"),
        )
        .await;
    let decision = said.decision().to_string();
    world.record(said.decision()).await;
    let listed = at(gate, &sam, &["log", "list"]).await;
    assert_eq!(listed.code, 0, "{listed:?}");
    assert!(listed.out.contains(&decision), "{listed:?}");
    let arguments = ["log", "list", "--output", "json", "--app", "checkout-prod"];
    let json = at(gate, &sam, &arguments).await.json();
    assert_eq!(json["entries"][0]["decision"], decision, "{json}");
    let shown = at(gate, &sam, &["log", "show", &decision]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    for part in ["rita@shop.example", "checkout-prod", "evidence-required"] {
        assert!(shown.out.contains(part), "{part}: {}", shown.out);
    }
    let json = at(gate, &sam, &["log", "show", &decision, "--output", "json"])
        .await
        .json();
    assert_eq!(json["opening"]["word"], "deny");
    // The store can be read without asking the gate.
    let store = world.outside.store();
    let store = store.to_str().unwrap();
    let read = run([
        "log", "show", &decision, "--store", store, "--output", "json",
    ])
    .await;
    assert_eq!(read.json(), json);
}

#[tokio::test]
async fn the_log_answers_no_and_cannot_reach_by_exit_code() {
    let world = World::new().await;
    let (gate, sam) = (&world.gate, world.outside.sam());
    let nothing = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    for (token, arguments) in [
        (world.outside.alice(), vec!["log", "list"]),
        (world.outside.alice(), vec!["log", "show", nothing]),
        ("garbage".to_owned(), vec!["log", "list"]),
        (sam.clone(), vec!["log", "show", nothing]),
    ] {
        let ran = at(gate, &token, &arguments).await;
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
        assert!(ran.err.starts_with("syncgate: "), "{ran:?}");
    }
    assert_usage(&["log", "list"], &["log", "show"]).await;
    assert_cannot_reach(&["log", "list"]).await;
    assert_cannot_reach(&["log", "show", nothing]).await;
    let missing = world.outside.path().join("missing.db");
    let ran = run(["log", "list", "--store", missing.to_str().unwrap()]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
}

/// A command without a gate, and one without what it needs, are wrong usage.
async fn assert_usage(without_gate: &[&str], incomplete: &[&str]) {
    for arguments in [without_gate, incomplete] {
        let ran = run(arguments).await;
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{ran:?}");
    }
}

/// Where nobody listens, the exit code says so.
async fn assert_cannot_reach(arguments: &[&str]) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let options = ["--gate", url.as_str(), "--token", "a.b.c"];
    let ran = run(arguments.iter().copied().chain(options)).await;
    assert_eq!((ran.code, ran.out.as_str()), (69, ""), "{ran:?}");
}

// Evidence

const JUNIT: &str = r#"<?xml version="1.0"?>
<testsuites><testsuite name="pytest" tests="2" timestamp="2026-11-23T04:00:00+00:00">
<testcase classname="tests.test_pay" name="test_refund" time="0.1"/>
<testcase classname="tests.test_pay" name="test_total" time="0.1">@FAILURE@</testcase>
</testsuite></testsuites>"#;

fn junit(outside: &Outside, failure: &str) -> String {
    let file = outside.path().join("junit.xml");
    std::fs::write(&file, JUNIT.replace("@FAILURE@", failure)).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn evidence_is_submitted_listed_and_shown() {
    let world = World::new().await;
    let (gate, tests) = (&world.gate, world.outside.tests());
    gate.ask(
        Wire::Rest,
        &world.outside.alice(),
        &Call::sync("checkout-staging"),
    )
    .await;
    let file = junit(&world.outside, "");
    let submit = [
        "evidence",
        "submit",
        "--junit",
        &file,
        "--app",
        "checkout-staging",
    ];
    let submitted = at(gate, &tests, &submit).await;
    assert_eq!(submitted.code, 0, "{submitted:?}");
    let json = [
        &submit[..],
        &["--output", "json", "--environment", "staging"],
    ]
    .concat();
    // The same file again is no new run of the tests.
    let again = at(gate, &tests, &submit).await;
    assert!(
        again.code == 1 && again.out.contains("replayed"),
        "{again:?}"
    );
    let later = std::fs::read_to_string(&file)
        .unwrap()
        .replace("T04:00", "T04:01");
    std::fs::write(&file, later).unwrap();
    let json = at(gate, &tests, &json).await.json();
    assert_eq!(json["verdict"], "passed", "{json}");
    let run = json["run"].as_str().unwrap();
    let list = [
        "evidence",
        "list",
        "--app",
        "checkout-staging",
        "--output",
        "json",
    ];
    let listed = at(gate, &world.outside.alice(), &list).await.json();
    assert_eq!(listed["runs"].as_array().unwrap().len(), 3, "{listed}");
    let listed = at(gate, &world.outside.alice(), &["evidence", "list"]).await;
    assert!(listed.code == 0 && listed.out.contains(run), "{listed:?}");
    let shown = at(gate, &world.outside.alice(), &["evidence", "show", run]).await;
    assert!(
        shown.code == 0 && shown.out.contains("test_refund"),
        "{shown:?}"
    );
    let show = ["evidence", "show", run, "--output", "json"];
    let shown = at(gate, &world.outside.alice(), &show).await;
    assert_eq!(shown.json()["attempts"].as_array().unwrap().len(), 2);
}

/// What Surefire wrote, one file for each class: they are one run, with its retries, under one key.
#[tokio::test]
async fn many_files_are_one_run_and_a_file_that_breaks_off_is_named() {
    let world = World::new().await;
    let (gate, tests) = (&world.gate, world.outside.tests());
    let sync = Call::sync("checkout-staging");
    gate.ask(Wire::Rest, &world.outside.alice(), &sync).await;
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/junit/");
    let pattern = format!("{samples}surefire-*.xml");
    let submit = [
        "evidence",
        "submit",
        "--app",
        "checkout-staging",
        "--key",
        "build-7",
        "--output",
        "json",
    ];
    let all = [&submit[..], &["--junit", &pattern]].concat();
    let first = at(gate, &tests, &all).await;
    assert_eq!(first.code, 1, "{first:?}");
    let first = first.json();
    let counted = ["total", "passed", "failed", "error", "skipped", "retried"];
    let counted = counted.map(|key| first["tests"][key].as_u64().unwrap());
    assert_eq!(counted, [11, 5, 2, 2, 2, 1], "{first}");
    let again = at(gate, &tests, &all).await.json();
    assert_eq!(first["run"], again["run"]);

    let whole = std::fs::read_to_string(format!("{samples}surefire-cart.xml")).unwrap();
    let cut = world.outside.path().join("cut.xml");
    std::fs::write(&cut, whole.split_at(whole.len() / 2).0).unwrap();
    let broken = [&submit[..], &["--junit", cut.to_str().unwrap()]].concat();
    let broken = at(gate, &tests, &broken).await;
    assert_eq!(broken.code, 2, "{broken:?}");
    assert!(
        broken.err.contains("cut.xml` cannot be taken: line "),
        "{broken:?}"
    );
    assert!(
        broken
            .err
            .contains("the file breaks off here; submit it when"),
        "{broken:?}"
    );
}

#[tokio::test]
async fn evidence_is_withdrawn_by_command() {
    let world = World::new().await;
    let gate = &world.gate;
    gate.ask(
        Wire::Rest,
        &world.outside.alice(),
        &Call::sync("checkout-staging"),
    )
    .await;
    let reported = world.report("failed").await;
    let run = reported["run"].as_str().unwrap();
    let withdraw = ["evidence", "withdraw", run, "--reason", "the wrong cluster"];
    let withdrawn = at(gate, &world.outside.alice(), &withdraw).await;
    assert_eq!(withdrawn.code, 0, "{withdrawn:?}");
    assert!(
        withdrawn.out.contains("by alice@shop.example") && withdrawn.out.contains(run),
        "{withdrawn:?}"
    );
    let statement = ["evidence", "show", run, "--statement"];
    let statement = at(gate, &world.outside.alice(), &statement).await.json();
    assert_eq!(statement["predicate"]["result"], "FAILED", "{statement}");
    let withdraw = [&withdraw[..], &["--output", "json"]].concat();
    let json = at(gate, &world.outside.sam(), &withdraw).await.json();
    assert_eq!(json["withdrawn"]["by"], "alice@shop.example");
    let shown = at(gate, &world.outside.alice(), &["evidence", "show", run]).await;
    for part in ["(withdrawn)", "the wrong cluster", "meets no requirement"] {
        assert!(shown.out.contains(part), "{part}: {}", shown.out);
    }
}

#[tokio::test]
async fn evidence_answers_no_and_cannot_reach_by_exit_code() {
    let world = World::new().await;
    let (gate, tests) = (&world.gate, world.outside.tests());
    gate.ask(
        Wire::Rest,
        &world.outside.alice(),
        &Call::sync("checkout-staging"),
    )
    .await;
    let file = junit(
        &world.outside,
        "<failure message=\"3 is not 4\">assert</failure>",
    );
    let submit = [
        "evidence",
        "submit",
        "--junit",
        &file,
        "--app",
        "checkout-staging",
    ];
    // A run that failed is taken in, and is a no.
    let failed = at(gate, &tests, &submit).await;
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!((failed.out + &failed.err).contains("failed"));
    let refused = at(gate, &world.outside.alice(), &submit).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    let wrong = [&submit[..], &["--commit", crate::world::SECOND]].concat();
    let wrong = at(gate, &tests, &wrong).await;
    assert_eq!(wrong.code, 1, "{wrong:?}");
    let nothing = ["evidence", "show", "01ARZ3NDEKTSV4RRFFQ69G5FAV"];
    assert_eq!(at(gate, &tests, &nothing).await.code, 1);
    let [command, _, run] = nothing;
    let withdraw = [command, "withdraw", run, "--reason", "why"];
    assert_eq!(at(gate, &tests, &withdraw).await.code, 1);
    assert_usage(&withdraw, &withdraw[..3]).await;
    assert_cannot_reach(&withdraw).await;
    assert_usage(
        &submit,
        &["evidence", "submit", "--app", "checkout-staging"],
    )
    .await;
    assert_usage(&["evidence", "list"], &["evidence", "show"]).await;
    assert_cannot_reach(&[&submit[..], &["--retry-for", "0s"]].concat()).await;
    assert_cannot_reach(&["evidence", "list"]).await;
    assert_cannot_reach(&nothing).await;
}

#[tokio::test]
async fn a_gate_with_tls_is_reached_with_its_authority() {
    let world = World::with_tls().await;
    let port = world.gate.address.port();
    let url = format!("https://localhost:{port}");
    let ca = world.outside.path().join("cert.pem");
    let token = world.outside.sam();
    let options = [
        "log",
        "list",
        "--gate",
        url.as_str(),
        "--token",
        token.as_str(),
    ];
    let trusted = run(options
        .iter()
        .copied()
        .chain(["--ca", ca.to_str().unwrap()]))
    .await;
    assert_eq!(trusted.code, 0, "{trusted:?}");
    assert_eq!(run(options).await.code, 69);
}

// Lines

#[tokio::test]
async fn a_line_is_stopped_shown_and_started_by_command() {
    let world = World::new().await;
    let (gate, rita) = (&world.gate, world.outside.rita());
    let stop = ["line", "stop", "prod", "--reason", "payments fail"];
    let stopped = at(gate, &rita, &stop).await;
    assert_eq!(stopped.code, 0, "{stopped:?}");
    assert!(
        stopped.out.starts_with("prod: stopped since 2"),
        "{stopped:?}"
    );
    let shown = at(gate, &rita, &["line", "show"]).await;
    for part in [
        "staging: running\n",
        " by rita@shop.example: payments fail\n",
    ] {
        assert!(shown.out.contains(part), "{shown:?}");
    }
    let json = at(gate, &rita, &["line", "show", "--output", "json"]).await;
    assert_eq!(
        json.json()["lines"][1]["stopped"]["by"],
        "rita@shop.example"
    );
    let refused = at(gate, &world.outside.alice(), &["line", "start", "prod"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.err.contains("needs the role `release-manager`"),
        "{refused:?}"
    );
    let started = at(gate, &rita, &["line", "start", "prod"]).await;
    assert_eq!((started.code, started.out.as_str()), (0, "prod: running\n"));
    assert_usage(&stop, &stop[..3]).await;
    assert_cannot_reach(&stop).await;
    assert_cannot_reach(&["line", "show"]).await;
    assert_cannot_reach(&["line", "start", "prod"]).await;
}
