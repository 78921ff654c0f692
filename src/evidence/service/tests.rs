//! Runs from their first call to what the gate finds, over a real store.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use serde_json::Value;

use super::*;
use crate::evidence::binding::{Claims, bind};
use crate::evidence::run::{Attempt, Collected, Outcome, Tool};
use crate::evidence::verdict::LeastShare;
use crate::gate::testing::{A, B, facts, operation, single};
use crate::gate::{self, Finding, GapKind, MatchBy, Place, Requirement};
use crate::names::{PodRef, Suite};
use crate::store::RunFilter;

mod attested;
mod hooks;
mod model;
mod withdrawing;

/// A gate's runs, with a clock that goes on by a second whenever it is asked.
struct World {
    runs: Runs,
    store: Store,
    clock: Clock,
    seconds: Arc<AtomicI64>,
    _folder: tempfile::TempDir,
}

/// A clock that goes on by a second whenever it is asked, and its seconds.
fn ticking() -> (Clock, Arc<AtomicI64>) {
    let seconds = Arc::new(AtomicI64::new(1_795_446_000));
    let source = Arc::clone(&seconds);
    let clock = Clock::from_fn(move || {
        Timestamp::from_second(source.fetch_add(1, Ordering::Relaxed)).unwrap()
    });
    (clock, seconds)
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("syncgate.db")).unwrap();
    let (clock, seconds) = ticking();
    World {
        runs: Runs::new(
            store.clone(),
            clock.clone(),
            "https://gate/",
            vec![required()],
        )
        .signed_by(attested::signers()),
        store,
        clock,
        seconds,
        _folder: folder,
    }
}

const JOB: &str = "https://k8s#system:serviceaccount:shop:tests";

fn attempt(test: &str, number: u32, outcome: Outcome) -> Attempt {
    Attempt {
        test: test.to_owned(),
        attempt: number,
        outcome,
        duration_ms: 3,
        started_at: Timestamp::UNIX_EPOCH,
        message: None,
        worker: None,
    }
}

fn new_run(attempts: &[Attempt]) -> NewRun {
    let tally: Tally = attempts.iter().collect();
    NewRun {
        application: "checkout-staging".into(),
        application_namespace: None,
        environment: None,
        suite: Suite::parse("integration").unwrap(),
        commits: None,
        dirty: None,
        collected: Collected {
            tests: tally.tests(),
            digest: tally.digest(),
            deselected: 0,
        },
        tool: Tool {
            name: "pytest".into(),
            version: None,
            plugin: None,
            python: None,
            platform: None,
        },
        options: Vec::new(),
        started_at: Timestamp::UNIX_EPOCH,
    }
}

fn subject() -> Subject {
    Subject {
        application: AppRef {
            namespace: None,
            name: "checkout-staging".into(),
        },
        environment: EnvironmentName::parse("staging").unwrap(),
        component: Component::parse("checkout").unwrap(),
    }
}

/// Prod requires the suite of all runs.
fn required() -> Required {
    Required {
        by: EnvironmentName::parse("prod").unwrap(),
        requirement: Requirement {
            suite: Suite::parse("integration").unwrap(),
            environment: subject().environment,
            max_age: None,
            least_share: LeastShare::default(),
            match_by: MatchBy::Commit,
            signed_by: Vec::new(),
        },
    }
}

/// The pod of the reporter, which belongs to the Job `tests`.
fn pod() -> PodRef {
    PodRef {
        namespace: "shop".into(),
        name: "tests-x7k2p".into(),
    }
}

/// `app` with the Job `tests` as a hook of its operation.
fn hooked(mut app: Value, kind: &str) -> Value {
    app["status"]["operationState"]["syncResult"]["resources"] = serde_json::json!([{
        "group": "batch", "kind": "Job", "namespace": "shop", "name": "tests", "hookType": kind,
    }]);
    app
}

fn varies() -> Vec<String> {
    vec!["path".to_owned()]
}

fn running(commit: &str) -> Value {
    let mut app = single();
    operation(&mut app, "Running", commit);
    app
}

fn ended(phase: &str, commit: &str) -> Value {
    let mut app = single();
    operation(&mut app, phase, commit);
    app
}

fn finish_of(attempts: &[Attempt]) -> Finish {
    let bad = attempts.iter().any(|a| a.outcome.is_bad());
    Finish {
        exit_status: i32::from(bad),
        finished_at: Timestamp::UNIX_EPOCH,
        batches: 1,
        attempts: attempts.len() as u64,
        interrupted: false,
        attestation: None,
    }
}

/// A sync of `component` in prod to `commit`.
fn planned(component: &Component, commit: &str) -> gate::ApplicationPlan {
    let mut app = single();
    app["metadata"]["name"] = format!("{component}-prod").into();
    for source in ["/spec/source", "/status/sync/comparedTo/source"] {
        app.pointer_mut(source).unwrap()["path"] = "checkout/prod".into();
    }
    app["status"]["sync"]["revision"] = commit.into();
    let environment = EnvironmentName::parse("prod").unwrap();
    let place = Place {
        environment: &environment,
        component,
        varies: &varies(),
        admission: false,
    };
    gate::plan(&facts(&app), gate::AskedRevisions::default(), place).unwrap()
}

impl World {
    fn reporter(&self) -> Reporter<'static> {
        Reporter {
            unique: JOB,
            decision: DecisionId::new(self.clock.now()),
        }
    }

    async fn open(&self, app: &Value, attempts: &[Attempt], key: Option<&str>) -> Opened {
        let pod = pod();
        let claims = Claims {
            pod: Some(&pod),
            ..Claims::default()
        };
        let binding = bind(&facts(app), claims, &varies(), self.clock.now()).unwrap();
        self.runs
            .open(self.reporter(), key, new_run(attempts), &subject(), binding)
            .await
            .unwrap()
    }

    async fn add(&self, run: &str, sequence: u64, attempts: &[Attempt]) -> Result<u64, Error> {
        let batch = AttemptBatch {
            sequence,
            attempts: attempts.to_vec(),
        };
        let acknowledged = self.runs.add(self.reporter(), run, batch).await?;
        Ok(acknowledged.next)
    }

    /// `attempts`, at another time than all before.
    fn made_now(&self, attempts: &[Attempt]) -> Vec<Attempt> {
        let started_at = self.clock.now();
        let made = attempts.iter().cloned();
        made.map(|attempt| Attempt {
            started_at,
            ..attempt
        })
        .collect()
    }

    fn minutes_pass(&self, minutes: i64) {
        self.seconds.fetch_add(60 * minutes, Ordering::Relaxed);
    }

    /// The loop's round on `checkout-staging`, which reads `app`.
    async fn settle(&self, app: &Value) -> Vec<(RunId, Counts)> {
        let (application, now) = (subject().application, facts(app));
        self.runs.hear(&application, &now).await.unwrap();
        self.runs.settle(&application, &now).await.unwrap()
    }

    /// A run about what `app` runs whose reporter falls silent after `attempts`.
    async fn silenced(&self, app: &Value, attempts: &[Attempt]) -> RunId {
        let run = self.open(app, &passing(), None).await.run;
        let attempts = self.made_now(attempts);
        self.add(&run, 0, &attempts).await.unwrap();
        RunId(Ulid::from_string(&run).unwrap())
    }

    /// Reports a whole run that begins while the application is as `before`, and ends as `after`.
    async fn report(&self, before: &Value, after: &Value, attempts: &[Attempt]) -> Finished {
        let attempts = &self.made_now(attempts);
        let opened = self.open(before, attempts, None).await;
        self.add(&opened.run, 0, attempts).await.unwrap();
        let finish = finish_of(attempts);
        self.runs
            .finish(self.reporter(), &opened.run, &finish, None, &facts(after))
            .await
            .unwrap()
    }

    /// What the gate finds for a sync of `checkout-prod` to `commit`.
    async fn find(&self, commit: &str) -> Finding {
        let plan = planned(&subject().component, commit);
        let requirements = [required().requirement];
        let evidence = evidence_for(&self.store, &plan, &requirements)
            .await
            .unwrap();
        gate::find(&plan, &requirements, &evidence, false, self.clock.now())
    }

    async fn gap(&self, commit: &str) -> gate::Gap {
        match self.find(commit).await {
            Finding::Blocked { mut gaps } => gaps.remove(0),
            other => panic!("{other:?}"),
        }
    }
}

fn passing() -> Vec<Attempt> {
    vec![
        attempt("a", 1, Outcome::Passed),
        attempt("b", 1, Outcome::Passed),
    ]
}

fn failing() -> Vec<Attempt> {
    vec![
        attempt("a", 1, Outcome::Passed),
        attempt("b", 1, Outcome::Failed),
    ]
}

#[tokio::test]
async fn a_hooks_run_opens_the_gate_once_its_operation_has_succeeded() {
    let world = world();
    let finished = world.report(&running(B), &running(B), &passing()).await;
    assert_eq!(
        (finished.verdict, finished.counts),
        (Verdict::Passed, Counts::WhenOperationSucceeds)
    );
    assert_eq!(
        finished.url,
        format!("https://gate/syncgate/v1/runs/{}", finished.run)
    );
    let waits = world.gap(B).await.last.unwrap();
    assert!(waits.ends_with("its operation has not ended"), "{waits}");

    let waiting = world.runs.waiting_for().await.unwrap();
    assert_eq!(waiting, [subject().application]);
    assert_eq!(world.settle(&running(B)).await, []);
    let settled = world.settle(&ended("Succeeded", B)).await;
    assert_eq!(settled[0].1, Counts::Now);
    assert!(world.runs.waiting_for().await.unwrap().is_empty());
    assert_eq!(
        world.find(B).await,
        Finding::Satisfied {
            runs: vec![finished.run]
        }
    );
}

#[tokio::test]
async fn a_run_of_a_failed_or_replaced_operation_is_void() {
    for after in [ended("Failed", B), ended("Succeeded", A), single()] {
        let world = world();
        world.report(&running(B), &running(B), &passing()).await;
        let application = subject().application;
        let settled = world
            .runs
            .settle(&application, &facts(&after))
            .await
            .unwrap();
        assert_eq!(settled[0].1, Counts::Never);
        assert_eq!(world.gap(B).await.kind, GapKind::Missing);
    }
}

#[tokio::test]
async fn a_failure_closes_the_gate_at_once_and_says_what_would_pass() {
    let world = world();
    world.report(&single(), &single(), &passing()).await;
    assert!(matches!(world.find(A).await, Finding::Satisfied { .. }));
    let finished = world.report(&running(B), &running(B), &failing()).await;
    assert_eq!(
        (finished.verdict, finished.counts),
        (Verdict::Failed, Counts::Now)
    );
    let gap = world.gap(B).await;
    assert_eq!(gap.kind, GapKind::Failed);
    assert_eq!(gap.would_pass.unwrap()[0].as_str(), A);
    world.report(&single(), &single(), &failing()).await;
    assert_eq!(world.gap(A).await.would_pass, None);
}

/// The run that began first and failed last has the last word.
#[tokio::test]
async fn words_are_in_the_order_of_ends() {
    let world = world();
    let slow = world.open(&single(), &failing(), None).await;
    world.report(&single(), &single(), &passing()).await;
    assert!(matches!(world.find(A).await, Finding::Satisfied { .. }));
    world.add(&slow.run, 0, &failing()).await.unwrap();
    let finish = finish_of(&failing());
    world
        .runs
        .finish(
            world.reporter(),
            &slow.run,
            &finish,
            None,
            &facts(&single()),
        )
        .await
        .unwrap();
    assert_eq!(world.gap(A).await.kind, GapKind::Failed);
}

#[tokio::test]
async fn a_run_over_which_the_application_moved_is_no_word() {
    let world = world();
    let finished = world.report(&single(), &running(B), &failing()).await;
    assert_eq!(
        (finished.verdict, finished.counts),
        (Verdict::Refused, Counts::Never)
    );
    assert_eq!(finished.reasons[0].code.word(), "other-commit");
    let gap = world.gap(A).await;
    assert_eq!(gap.kind, GapKind::Missing);
    assert!(gap.last.unwrap().ends_with("other-commit"));
}

#[tokio::test]
async fn a_shrunk_suite_is_measured_at_the_last_run_that_counted() {
    let world = world();
    let many: Vec<Attempt> = (0..20)
        .map(|n| attempt(&format!("t{n}"), 1, Outcome::Passed))
        .collect();
    world.report(&single(), &single(), &many).await;
    for (kept, ran) in [(1, "1 test ran"), (17, "17 tests ran")] {
        let finished = world.report(&single(), &single(), &many[..kept]).await;
        assert_eq!(finished.verdict, Verdict::Refused);
        assert_eq!(
            finished.reasons[0].detail,
            format!("{ran}, 20 in the newest passing run")
        );
        assert_eq!(world.gap(A).await.kind, GapKind::Shrunk);
    }
    let finished = world.report(&single(), &single(), &many[..18]).await;
    assert_eq!(finished.verdict, Verdict::Passed);
}

#[tokio::test]
async fn batches_come_in_order_and_none_twice() {
    let world = world();
    let run = world.open(&single(), &passing(), None).await.run;
    let (first, second) = (&passing()[..1], &passing()[1..]);
    assert!(matches!(
        world.add(&run, 1, second).await,
        Err(Error::Gap { sent: 1, next: 0 })
    ));
    assert_eq!(world.add(&run, 0, first).await.unwrap(), 1);
    assert_eq!(world.add(&run, 0, first).await.unwrap(), 1);
    assert_eq!(world.add(&run, 1, second).await.unwrap(), 2);
    let finish = Finish {
        batches: 2,
        ..finish_of(&passing())
    };
    let end = async || {
        world
            .runs
            .finish(world.reporter(), &run, &finish, None, &facts(&single()))
            .await
            .unwrap()
    };
    let once = end().await;
    assert_eq!((once.verdict, once.tests.total), (Verdict::Passed, 2));
    assert_eq!(end().await, once);
    assert!(matches!(
        world.add(&run, 2, first).await,
        Err(Error::Over { .. })
    ));
    let id = RunId(Ulid::from_string(&run).unwrap());
    assert_eq!(world.store.attempt_count(id).await.unwrap(), 2);
    // What was sent before is still acknowledged, to a reporter who missed the answer.
    assert_eq!(world.add(&run, 1, second).await.unwrap(), 2);
    let view = world.runs.show(id).await.unwrap().unwrap();
    assert_eq!(view.attempts, passing());
    assert_eq!(view.summary.result.unwrap().verdict, Verdict::Passed);
}

#[tokio::test]
async fn a_run_that_may_still_be_finished_says_nothing() {
    let world = world();
    let inside = world.silenced(&running(B), &failing()).await;
    assert_eq!(world.gap(B).await.last, None);
    // Its operation is watched; it goes on.
    let waiting = world.runs.waiting_for().await.unwrap();
    assert_eq!(waiting, [subject().application]);
    world.minutes_pass(60);
    assert_eq!(world.settle(&running(B)).await, []);
    assert_eq!(world.settle(&ended("Failed", B)).await.len(), 1);
    assert!(world.runs.waiting_for().await.unwrap().is_empty());

    let outside = world.silenced(&single(), &failing()).await;
    world.minutes_pass(14);
    assert!(world.runs.waiting_for().await.unwrap().is_empty());
    assert_eq!(world.settle(&single()).await, []);
    let listed = world
        .runs
        .list(RunFilter {
            limit: 5,
            ..RunFilter::default()
        })
        .await
        .unwrap();
    let ended: Vec<(String, bool)> = listed
        .into_iter()
        .map(|run| (run.run, run.result.is_some()))
        .collect();
    let expected = [(outside.to_string(), false), (inside.to_string(), true)];
    assert_eq!(ended, expected);
}

/// A Job that reported a failure is killed at its deadline, and never says that it has ended.
#[tokio::test]
async fn a_failing_run_that_was_cut_short_takes_the_place_of_an_older_pass() {
    for (phase, silent_for) in [("Failed", 0), ("Error", 0), ("Succeeded", 15)] {
        let world = world();
        world.report(&running(B), &running(B), &passing()).await;
        world.settle(&ended("Succeeded", B)).await;
        assert!(matches!(world.find(B).await, Finding::Satisfied { .. }));
        let killed = world.silenced(&running(B), &failing()).await;
        world.minutes_pass(silent_for);
        let settled = world.settle(&ended(phase, B)).await;
        assert_eq!(settled, [(killed, Counts::Now)]);
        assert_eq!(world.gap(B).await.kind, GapKind::Failed);
        let view = world.runs.show(killed).await.unwrap().unwrap();
        let result = view.summary.result.unwrap();
        assert_eq!(result.verdict, Verdict::Failed);
        let codes: Vec<&str> = result.reasons.iter().map(|it| it.code.word()).collect();
        assert_eq!(codes, ["failed-tests", "interrupted"]);
        assert_eq!(world.settle(&ended(phase, B)).await, []);
        let late = world.add(&killed.to_string(), 1, &passing()).await;
        assert_eq!(late.unwrap_err().code(), "run-finished");
    }
}

#[tokio::test]
async fn a_silent_run_outside_an_operation_is_ended_after_a_while() {
    let world = world();
    world.report(&single(), &single(), &passing()).await;
    let failed = world.silenced(&single(), &failing()).await;
    world.minutes_pass(15);
    let waiting = world.runs.waiting_for().await.unwrap();
    assert_eq!(waiting, [subject().application]);
    assert_eq!(world.settle(&single()).await, [(failed, Counts::Now)]);
    assert_eq!(world.gap(A).await.kind, GapKind::Failed);
    // No test of it failed: it proves nothing.
    let passed = world.silenced(&single(), &passing()).await;
    world.minutes_pass(15);
    assert_eq!(world.settle(&single()).await, [(passed, Counts::Never)]);
    let last = world.gap(A).await.last.unwrap();
    assert!(last.starts_with("refused") && last.ends_with("interrupted"));
}

#[tokio::test]
async fn a_hook_that_ended_without_a_word_is_ended_with_its_operation() {
    let world = world();
    let killed = world.silenced(&running(B), &failing()).await;
    let after = hooked(ended("Succeeded", B), "PostSync");
    assert_eq!(world.settle(&after).await, [(killed, Counts::Now)]);
    assert_eq!(world.gap(B).await.kind, GapKind::Failed);
}

#[tokio::test]
async fn a_run_before_the_sync_is_no_word_on_what_the_sync_rolls_out() {
    for attempts in [passing(), failing()] {
        let world = world();
        let during = hooked(running(B), "PreSync");
        let finished = world.report(&running(B), &during, &attempts).await;
        assert_eq!(
            (finished.verdict, finished.counts),
            (Verdict::Refused, Counts::Never)
        );
        assert_eq!(finished.reasons[0].code.word(), "presync");
        let gap = world.gap(B).await;
        assert_eq!(gap.kind, GapKind::Missing);
        assert!(gap.last.unwrap().ends_with("presync"));
    }
    // Argo CD tells of the hook only after the run has ended.
    let world = world();
    world.report(&running(B), &running(B), &passing()).await;
    let after = hooked(ended("Succeeded", B), "PreSync");
    let settled = world.settle(&after).await;
    assert_eq!(settled[0].1, Counts::Never);
    let stored = world.store.run(settled[0].0).await.unwrap().unwrap();
    assert!(stored.run.counting.reason.starts_with("presync: "));
    assert_eq!(world.gap(B).await.kind, GapKind::Missing);
}

/// A pod is evicted in the middle of the tests, and the one in its place passes.
#[tokio::test]
async fn a_run_that_was_cut_short_speaks_as_of_when_it_was_last_heard() {
    let world = world();
    let evicted = world.silenced(&running(B), &failing()).await;
    let heard_at = world.store.run(evicted).await.unwrap().unwrap().heard_at;
    world.report(&running(B), &running(B), &passing()).await;
    world.minutes_pass(15);
    assert_eq!(world.settle(&ended("Succeeded", B)).await.len(), 2);
    let stored = world.store.run(evicted).await.unwrap().unwrap();
    assert_eq!(stored.finish.unwrap().finished_at, heard_at);
    assert!(matches!(world.find(B).await, Finding::Satisfied { .. }));
}

#[tokio::test]
async fn what_waits_for_an_application_that_is_gone_is_given_up() {
    let world = world();
    let give_up = async || {
        let application = subject().application;
        world.runs.give_up(&application).await.unwrap()
    };
    let passed = world.report(&running(B), &running(B), &passing()).await.run;
    let passed = RunId(Ulid::from_string(&passed).unwrap());
    let silent = world.silenced(&running(B), &failing()).await;
    world.minutes_pass(4);
    assert_eq!(give_up().await, []);
    world.minutes_pass(1);
    assert_eq!(give_up().await, [(passed, Counts::Never)]);
    let stored = world.store.run(passed).await.unwrap().unwrap();
    assert_eq!(stored.run.counting.reason, "the application is gone");
    world.minutes_pass(10);
    // Its failure still is one.
    assert_eq!(give_up().await, [(silent, Counts::Now)]);
    assert!(world.runs.waiting_for().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_key_gives_its_run_again_and_no_other() {
    let world = world();
    let once = world.open(&single(), &passing(), Some("k-1")).await;
    assert_eq!(world.open(&single(), &passing(), Some("k-1")).await, once);
    let application = subject().application;
    let before = async |key, suite: &str| {
        let suite = Suite::parse(suite).unwrap();
        let asked = world
            .runs
            .opened_before(world.reporter(), key, &application, &suite);
        asked.await.map_err(|error| error.code())
    };
    assert_eq!(before("k-1", "integration").await, Ok(Some(once.clone())));
    assert_eq!(before("k-0", "integration").await, Ok(None));
    assert_eq!(before("k-1", "smoke").await, Err("key-reused"));
    assert_eq!(before("a key", "smoke").await, Err("invalid"));
    let binding = || {
        bind(
            &facts(&single()),
            Claims::default(),
            &varies(),
            world.clock.now(),
        )
        .unwrap()
    };
    let mut other = new_run(&passing());
    other.suite = Suite::parse("smoke").unwrap();
    let here = subject();
    let open = |key, new| {
        world
            .runs
            .open(world.reporter(), Some(key), new, &here, binding())
    };
    let reused = open("k-1", other).await.unwrap_err();
    assert_eq!(reused.code(), "key-reused");
    let odd = open("a key", new_run(&passing())).await.unwrap_err();
    assert!(odd.to_string().starts_with("`Idempotency-Key`"), "{odd}");
    let mut elsewhere = new_run(&passing());
    elsewhere.environment = Some(EnvironmentName::parse("prod").unwrap());
    let misplaced = open("k-2", elsewhere).await.unwrap_err();
    assert_eq!(
        misplaced.to_string(),
        "checkout-staging is in environment `staging`, not in `prod`"
    );
}

#[tokio::test]
async fn nobody_adds_to_the_run_of_another() {
    let world = world();
    let run = world.open(&single(), &passing(), None).await.run;
    let stranger = Reporter {
        unique: "https://k8s#system:serviceaccount:shop:other",
        ..world.reporter()
    };
    let batch = AttemptBatch {
        sequence: 0,
        attempts: passing(),
    };
    let refused = world.runs.add(stranger, &run, batch).await.unwrap_err();
    assert_eq!(refused.code(), "no-such-run");
    let finish = finish_of(&passing());
    let refused = world
        .runs
        .finish(stranger, &run, &finish, None, &facts(&single()))
        .await;
    assert_eq!(refused.unwrap_err().code(), "no-such-run");
    let odd = world.runs.own(stranger, "../\u{1b}[2J").await.unwrap_err();
    assert_eq!(odd.to_string(), "there is no run `2J` of this caller");
}
