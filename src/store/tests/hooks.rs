//! Hook Jobs beside runs.

use super::evidence::{finish, run};
use super::*;
use crate::evidence::hook::{Disagreement, HookPhase, HookResult};
use crate::evidence::verdict::{Reason, ReasonCode, Verdict};

fn hook(phase: HookPhase) -> HookResult {
    HookResult {
        kind: Some("PostSync".into()),
        job: Some("shop/tests".into()),
        phase,
        message: "Job has reached the specified backoff limit".into(),
        seen_at: instant("2026-11-23T12:02:00Z"),
    }
}

fn failed() -> (Disagreement, Reason) {
    let disagreement = Disagreement {
        reason: ReasonCode::HookFailed,
        reported: Verdict::Passed,
        counts_as: Verdict::Failed,
        decision: decision(),
    };
    let reason = Reason {
        code: ReasonCode::HookFailed,
        detail: "the Job says otherwise".into(),
    };
    (disagreement, reason)
}

fn passed() -> FinishRow {
    FinishRow {
        verdict: Verdict::Passed,
        reasons: Vec::new(),
        counting: Counting {
            state: CountingState::Pending,
            reason: "the operation has not ended".into(),
        },
        ..finish(0)
    }
}

#[tokio::test]
async fn what_is_known_of_a_job_is_kept_until_its_end_and_no_longer() {
    let folder = Folder::new();
    let store = folder.open();
    let row = run();
    store.insert_run(&row).await.unwrap();
    let keep = async |state, hook| store.keep_hook(row.id, state, hook).await.unwrap();
    assert!(keep(HookState::Awaited, Some(hook(HookPhase::Running))).await);
    let awaiting = store.awaiting_hooks().await.unwrap();
    assert_eq!(awaiting[0].hook, Some(hook(HookPhase::Running)));
    assert!(keep(HookState::Heard, Some(hook(HookPhase::Failed))).await);
    assert!(!keep(HookState::Heard, Some(hook(HookPhase::Succeeded))).await);
    assert!(!keep(HookState::None, None).await);
    assert!(store.awaiting_hooks().await.unwrap().is_empty());
    // The store may be opened again in between.
    store.close().await;
    let stored = folder.open().run(row.id).await.unwrap().unwrap();
    assert_eq!(
        (stored.hook_state, stored.hook),
        (HookState::Heard, Some(hook(HookPhase::Failed)))
    );
}

#[tokio::test]
async fn a_run_is_held_against_its_job_once_and_keeps_its_place() {
    let folder = Folder::new();
    let store = folder.open();
    let row = run();
    let weigh = async |with| store.weigh_run(row.id, with).await.unwrap();
    assert!(!weigh(None).await, "there is no such run");
    store.insert_run(&row).await.unwrap();
    let heard = store.keep_hook(row.id, HookState::Heard, Some(hook(HookPhase::Failed)));
    assert!(heard.await.unwrap());
    assert!(!weigh(Some(failed())).await, "it has not ended");
    assert!(store.unweighed_hooks().await.unwrap().is_empty());
    let end = passed();
    let finished = store.finish_run(row.id, &end, EndedBy::Reporter);
    let FinishOutcome::Finished(before) = finished.await.unwrap() else {
        panic!("it has ended before")
    };
    assert_eq!(store.unweighed_hooks().await.unwrap(), [(*before).clone()]);
    let (disagreement, reason) = failed();
    assert!(weigh(Some((disagreement.clone(), reason.clone()))).await);
    assert!(!weigh(None).await, "it is known by now");
    let after = store.run(row.id).await.unwrap().unwrap();
    let end = after.finish.unwrap();
    assert_eq!(end.verdict, Verdict::Failed);
    assert_eq!((end.reasons, end.tests), (vec![reason], passed().tests));
    assert_eq!(after.disagreement, Some(disagreement));
    assert_eq!(after.run.counting.state, CountingState::Counts);
    assert_eq!(after.spoke, before.spoke);
    // Nothing is left to settle.
    assert!(store.pending_runs().await.unwrap().is_empty());
    assert!(store.unweighed_hooks().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_job_that_agrees_or_only_remarks_changes_nothing_of_what_counts() {
    let folder = Folder::new();
    let store = folder.open();
    let (mut disagreement, reason) = failed();
    disagreement.counts_as = Verdict::Refused;
    for with in [None, Some((disagreement, reason))] {
        let row = run();
        store.insert_run(&row).await.unwrap();
        let heard = store.keep_hook(row.id, HookState::Heard, Some(hook(HookPhase::Failed)));
        assert!(heard.await.unwrap());
        let mut end = passed();
        end.counting.state = CountingState::Void;
        store
            .finish_run(row.id, &end, EndedBy::Reporter)
            .await
            .unwrap();
        assert!(store.weigh_run(row.id, with.clone()).await.unwrap());
        let after = store.run(row.id).await.unwrap().unwrap();
        assert_eq!(after.run.counting, end.counting);
        assert_eq!(
            after.finish.unwrap().reasons.len(),
            usize::from(with.is_some())
        );
    }
}
