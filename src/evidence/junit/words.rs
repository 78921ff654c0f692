//! What writers call outcomes, and the forms that are taken for `JUnit` XML.

use crate::evidence::run::Outcome;

const PASSED: [&str; 13] = [
    "",
    "run",
    "passed",
    "pass",
    "success",
    "successful",
    "succeeded",
    "ok",
    "completed",
    "complete",
    "executed",
    "finished",
    "fixed",
];
const NOT_RUN: [&str; 11] = [
    "skipped",
    "skip",
    "notrun",
    "notexecuted",
    "disabled",
    "ignored",
    "pending",
    "suppressed",
    "untested",
    "todo",
    "inconclusive",
];
const FAILED: [&str; 7] = [
    "failed",
    "failure",
    "fail",
    "broken",
    "regression",
    "ko",
    // Qt Test; its run fails.
    "xpass",
];
const ABORTED: [&str; 9] = [
    "aborted",
    "interrupted",
    "timedout",
    "timeout",
    "crashed",
    "killed",
    "cancelled",
    "canceled",
    "terminated",
];
const ERROR: [&str; 5] = ["error", "errored", "panicked", "undefined", "incomplete"];

/// What the attributes `status` and `result` of a test case say together: the worse. A word that is
/// not known is no pass, and is given back to be told.
pub(super) fn outcome_of(status: &str, result: &str) -> (Outcome, Option<String>) {
    let words = [status, result].map(|word| word.trim().to_ascii_lowercase());
    let any = |wanted: &[&str]| words.iter().any(|word| wanted.contains(&word.as_str()));
    let unknown = words.iter().find(|word| {
        let lists: [&[&str]; 6] = [&PASSED, &NOT_RUN, &FAILED, &ABORTED, &ERROR, &["xfail"]];
        !lists.iter().any(|list| list.contains(&word.as_str()))
    });
    if any(&FAILED) {
        (Outcome::Failed, None)
    } else if any(&ERROR) || any(&ABORTED) {
        (Outcome::Error, None)
    } else if let Some(word) = unknown {
        let word: String = word.chars().take(40).collect();
        (
            Outcome::Error,
            Some(format!("the status `{word}` is not known")),
        )
    } else if any(&["xfail"]) {
        (Outcome::Xfailed, None)
    } else if any(&NOT_RUN) {
        (Outcome::Skipped, None)
    } else {
        (Outcome::Passed, None)
    }
}

/// Whether a suite that gives itself this status has failed.
pub(super) fn is_bad(word: &str) -> bool {
    let word = word.trim().to_ascii_lowercase();
    FAILED.contains(&word.as_str()) || ERROR.contains(&word.as_str())
}

/// Whether it says that it did not come to its end.
pub(super) fn is_aborted(word: &str) -> bool {
    ABORTED.contains(&word.trim().to_ascii_lowercase().as_str())
}

/// Whether an attribute like `aborted` is set.
pub(super) fn is_set(value: &str) -> bool {
    !["", "0", "false", "no"].contains(&value.trim().to_ascii_lowercase().as_str())
}

/// What another first element says about the file.
pub(super) fn first_element(name: &str) -> String {
    let form = match name {
        "testrun" => Some("Visual Studio's"),
        "test-run" | "test-results" => Some("NUnit's"),
        "assemblies" | "assembly" => Some("xUnit.net's"),
        "testng-results" => Some("TestNG's"),
        "robot" => Some("Robot Framework's (its option is `--xunit`)"),
        "coverage" => Some("one of coverage"),
        _ => None,
    };
    let name: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
    form.map_or_else(
        || format!("its first element is `{name}`"),
        |form| {
            format!(
                "its first element is `{name}`, the form is {form}; have it written as JUnit XML"
            )
        },
    )
}
