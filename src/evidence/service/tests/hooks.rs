//! Runs beside their hook Jobs: whatever comes first, the worse counts.

use serde_json::json;

use super::*;
use crate::evidence::hook::HookPhase;
use crate::evidence::verdict::ReasonCode;
use crate::store::HookState;

/// The application after its operation has ended in `phase`, with the Job `tests` in `hook`.
fn over(phase: &str, kind: &str, hook: &str) -> Value {
    let mut app = hooked(ended(phase, B), kind);
    let job = &mut app["status"]["operationState"]["syncResult"]["resources"][0];
    job["hookPhase"] = hook.into();
    job["message"] = "of the Job".into();
    app
}

fn post(phase: &str, hook: &str) -> Value {
    over(phase, "PostSync", hook)
}

impl World {
    /// The loop's round, which reads `app`; gives the runs that disagree with their Jobs, and how.
    async fn round(&self, app: &Value) -> Vec<(RunId, ReasonCode)> {
        let (application, now) = (subject().application, facts(app));
        self.runs.hear(&application, &now).await.unwrap();
        let disputed = self.runs.disputed().await.unwrap();
        for one in &disputed {
            let decision = DecisionId::of_seen(one.hook.seen_at, &one.stored.run.id.to_string());
            assert!(self.runs.dispute(one, decision).await.unwrap());
            assert!(!self.runs.dispute(one, decision).await.unwrap());
        }
        self.runs.settle(&application, &now).await.unwrap();
        let told = disputed
            .iter()
            .map(|it| (it.stored.run.id, it.weighed.reason.code));
        told.collect()
    }

    /// A run of the pod `pod` of the Job, reported while the operation goes on.
    async fn reported_from(&self, pod: &str, attempts: &[Attempt]) -> RunId {
        let attempts = &self.made_now(attempts);
        let opened = self.opened_from(pod, &running(B), attempts).await;
        self.add(&opened.run, 0, attempts).await.unwrap();
        let now = facts(&running(B));
        let finish = finish_of(attempts);
        let finished = self
            .runs
            .finish(self.reporter(), &opened.run, &finish, None, &now);
        RunId(Ulid::from_string(&finished.await.unwrap().run).unwrap())
    }

    async fn opened_from(&self, pod: &str, app: &Value, attempts: &[Attempt]) -> Opened {
        let pod = PodRef {
            namespace: "shop".into(),
            name: pod.into(),
        };
        let claims = Claims {
            pod: Some(&pod),
            ..Claims::default()
        };
        let binding = bind(&facts(app), claims, &varies(), self.clock.now()).unwrap();
        let new = new_run(attempts);
        self.runs
            .open(self.reporter(), None, new, &subject(), binding)
            .await
            .unwrap()
    }

    async fn stored(&self, run: RunId) -> StoredRun {
        self.store.run(run).await.unwrap().unwrap()
    }

    async fn phase(&self, run: RunId) -> Option<HookPhase> {
        self.stored(run).await.hook.map(|hook| hook.phase)
    }

    /// What is found of commit `B`, in a word, of which `run` may be the last.
    async fn found(&self, run: &str) -> &'static str {
        match self.find(B).await {
            Finding::Satisfied { runs } if runs == [run] => "passed",
            Finding::Satisfied { .. } => "passed before",
            Finding::Blocked { gaps } if gaps[0].kind == GapKind::Withdrawn => "withdrawn",
            Finding::Blocked { .. } => "failed",
            other => panic!("{other:?}"),
        }
    }

    /// A pass of commit `B`, which is in force.
    async fn passed_before(&self) {
        let mut app = single();
        app["status"]["sync"]["revision"] = B.into();
        self.report(&app, &app, &passing()).await;
        assert!(matches!(self.find(B).await, Finding::Satisfied { .. }));
    }
}

#[tokio::test]
async fn a_pass_whose_job_failed_is_a_failure_and_leaves_no_older_pass_in_force() {
    let world = world();
    world.passed_before().await;
    let run = world.reported_from("tests-x7k2p", &passing()).await;
    // Of what Argo CD shows before the end, nothing is taken.
    let mut early = post("Failed", "Failed");
    early["status"]["operationState"]["phase"] = "Running".into();
    assert_eq!(world.round(&early).await, []);
    assert_eq!(world.phase(run).await, Some(HookPhase::Running));
    assert!(matches!(world.find(B).await, Finding::Satisfied { .. }));
    let disputed = world.round(&post("Failed", "Failed")).await;
    assert_eq!(disputed, [(run, ReasonCode::HookFailed)]);
    let gap = world.gap(B).await;
    assert_eq!(
        (gap.kind, gap.run),
        (GapKind::Failed, Some(run.to_string()))
    );
    let last = gap.last.unwrap();
    let expected = "the Job says otherwise: shop/tests ended Failed: of the Job";
    assert!(last.ends_with(expected), "{last}");
    let summary = world.runs.show(run).await.unwrap().unwrap().summary;
    let shown = serde_json::to_value(&summary).unwrap();
    assert_eq!(shown["hook"]["kind"], "PostSync");
    assert_eq!(shown["hook"]["job"], "shop/tests");
    assert_eq!(shown["hook"]["phase"], "Failed");
    assert_eq!(shown["hook"]["message"], "of the Job");
    assert_eq!(shown["disagreement"]["reason"], "hook-failed");
    assert_eq!(shown["disagreement"]["reported"], "passed");
    assert_eq!(shown["disagreement"]["counts_as"], "failed");
    assert_eq!(shown["result"]["verdict"], "failed");
    assert_eq!(summary.result.unwrap().counts, Counts::Now);
    assert!(world.runs.waiting_for().await.unwrap().is_empty());
    assert_eq!(world.round(&post("Failed", "Failed")).await, []);
    // A later pass is a later word.
    world.passed_before().await;
}

#[tokio::test]
async fn a_failure_whose_job_succeeded_stays_one_and_says_so() {
    let world = world();
    let run = world.reported_from("tests-x7k2p", &failing()).await;
    let disputed = world.round(&post("Succeeded", "Succeeded")).await;
    assert_eq!(disputed, [(run, ReasonCode::HookSucceeded)]);
    let last = world.gap(B).await.last.unwrap();
    assert!(
        last.ends_with("1 test; its Job succeeded all the same"),
        "{last}"
    );
}

#[tokio::test]
async fn what_agrees_is_kept_and_disturbs_nobody() {
    for (attempts, phase, hook, counts) in [
        (passing(), "Succeeded", "Succeeded", Counts::Now),
        // Another resource failed.
        (passing(), "Failed", "Succeeded", Counts::Never),
        (failing(), "Failed", "Failed", Counts::Now),
    ] {
        let world = world();
        let run = world.reported_from("tests-x7k2p", &attempts).await;
        assert_eq!(world.round(&post(phase, hook)).await, []);
        let stored = world.stored(run).await;
        assert_eq!(stored.hook.as_ref().unwrap().phase.word(), hook);
        assert_eq!(
            (stored.hook_state, Counts::of(&stored)),
            (HookState::Weighed, counts)
        );
        assert!(world.runs.waiting_for().await.unwrap().is_empty());
    }
}

/// `backoffLimit`: the Job ends as its last pod does.
#[tokio::test]
async fn a_job_that_has_tried_again_contradicts_nobody() {
    let world = world();
    let first = world.reported_from("tests-aaaaa", &failing()).await;
    let second = world.reported_from("tests-bbbbb", &passing()).await;
    assert_eq!(world.round(&post("Succeeded", "Succeeded")).await, []);
    let verdict = async |run| world.stored(run).await.finish.unwrap().verdict;
    assert_eq!(verdict(first).await, Verdict::Failed);
    assert_eq!(verdict(second).await, Verdict::Passed);
    let runs = vec![second.to_string()];
    assert_eq!(world.find(B).await, Finding::Satisfied { runs });
}

#[tokio::test]
async fn a_job_that_failed_at_last_fails_its_last_pass_too() {
    let world = world();
    world.reported_from("tests-aaaaa", &failing()).await;
    let second = world.reported_from("tests-bbbbb", &passing()).await;
    // Another suite of the same Job that passed later says nothing about this one.
    let disputed = world.round(&post("Failed", "Failed")).await;
    assert_eq!(disputed, [(second, ReasonCode::HookFailed)]);
    assert_eq!(world.gap(B).await.kind, GapKind::Failed);
}

#[tokio::test]
async fn the_job_of_a_run_before_the_sync_is_kept_and_the_run_stays_no_word() {
    for (attempts, phase, hook, disputed) in [
        (passing(), "Succeeded", "Succeeded", None),
        (passing(), "Failed", "Failed", Some(ReasonCode::HookFailed)),
        (
            failing(),
            "Succeeded",
            "Succeeded",
            Some(ReasonCode::HookSucceeded),
        ),
    ] {
        let world = world();
        world.passed_before().await;
        let app = hooked(running(B), "PreSync");
        let finished = world.report(&app, &app, &attempts).await;
        assert_eq!(finished.verdict, Verdict::Refused);
        let told = world.round(&over(phase, "PreSync", hook)).await;
        assert_eq!(told.first().map(|it| it.1), disputed);
        let run = RunId(Ulid::from_string(&finished.run).unwrap());
        let stored = world.stored(run).await;
        assert_eq!(stored.hook.as_ref().unwrap().phase.word(), hook);
        assert_eq!(Counts::of(&stored), Counts::Never);
        assert!(matches!(world.find(B).await, Finding::Satisfied { .. }));
    }
}

#[tokio::test]
async fn an_end_that_was_missed_is_lost_and_no_pass() {
    let replaced = |app: &mut Value| {
        app["status"]["operationState"]["startedAt"] = json!("2026-11-23T14:30:00Z");
    };
    // The try that it ran in is over, and the operation ended well at the next.
    let tried = |app: &mut Value| app["status"]["operationState"]["retryCount"] = json!(1);
    let changes: [fn(&mut Value); 2] = [replaced, tried];
    for change in changes {
        let world = world();
        let run = world.reported_from("tests-x7k2p", &passing()).await;
        world.round(&hooked(running(B), "PostSync")).await;
        let mut app = post("Succeeded", "Succeeded");
        change(&mut app);
        assert_eq!(world.round(&app).await, []);
        let stored = world.stored(run).await;
        let hook = stored.hook.as_ref().unwrap();
        assert_eq!(
            (hook.phase, hook.job.as_deref()),
            (HookPhase::Lost, Some("shop/tests"))
        );
        assert_eq!(Counts::of(&stored), Counts::Never);
        assert!(world.runs.waiting_for().await.unwrap().is_empty());
    }
    // Argo CD must say of the Job, too, that it succeeded.
    let world = world();
    let run = world.reported_from("tests-x7k2p", &passing()).await;
    world
        .round(&hooked(ended("Succeeded", B), "PostSync"))
        .await;
    assert_eq!(world.phase(run).await, Some(HookPhase::Lost));
    assert_eq!(world.gap(B).await.kind, GapKind::Missing);
}

#[tokio::test]
async fn no_job_is_awaited_for_ever() {
    let world = world();
    let run = world.reported_from("tests-x7k2p", &failing()).await;
    world.minutes_pass(7 * 24 * 60 - 10);
    world.round(&running(B)).await;
    assert_eq!(world.runs.waiting_for().await.unwrap().len(), 1);
    world.minutes_pass(10);
    world.round(&running(B)).await;
    assert_eq!(world.phase(run).await, Some(HookPhase::Lost));
    assert!(world.runs.waiting_for().await.unwrap().is_empty());

    let gone = world.reported_from("tests-x7k2p", &failing()).await;
    let application = subject().application;
    world.minutes_pass(4);
    world.runs.give_up(&application).await.unwrap();
    assert_eq!(world.phase(gone).await, None);
    world.minutes_pass(1);
    world.runs.give_up(&application).await.unwrap();
    assert_eq!(world.phase(gone).await, Some(HookPhase::Lost));
}

#[tokio::test]
async fn only_pods_of_hook_jobs_are_awaited_and_by_whatever_name_of_the_application() {
    let world = world();
    let run = world.reported_from("nightly-x7k2p", &passing()).await;
    let named = |namespace: &str| AppRef {
        namespace: Some(namespace.to_owned()),
        ..subject().application
    };
    let awaiting = async |namespace| {
        let found = world.runs.awaiting(&named(namespace), "argocd").await;
        found.unwrap().len()
    };
    assert_eq!((awaiting("argocd").await, awaiting("team-a").await), (1, 0));
    assert_eq!(world.round(&post("Succeeded", "Succeeded")).await, []);
    let stored = world.stored(run).await;
    assert_eq!((stored.hook_state, &stored.hook), (HookState::None, &None));
    assert_eq!(Counts::of(&stored), Counts::Now);
}

/// What can happen to one run, in any order in which it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The reporter ends the run.
    End,
    /// The gate looks at the application after the operation's end.
    Look,
    /// The next operation takes its place before the gate looks.
    Replace,
    /// Somebody withdraws the run; only one that has ended can be.
    Withdraw,
}

/// Whatever order things come in: of a report and its Job the worse counts, what was not seen is no pass, and a
/// withdrawal stays.
#[tokio::test]
async fn the_worse_counts_in_every_order() {
    let every = [Step::End, Step::Look, Step::Replace, Step::Withdraw];
    let mut orders: Vec<Vec<Step>> = vec![Vec::new()];
    for length in 0..every.len() {
        let longer: Vec<Vec<Step>> = orders
            .iter()
            .filter(|order| order.len() == length)
            .flat_map(|order| {
                let rest = every.iter().filter(|step| !order.contains(step));
                rest.map(|step| [order.as_slice(), &[*step]].concat())
            })
            .collect();
        orders.extend(longer);
    }
    orders.retain(|order| order.contains(&Step::End));
    assert_eq!(orders.len(), 1 + 6 + 18 + 24);
    for (attempts, hook) in [
        (passing(), "Succeeded"),
        (passing(), "Failed"),
        (failing(), "Succeeded"),
        (failing(), "Error"),
    ] {
        for order in &orders {
            in_order(&attempts, hook, order).await;
        }
    }
}

async fn in_order(attempts: &[Attempt], hook: &str, order: &[Step]) {
    let mut world = world();
    world.passed_before().await;
    let attempts = &world.made_now(attempts);
    let bad = attempts.iter().any(|attempt| attempt.outcome.is_bad());
    let opened = world
        .opened_from("tests-x7k2p", &running(B), attempts)
        .await;
    world.add(&opened.run, 0, attempts).await.unwrap();
    let run = RunId(Ulid::from_string(&opened.run).unwrap());
    let mut now = post(if hook == "Succeeded" { hook } else { "Failed" }, hook);
    let place = |step| order.iter().position(|it| *it == step);
    let mut silenced = false;
    for step in order {
        // The gate is started anew before each.
        let (store, clock) = (world.store.clone(), world.clock.clone());
        world.runs = Runs::new(store, clock, "https://gate", vec![required()]);
        match step {
            Step::End => {
                let (finish, now) = (finish_of(attempts), facts(&now));
                let reporter = world.reporter();
                let end = world
                    .runs
                    .finish(reporter, &opened.run, &finish, None, &now);
                end.await.unwrap();
            }
            Step::Look => {
                world.round(&now).await;
                // An operation that has ended takes its hooks with it.
                silenced = place(Step::End) > place(Step::Look);
            }
            Step::Replace => {
                now["status"]["operationState"]["startedAt"] = json!("2026-11-23T14:30:00Z");
            }
            Step::Withdraw => {
                let done = world.withdraw(&opened.run, "of this order").await;
                assert_eq!(done.is_ok(), world.stored(run).await.finish.is_some());
            }
        }
    }
    // In the end the gate looks.
    world.round(&now).await;
    let stored = world.stored(run).await;
    // What the end of the run is judged by is a look, too.
    let replaced = place(Step::Replace).unwrap_or(order.len());
    let before = |step| place(step).is_some_and(|it| it < replaced);
    let seen = before(Step::End) || before(Step::Look);
    let expected = if seen { hook } else { "lost" };
    assert_eq!(
        stored.hook.as_ref().unwrap().phase.word(),
        expected,
        "{order:?}"
    );
    assert_eq!(stored.hook_state, HookState::Weighed, "{order:?}");
    let found = world.found(&opened.run).await;
    // A run that is no word on its commits stays none when it is withdrawn.
    let fails = bad || silenced || seen && hook == "Failed";
    let expected = match stored.withdrawal {
        _ if !fails && !seen => "passed before",
        Some(_) => "withdrawn",
        None if fails => "failed",
        None => "passed",
    };
    assert_eq!(found, expected, "{hook} {order:?}");
}
