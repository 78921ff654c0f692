//! Runs that are finished with an attestation.

use serde_json::json;

use super::*;
use crate::evidence::attestation::tests::statement;
use crate::evidence::attestation::{RawEnvelope, Refused};
use crate::evidence::dsse::tests::Hand;
use crate::evidence::run::Withdraw;

/// The hand that signs as `ci`.
pub(super) fn ci() -> Hand {
    Hand::new(1)
}

/// `ci` and `qa` sign.
pub(super) fn signers() -> Signers {
    [ci().signer("ci"), Hand::new(2).signer("qa")]
        .into_iter()
        .collect()
}

pub(super) fn envelope(hand: &Hand, statement: &Value) -> RawEnvelope {
    let envelope = hand.sign(statement.to_string().as_bytes());
    RawEnvelope::new(&envelope.to_string()).unwrap()
}

fn flaky() -> Vec<Attempt> {
    vec![
        attempt("a", 1, Outcome::Passed),
        attempt("b", 1, Outcome::Failed),
        attempt("b", 2, Outcome::Passed),
        attempt("c", 1, Outcome::Skipped),
    ]
}

impl World {
    /// A run about what `single` runs, with all of its attempts.
    async fn begun(&self, attempts: &[Attempt]) -> String {
        let attempts = &self.made_now(attempts);
        let run = self.open(&single(), attempts, None).await.run;
        self.add(&run, 0, attempts).await.unwrap();
        run
    }

    async fn end(
        &self,
        run: &str,
        attempts: &[Attempt],
        attestation: Option<RawEnvelope>,
    ) -> Result<Finished, Error> {
        let finish = Finish {
            attestation,
            // Of the newest attempt: a test that passed in the end has not failed.
            exit_status: i32::from(attempts.last().is_some_and(|it| it.outcome.is_bad())),
            ..finish_of(attempts)
        };
        let vouched = self.runs.vouched(&finish).await?;
        self.runs
            .finish(self.reporter(), run, &finish, vouched, &facts(&single()))
            .await
    }

    /// A run that ends with what `ci` says about it.
    async fn attested(&self, attempts: &[Attempt]) -> Result<Finished, Error> {
        let run = self.begun(attempts).await;
        let envelope = envelope(&ci(), &statement(A, attempts));
        self.end(&run, attempts, Some(envelope)).await
    }

    /// What is found for prod, which wants `ci` to have signed.
    async fn find_signed(&self) -> Finding {
        let plan = planned(&subject().component, A);
        let requirement = Requirement {
            signed_by: vec![ci().signer("ci").name],
            ..required().requirement
        };
        let requirements = [requirement];
        let evidence = evidence_for(&self.store, &plan, &requirements).await;
        gate::find(
            &plan,
            &requirements,
            &evidence.unwrap(),
            false,
            self.clock.now(),
        )
    }
}

fn refusal(ended: Result<Finished, Error>) -> (&'static str, String) {
    match ended {
        Err(Error::Attestation(refused)) => (refused.code(), refused.to_string()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_was_signed_is_kept_with_who_signed_it() {
    for attempts in [passing(), flaky(), failing()] {
        let world = world();
        let run = world.begun(&attempts).await;
        let sent = envelope(&ci(), &statement(A, &attempts));
        let finished = world
            .end(&run, &attempts, Some(sent.clone()))
            .await
            .unwrap();
        let attested = finished.attestation.unwrap();
        assert_eq!(attested.signed_by, [ci().signer("ci").name]);
        let id = RunId(Ulid::from_string(&run).unwrap());
        let kept = world.runs.attestation(id).await.unwrap();
        assert_eq!(kept.as_deref(), Some(sent.as_str()));
        let view = world.runs.show(id).await.unwrap().unwrap();
        assert_eq!(view.summary.result.unwrap().attestation.unwrap(), attested);
        // Again, whatever comes with it: the first judgement.
        let again = world.end(&run, &attempts, None).await.unwrap();
        assert_eq!(again.attestation, Some(attested));
    }
}

#[tokio::test]
async fn a_requirement_of_a_signature_is_met_by_signed_passes_alone() {
    let world = world();
    world.report(&single(), &single(), &passing()).await;
    assert!(matches!(world.find(A).await, Finding::Satisfied { .. }));
    let Finding::Blocked { gaps } = world.find_signed().await else {
        panic!("an unsigned run meets nothing");
    };
    assert_eq!(gaps[0].kind, GapKind::Unsigned);
    let last = gaps[0].last.as_deref().unwrap();
    assert!(
        last.contains("not signed by ci; run it again and send its attestation"),
        "{last}"
    );
    // By somebody else who may sign.
    let run = world.begun(&passing()).await;
    let by_qa = envelope(&Hand::new(2), &statement(A, &passing()));
    world.end(&run, &passing(), Some(by_qa)).await.unwrap();
    assert!(matches!(world.find_signed().await, Finding::Blocked { .. }));
    let signed = world.attested(&passing()).await.unwrap();
    let satisfied = Finding::Satisfied {
        runs: vec![signed.run],
    };
    assert_eq!(world.find_signed().await, satisfied);
    // Who has not signed takes nobody's word, but can speak against.
    world.report(&single(), &single(), &passing()).await;
    assert_eq!(world.find_signed().await, satisfied);
    world.report(&single(), &single(), &failing()).await;
    world.report(&single(), &single(), &passing()).await;
    let Finding::Blocked { gaps } = world.find_signed().await else {
        panic!("a failure counts, and an unsigned pass does not undo it");
    };
    assert_eq!(gaps[0].kind, GapKind::Failed);
}

/// A change of a statement.
type Change = fn(&mut Value);

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn what_does_not_hold_finishes_nothing() {
    let world = world();
    let attempts = flaky();
    let run = world.begun(&attempts).await;
    let changes: [(Change, &str, &str); 13] = [
        (
            |it| it["subject"][0]["digest"]["gitCommit"] = B.into(),
            "attestation-subject",
            "the attestation is of commit",
        ),
        (
            |it| it["subject"] = json!([]),
            "attestation-subject",
            "the run is of commit",
        ),
        (
            |it| it["subject"] = json!([{"digest": {"sha1": A}}]),
            "attestation-subject",
            "by `gitCommit`",
        ),
        (
            |it| {
                it["subject"] = json!([{"digest": {"gitCommit": A}}, {"digest": {"gitCommit": B}}]);
            },
            "attestation-subject",
            B,
        ),
        (
            |it| it["predicate"]["passedTests"] = json!(["a", "x"]),
            "attestation-tests",
            "`passedTests` of the attestation is not what was reported: `x` is in it",
        ),
        (
            |it| it["predicate"]["passedTests"] = json!([]),
            "attestation-tests",
            "`a` is missing in it",
        ),
        (
            |it| it["predicate"]["passedTests"] = json!(["a", "c"]),
            "attestation-tests",
            "`c` is in it",
        ),
        (
            |it| {
                it["predicate"]["passedTests"] = json!(["a", "b"]);
                it["predicate"]["warnedTests"] = json!([]);
            },
            "attestation-tests",
            "`b` is in it",
        ),
        (
            |it| it["predicate"]["failedTests"] = json!(["z"]),
            "attestation-tests",
            "`failedTests`",
        ),
        (
            |it| it["predicate"]["result"] = "PASSED".into(),
            "attestation-result",
            "says PASSED, and the run is worth WARNED",
        ),
        (
            |it| it["predicate"]["result"] = "FAILED".into(),
            "attestation-result",
            "says FAILED, and the run is worth WARNED",
        ),
        (
            |it| it["predicate"]["configuration"][0]["name"] = "suite unit".into(),
            "attestation-suite",
            "of suite `unit`, the run of `integration`",
        ),
        (
            |it| it["_type"] = "x".into(),
            "attestation-invalid",
            "`payload._type`",
        ),
    ];
    for (change, code, told) in changes {
        let mut other = statement(A, &attempts);
        change(&mut other);
        let ended = world
            .end(&run, &attempts, Some(envelope(&ci(), &other)))
            .await;
        let (found, sentence) = refusal(ended);
        assert_eq!(found, code, "{sentence}");
        assert!(sentence.contains(told), "{sentence}");
    }
    let by_nobody = envelope(&Hand::new(3), &statement(A, &attempts));
    let (code, sentence) = refusal(world.end(&run, &attempts, Some(by_nobody)).await);
    assert_eq!(code, "attestation-unverified", "{sentence}");
    // The run goes on, and can be finished as it should have been.
    assert!(matches!(world.find(A).await, Finding::Blocked { .. }));
    let right = envelope(&ci(), &statement(A, &attempts));
    let finished = world.end(&run, &attempts, Some(right)).await.unwrap();
    assert_eq!(finished.verdict, Verdict::Passed);
}

#[tokio::test]
async fn a_signature_makes_no_run_better_than_the_gate_finds_it() {
    let world = world();
    let run = world.begun(&passing()).await;
    let attestation = Some(envelope(&ci(), &statement(A, &passing())));
    let finish = Finish {
        attestation,
        interrupted: true,
        ..finish_of(&passing())
    };
    let now = facts(&single());
    let vouched = world.runs.vouched(&finish).await.unwrap();
    let ended = world
        .runs
        .finish(world.reporter(), &run, &finish, vouched, &now)
        .await;
    let (code, sentence) = refusal(ended);
    assert_eq!(code, "attestation-result");
    assert!(
        sentence.contains("worth FAILED (refused: interrupted)"),
        "{sentence}"
    );
}

#[tokio::test]
async fn one_statement_finishes_one_run() {
    let world = world();
    let said = statement(A, &passing());
    let first = world.begun(&passing()).await;
    world
        .end(&first, &passing(), Some(envelope(&ci(), &said)))
        .await
        .unwrap();
    world.report(&single(), &single(), &failing()).await;
    // To open the gate again with what was signed before: also in another envelope, or once withdrawn.
    let run = world.begun(&passing()).await;
    let mut again = ci().sign(said.to_string().as_bytes());
    let more = json!({"sig": "AAAA"});
    again["signatures"].as_array_mut().unwrap().push(more);
    let again = RawEnvelope::new(&again.to_string()).unwrap();
    let ended = world.end(&run, &passing(), Some(again.clone())).await;
    let first = RunId(Ulid::from_string(&first).unwrap());
    match ended {
        Err(Error::Attestation(Refused::Replayed { run })) => assert_eq!(run, first),
        other => panic!("{other:?}"),
    }
    let withdrawer = Withdrawer {
        unique: "u",
        display: "u",
        decision: world.reporter().decision,
    };
    let reason = "a trial".to_owned();
    let withdraw = Withdraw { reason };
    world
        .runs
        .withdraw(withdrawer, first, &withdraw)
        .await
        .unwrap();
    let (code, _) = refusal(world.end(&run, &passing(), Some(again)).await);
    assert_eq!(code, "attestation-replayed");
    // What its reporter never finishes, the gate does, and it is no pass.
    world.minutes_pass(20);
    world.settle(&single()).await;
    assert!(matches!(world.find_signed().await, Finding::Blocked { .. }));
}
