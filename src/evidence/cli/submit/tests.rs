//! Submitting over lines that break, and how attempts are cut into batches.

use std::fmt::Write as _;
use std::path::PathBuf;

use tokio_util::task::TaskTracker;

use super::*;
use crate::evidence::cli::tests::{Fate, World, options, submitted, world};
use crate::evidence::cli::{ListOptions, list};
use crate::evidence::run::{self, Outcome as TestOutcome};
use crate::evidence::view::RunList;

/// A report of `tests` passing tests in the folder of the world.
fn report(world: &World, name: &str, tests: usize) -> PathBuf {
    let mut xml = format!("<testsuite name='s' tests='{tests}'>\n");
    for n in 0..tests {
        let _ = writeln!(xml, "<testcase name='case {n}'/>");
    }
    xml.push_str("</testsuite>\n");
    let path = world.folder.path().join(name);
    std::fs::write(&path, xml).unwrap();
    path
}

fn submission(world: &World, paths: Vec<PathBuf>) -> SubmitOptions {
    SubmitOptions {
        files: Files::Junit {
            paths,
            counts: Counts::Strict,
        },
        output: Output::Json,
        ..options(&world.gate, "junit/pytest-9.2.xml")
    }
}

async fn runs(world: &World) -> RunList {
    let mut out = Vec::new();
    let options = ListOptions {
        gate: world.gate.clone(),
        query: vec![("suite", "integration".into()), ("limit", "5".into())],
        output: Output::Json,
    };
    list(options, &mut out).await.unwrap();
    serde_json::from_slice(&out).unwrap()
}

/// Every answer is lost at least once, the gate is away for longer than a call repeats itself, and the
/// run is there once, whole.
#[tokio::test]
async fn a_gate_that_goes_away_is_waited_for_and_nothing_is_doubled() {
    let tasks = TaskTracker::new();
    let world = world(&tasks).await;
    let path = report(&world, "a.xml", 2_500);
    let away = [Fate::Away; 6];
    let fates = [
        &[
            Fate::Lost,
            Fate::Answered,
            Fate::Lost,
            Fate::Answered,
            Fate::Lost,
        ][..],
        &away[..],
        &[Fate::Answered, Fate::Answered, Fate::Lost],
    ];
    world.fates.lock().unwrap().extend(fates.concat());
    let patient = SubmitOptions {
        patience: Duration::from_mins(1),
        ..submission(&world, vec![path])
    };
    let (outcome, text) = submitted(patient).await;
    assert_eq!(outcome.unwrap(), Outcome::Passed);
    assert!(world.fates.lock().unwrap().is_empty());
    let finished: run::Finished = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (finished.tests.total, finished.tests.passed),
        (2_500, 2_500)
    );
    let runs = runs(&world).await.runs;
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].run, finished.run);
}

#[tokio::test]
async fn a_gate_that_stays_away_is_given_up_after_the_time_that_was_said() {
    let tasks = TaskTracker::new();
    let world = world(&tasks).await;
    world.fates.lock().unwrap().extend([Fate::Away; 1_000]);
    let path = report(&world, "a.xml", 1);
    let patient = SubmitOptions {
        patience: Duration::from_secs(1),
        ..submission(&world, vec![path])
    };
    let began = Instant::now();
    let error = submitted(patient).await.0.unwrap_err();
    let took = began.elapsed();
    assert!(error.to_string().contains("nobody there"), "{error}");
    assert!((1..20).contains(&took.as_secs()), "{took:?}");
}

/// Another call with the same key and the same files takes up the same run; with other files, it is
/// another one.
#[tokio::test]
async fn a_submission_with_a_key_can_be_taken_up_again() {
    let tasks = TaskTracker::new();
    let world = world(&tasks).await;
    let (one, two) = (report(&world, "1.xml", 1_200), report(&world, "2.xml", 3));
    let keyed = |path: &PathBuf| SubmitOptions {
        key: Some("build-7".into()),
        ..submission(&world, vec![path.clone()])
    };
    // Cut off after the first batch: the client gives up before the second is answered.
    let cut = [&[Fate::Answered; 2][..], &[Fate::Away; 4]].concat();
    world.fates.lock().unwrap().extend(cut);
    assert!(submitted(keyed(&one)).await.0.is_err());
    let run = |text: &str| serde_json::from_str::<run::Finished>(text).unwrap().run;
    let (outcome, first) = submitted(keyed(&one)).await;
    assert_eq!(outcome.unwrap(), Outcome::Passed);
    let (outcome, again) = submitted(keyed(&one)).await;
    assert_eq!(outcome.unwrap(), Outcome::Passed);
    assert_eq!(run(&first), run(&again));
    let (_, other) = submitted(keyed(&two)).await;
    assert_ne!(run(&first), run(&other));
    let failed = SubmitOptions {
        exit_status: Some(1),
        ..keyed(&two)
    };
    let (outcome, refused) = submitted(failed).await;
    assert_eq!(outcome.unwrap(), Outcome::NotPassed);
    assert_ne!(run(&refused), run(&other));
    assert_eq!(runs(&world).await.runs.len(), 3);
}

#[tokio::test]
async fn several_files_are_one_run_and_a_bad_one_is_named() {
    let tasks = TaskTracker::new();
    let world = world(&tasks).await;
    report(&world, "1.xml", 3);
    report(&world, "2.xml", 4);
    let pattern = world.folder.path().join("*.xml").display().to_string();
    let paths = crate::evidence::report::named(&[pattern.clone(), pattern.clone()]).unwrap();
    assert_eq!(paths.len(), 2);
    let (outcome, text) = submitted(submission(&world, paths)).await;
    assert_eq!(outcome.unwrap(), Outcome::Passed);
    let finished: run::Finished = serde_json::from_str(&text).unwrap();
    assert_eq!(finished.tests.total, 7);

    let bad = world.folder.path().join("3.xml");
    std::fs::write(&bad, "<testsuite>\n<testcase name='a'").unwrap();
    let paths = crate::evidence::report::named(&[pattern]).unwrap();
    let error = submitted(submission(&world, paths)).await.0.unwrap_err();
    let told = crate::telemetry::chain(&error);
    let end = "3.xml` cannot be taken: line 2: the file breaks off here; submit it when its writer has ended";
    assert!(told.ends_with(end), "{told}");
    assert_eq!((error.exit_status(), runs(&world).await.runs.len()), (2, 1));
    let none = world.folder.path().join("no*.xml").display().to_string();
    let none = crate::evidence::report::named(&[none]).unwrap_err();
    assert!(crate::telemetry::chain(&none).contains("no file fits; did the tests run"));
}

/// What a runner says only by its exit status (unhandled errors, failed set-ups of suites).
#[tokio::test]
async fn an_exit_status_that_says_more_than_the_file_refuses_the_run() {
    let tasks = TaskTracker::new();
    let world = world(&tasks).await;
    let path = report(&world, "a.xml", 2);
    let failed = SubmitOptions {
        exit_status: Some(1),
        output: Output::Table,
        ..submission(&world, vec![path])
    };
    let (outcome, text) = submitted(failed).await;
    assert_eq!(outcome.unwrap(), Outcome::NotPassed);
    assert!(
        text.contains("exit-status: the tool ended with 1, although no test failed"),
        "{text}"
    );
}

#[test]
fn batches_keep_within_both_limits() {
    let attempt = |bytes| Attempt {
        test: "t".into(),
        attempt: 1,
        outcome: TestOutcome::Failed,
        duration_ms: 0,
        started_at: jiff::Timestamp::UNIX_EPOCH,
        message: Some("\u{1}".repeat(bytes)),
        worker: None,
    };
    let sizes = |attempts| {
        batches_of(attempts)
            .iter()
            .map(Vec::len)
            .collect::<Vec<_>>()
    };
    assert_eq!(sizes(vec![attempt(0); 2_500]), [1_000, 1_000, 500]);
    let large = batches_of(vec![attempt(run::MAX_MESSAGE_BYTES); 1_000]);
    assert!(large.len() > 1);
    for attempts in large {
        let batch = AttemptBatch {
            sequence: 0,
            attempts,
        };
        assert!(serde_json::to_vec(&batch).unwrap().len() < run::MAX_BODY_BYTES);
    }
    assert!(sizes(vec![]).is_empty());
}

#[tokio::test]
async fn a_signed_statement_becomes_a_run_of_its_commit_with_its_signer() {
    let tasks = TaskTracker::new();
    let world = world(&tasks).await;
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dsse");
    let attestation = |path: PathBuf| SubmitOptions {
        files: Files::Attestation(path),
        ..options(&world.gate, "junit/pytest-9.2.xml")
    };
    let (outcome, text) = submitted(attestation(fixtures.join("ed25519.json"))).await;
    assert_eq!(outcome.unwrap().exit_status(), 0, "{text}");
    for told in [
        "3 of 3 tests passed",
        "  signed by ci (SHA-256 of the statement: ",
    ] {
        assert!(text.contains(told), "{text}");
    }
    let [run] = &runs(&world).await.runs[..] else {
        panic!("one run");
    };
    assert_eq!(run.commits[0].as_str(), "a".repeat(40));
    // What is no envelope is not sent.
    let broken = world.folder.path().join("broken.json");
    for (content, told) in [
        ("", "it is empty"),
        ("{\"payload\": \"", "`attestation`: not JSON: EOF"),
        ("<testsuite/>", "`attestation`: not JSON"),
    ] {
        std::fs::write(&broken, content).unwrap();
        let (outcome, _) = submitted(attestation(broken.clone())).await;
        let error = outcome.unwrap_err();
        assert_eq!(error.exit_status(), 2);
        let chain = crate::telemetry::chain(&error);
        assert!(
            chain.contains("broken.json") && chain.contains(told),
            "{chain}"
        );
    }
    assert_eq!(runs(&world).await.runs.len(), 1);
}
