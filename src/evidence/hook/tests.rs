//! What is heard of a Job, and what that makes of a report.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::gate::testing::{B, STARTED, facts, operation, single};
use crate::names::PodRef;

const AT: &str = "2026-11-23T15:00:00Z";

fn at() -> Timestamp {
    AT.parse().unwrap()
}

/// A run of the Job `tests`, in the try `retry` of the operation.
fn bound(retry: u64) -> BoundOperation {
    BoundOperation {
        uid: "u-1".into(),
        started_at: STARTED.parse().unwrap(),
        retry,
        pod: Some(PodRef {
            namespace: "shop".into(),
            name: "tests-x7k2p".into(),
        }),
    }
}

fn job(name: &str, kind: &str, phase: &str) -> Value {
    json!({
        "group": "batch", "kind": "Job", "namespace": "shop", "name": name, "hookType": kind,
        "hookPhase": phase, "message": format!("{kind} {phase}"),
    })
}

/// An application whose operation is in `phase`, with these resources in its result.
fn app(phase: &str, resources: &[Value]) -> Value {
    let mut app = single();
    operation(&mut app, phase, B);
    app["status"]["operationState"]["syncResult"]["resources"] = json!(resources);
    app
}

/// What `app` tells of a run in the try `retry`: `Failed: PostSync Failed`, or what else is heard.
fn told(retry: u64, app: &Value) -> String {
    let hook = |hook: &HookResult| {
        assert_eq!(hook.seen_at, at());
        format!("{}: {}", hook.phase.word(), hook.message)
    };
    match hear(&bound(retry), None, &facts(app), at()) {
        Heard::Ended(ended) => hook(&ended),
        Heard::GoesOn(None) => "goes on".to_owned(),
        Heard::GoesOn(Some(known)) => hook(&known),
        Heard::NoHook => "no hook".to_owned(),
    }
}

#[test]
fn a_job_has_ended_once_its_operation_has() {
    let post = |phase| job("tests", "PostSync", phase);
    for (phase, resources, expected) in [
        // What is shown meanwhile may be of an earlier try.
        ("Running", vec![post("Failed")], "Running: "),
        ("Terminating", vec![post("Failed")], "Running: "),
        ("Running", vec![], "goes on"),
        (
            "Succeeded",
            vec![post("Succeeded")],
            "Succeeded: PostSync Succeeded",
        ),
        ("Failed", vec![post("Failed")], "Failed: PostSync Failed"),
        (
            "Failed",
            vec![post("Succeeded")],
            "Succeeded: PostSync Succeeded",
        ),
        ("Error", vec![post("Error")], "Error: PostSync Error"),
        // Argo CD says nothing firm of it.
        (
            "Failed",
            vec![post("Running")],
            "lost: argo cd did not say how the job ended",
        ),
        (
            "Succeeded",
            vec![post("Odd")],
            "lost: argo cd did not say how the job ended",
        ),
        (
            "Succeeded",
            vec![job("other", "PostSync", "Failed")],
            "no hook",
        ),
        ("Succeeded", vec![], "no hook"),
        // One Job that is two hooks: its run may be of either.
        (
            "Failed",
            vec![job("tests", "Sync", "Succeeded"), post("Failed")],
            "Failed: PostSync Failed",
        ),
    ] {
        assert_eq!(
            told(0, &app(phase, &resources)),
            expected,
            "{phase} {resources:?}"
        );
    }
}

#[test]
fn what_can_not_be_seen_any_more_is_lost_and_what_comes_late_is_passed_over() {
    let ended = |changes: &[(&str, Value)]| {
        let mut app = app("Succeeded", &[job("tests", "PostSync", "Succeeded")]);
        for (field, value) in changes {
            app["status"]["operationState"][*field] = value.clone();
        }
        app
    };
    let replaced = "lost: the operation was replaced before its end was seen";
    assert_eq!(
        told(0, &ended(&[("startedAt", json!("2026-11-23T14:00:01Z"))])),
        replaced
    );
    assert_eq!(told(0, &single()), replaced);
    assert_eq!(
        told(0, &ended(&[("startedAt", json!("2026-11-23T13:59:59Z"))])),
        "goes on"
    );
    let mut again = ended(&[]);
    again["metadata"]["uid"] = json!("u-2");
    let created = "lost: the application was deleted and created again";
    assert_eq!(told(0, &again), created);
    // What was seen before stays known.
    let known = HookResult {
        kind: Some("PostSync".into()),
        job: Some("shop/tests".into()),
        phase: HookPhase::Running,
        message: String::new(),
        seen_at: Timestamp::UNIX_EPOCH,
    };
    let lost = HookResult {
        phase: HookPhase::Lost,
        message: "the application was deleted and created again".into(),
        seen_at: at(),
        ..known.clone()
    };
    let heard = hear(&bound(0), Some(&known), &facts(&again), at());
    assert_eq!(heard, Heard::Ended(lost));
}

#[test]
fn each_try_of_an_operation_has_its_own_end() {
    let tried = |phase, count: u64, finished: bool, hook| {
        let mut app = app(phase, &[job("tests", "PostSync", hook)]);
        let state = &mut app["status"]["operationState"];
        state["retryCount"] = json!(count);
        if finished {
            state["finishedAt"] = json!("2026-11-23T14:02:00Z");
        }
        app
    };
    // The first try has failed; the second is counted, and has not begun.
    let between = tried("Running", 1, true, "Failed");
    assert_eq!(told(0, &between), "Failed: PostSync Failed");
    assert_eq!(told(1, &between), "goes on");
    let second = tried("Running", 1, false, "Running");
    let lost = "lost: the operation was tried again before the end of the try was seen";
    assert_eq!(told(0, &second), lost);
    assert_eq!(told(1, &second), "Running: ");
    let done = tried("Succeeded", 1, true, "Succeeded");
    assert_eq!(told(0, &done), lost);
    assert_eq!(told(1, &done), "Succeeded: PostSync Succeeded");
}

fn reasons(codes: &[ReasonCode]) -> Vec<Reason> {
    let reason = |code: &ReasonCode| Reason {
        code: *code,
        detail: String::new(),
    };
    codes.iter().map(reason).collect()
}

fn hook(phase: HookPhase) -> HookResult {
    HookResult {
        kind: Some("PostSync".into()),
        job: Some("shop/tests".into()),
        phase,
        message: "Job was active longer than specified deadline".into(),
        seen_at: at(),
    }
}

#[test]
fn of_a_report_and_its_job_the_worse_counts() {
    use HookPhase::{Error, Failed, Lost, Running, Succeeded};
    use ReasonCode as C;
    let (failed, refused) = (Verdict::Failed, Verdict::Refused);
    let agrees = None;
    for (codes, phase, passed_since, expected) in [
        (&[][..], Succeeded, false, agrees),
        (&[], Failed, false, Some((failed, C::HookFailed))),
        (&[], Error, false, Some((failed, C::HookFailed))),
        // That an earlier try of the Job was followed by a good one does not make the Job succeed.
        (&[], Failed, true, Some((failed, C::HookFailed))),
        (
            &[C::PassedWithRetries],
            Failed,
            false,
            Some((failed, C::HookFailed)),
        ),
        (&[C::FailedTests], Failed, false, agrees),
        (
            &[C::FailedTests],
            Succeeded,
            false,
            Some((failed, C::HookSucceeded)),
        ),
        // The Job has tried again.
        (&[C::FailedTests], Succeeded, true, agrees),
        (
            &[C::NoTests],
            Succeeded,
            false,
            Some((refused, C::HookSucceeded)),
        ),
        (&[C::Interrupted], Failed, false, agrees),
        // A run before the sync is no word on its commits, whatever its Job says.
        (&[C::Presync], Succeeded, false, agrees),
        (&[C::Presync], Failed, false, Some((refused, C::HookFailed))),
        (&[C::Presync, C::FailedTests], Failed, false, agrees),
        (
            &[C::Presync, C::FailedTests],
            Succeeded,
            false,
            Some((refused, C::HookSucceeded)),
        ),
        (&[], Lost, false, agrees),
        (&[C::FailedTests], Lost, false, agrees),
        (&[], Running, false, agrees),
    ] {
        let weighed = weigh(&reasons(codes), &hook(phase), passed_since);
        let found = weighed.map(|weighed| (weighed.verdict, weighed.reason.code));
        assert_eq!(found, expected, "{codes:?} {phase:?} {passed_since}");
    }
    let weighed = weigh(&[], &hook(Failed), false).unwrap();
    assert_eq!(
        weighed.reason.detail,
        "the Job says otherwise: shop/tests ended Failed: Job was active longer than specified deadline"
    );
}

#[test]
fn phases_are_the_words_of_argo_cd() {
    for phase in [
        HookPhase::Error,
        HookPhase::Failed,
        HookPhase::Lost,
        HookPhase::Running,
        HookPhase::Succeeded,
    ] {
        assert_eq!(serde_json::to_value(phase).unwrap(), phase.word());
    }
}

proptest! {
    /// Whatever was found about a report, its Job makes nothing better of it.
    #[test]
    fn a_job_makes_no_report_better(
        codes in proptest::sample::subsequence(
            &[
                ReasonCode::FailedTests, ReasonCode::Interrupted, ReasonCode::PassedWithRetries,
                ReasonCode::Presync, ReasonCode::Replayed, ReasonCode::Shrunk,
            ][..],
            0..4,
        ),
        phase in proptest::sample::select(&[
            HookPhase::Error, HookPhase::Failed, HookPhase::Lost, HookPhase::Succeeded,
        ][..]),
        passed_since in any::<bool>(),
    ) {
        let mut all = reasons(&codes);
        let before = verdict_of(&all);
        if let Some(weighed) = weigh(&all, &hook(phase), passed_since) {
            prop_assert_ne!(weighed.verdict, Verdict::Passed);
            if before != Verdict::Passed {
                prop_assert_eq!(weighed.verdict, before);
            }
            all.push(weighed.reason);
            prop_assert_eq!(verdict_of(&all), weighed.verdict);
        }
    }
}
