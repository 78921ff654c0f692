//! Runs that are taken back, and what each run is worth.

use super::*;
use crate::evidence::run::{Withdraw, WithdrawnRun};
use crate::gate::Worth;
use crate::store::RunFilter;

impl World {
    pub(super) async fn withdraw(&self, run: &str, reason: &str) -> Result<WithdrawnRun, Error> {
        let withdrawer = Withdrawer {
            unique: "https://issuer#rita",
            display: "rita@shop.example",
            decision: DecisionId::new(self.clock.now()),
        };
        let id = RunId(Ulid::from_string(run).unwrap());
        let withdraw = Withdraw {
            reason: reason.to_owned(),
        };
        self.runs.withdraw(withdrawer, id, &withdraw).await
    }

    /// What the run is worth to prod.
    async fn worth(&self, run: &str) -> Worth {
        let id = RunId(Ulid::from_string(run).unwrap());
        let view = self.runs.show(id).await.unwrap().unwrap();
        let listed = self.runs.list(RunFilter {
            limit: 9,
            ..RunFilter::default()
        });
        let listed = listed.await.unwrap();
        let listed = listed.iter().find(|it| it.run == run).unwrap();
        assert_eq!(listed.bears_on, view.summary.bears_on);
        view.summary.bears_on[0].worth.clone()
    }
}

#[tokio::test]
async fn to_withdraw_the_last_word_closes_the_gate_until_a_run_passes_anew() {
    let world = world();
    let report = async || world.report(&single(), &single(), &passing()).await.run;
    let (first, second) = (report().await, report().await);
    assert_eq!(world.worth(&second).await, Worth::Meets { until: None });
    let superseded = Worth::Superseded { by: second.clone() };
    assert_eq!(world.worth(&first).await, superseded);
    let done = world.withdraw(&second, " the database was empty ").await;
    let done = done.unwrap().withdrawn;
    assert_eq!(
        (done.by.as_str(), done.reason.as_str()),
        ("rita@shop.example", "the database was empty")
    );
    let gap = world.gap(A).await;
    assert_eq!(
        (gap.kind, gap.run),
        (GapKind::Withdrawn, Some(second.clone()))
    );
    let expected = format!(
        "in run {second}, which was withdrawn by rita@shop.example: the database was empty"
    );
    let last = gap.last.unwrap();
    assert!(last.ends_with(&expected), "{last}");
    assert_eq!(world.worth(&second).await, Worth::Withdrawn);
    assert_eq!(world.worth(&first).await, superseded);
    // It cannot be undone, and who withdrew first did.
    let again = world.withdraw(&second, "another reason").await.unwrap();
    assert_eq!(again.withdrawn, done);
    let third = report().await;
    assert_eq!(
        world.find(A).await,
        Finding::Satisfied {
            runs: vec![third.clone()]
        }
    );
    // What has nothing to say any more can be withdrawn without harm.
    world.withdraw(&first, "old").await.unwrap();
    assert!(matches!(world.find(A).await, Finding::Satisfied { .. }));
}

/// To withdraw a failure must not bring back the pass before it.
#[tokio::test]
async fn to_withdraw_opens_nothing() {
    let world = world();
    world.report(&single(), &single(), &passing()).await;
    let failed = world.report(&single(), &single(), &failing()).await.run;
    world.withdraw(&failed, "it was the network").await.unwrap();
    assert_eq!(world.gap(A).await.kind, GapKind::Withdrawn);
}

#[tokio::test]
async fn what_waits_for_its_operation_speaks_once_it_is_withdrawn() {
    let world = world();
    world.report(&running(B), &running(B), &passing()).await;
    world.settle(&ended("Succeeded", B)).await;
    let waits = world.report(&running(B), &running(B), &passing()).await.run;
    assert_eq!(world.worth(&waits).await, Worth::Waits);
    assert!(matches!(world.find(B).await, Finding::Satisfied { .. }));
    world.withdraw(&waits, "wrong cluster").await.unwrap();
    assert_eq!(world.gap(B).await.kind, GapKind::Withdrawn);
    assert_eq!(world.settle(&ended("Failed", B)).await, []);
    assert_eq!(world.gap(B).await.kind, GapKind::Withdrawn);
}

#[tokio::test]
async fn what_cannot_be_withdrawn_is_refused_with_the_reason() {
    let world = world();
    let open = world.open(&single(), &passing(), None).await.run;
    let early = world.withdraw(&open, "too early").await.unwrap_err();
    assert_eq!(early.code(), "not-ended");
    for reason in ["", "  ", "two\nlines", &"long".repeat(200)] {
        let refused = world.withdraw(&open, reason).await.unwrap_err();
        assert!(refused.to_string().starts_with("`reason`"), "{refused}");
    }
}

/// A clock that is set back between two reports must not let the earlier one win.
#[tokio::test]
async fn the_last_word_is_the_last_word_whatever_the_clock_says() {
    let world = world();
    world.report(&single(), &single(), &passing()).await;
    world.minutes_pass(-60);
    world.report(&single(), &single(), &failing()).await;
    assert_eq!(world.gap(A).await.kind, GapKind::Failed);
}

#[tokio::test]
async fn a_withdrawn_run_is_no_measure_of_its_suite() {
    let world = world();
    let many: Vec<Attempt> = (0..20)
        .map(|n| attempt(&format!("t{n}"), 1, Outcome::Passed))
        .collect();
    let too_many = world.report(&single(), &single(), &many).await.run;
    world.withdraw(&too_many, "collected twice").await.unwrap();
    let finished = world.report(&single(), &single(), &many[..10]).await;
    assert_eq!(finished.verdict, Verdict::Passed);
}
