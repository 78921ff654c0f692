//! What a reporter sends about a run, and what it is answered: the JSON of `/syncgate/v1/runs`.
//!
//! In: the bodies of the three calls `open`, `attempts`, `finish`. Out: checked values, or
//! [`Invalid`], which names the field by its path and says what to send instead. Unknown fields,
//! oversized lists and names with control characters are refused; a failure message is cut, since a
//! test that fails at length must still be heard. Never: a value that was not checked.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::evidence::verdict::{Reason, Tests, Verdict};
use crate::names::{AppRef, Component, EnvironmentName, SourceDigest, Suite};

/// Attempts in one batch, at most.
pub const MAX_BATCH_ATTEMPTS: usize = 1_000;
/// Bytes of one request body, at most.
pub const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;
/// Attempts in one run, at most.
pub const MAX_RUN_ATTEMPTS: u64 = 200_000;
/// Bytes of the name of a test, at most; parameters are part of a name, and some are long.
pub const MAX_TEST_NAME_BYTES: usize = 16 * 1024;
/// Bytes of a failure message that are kept.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024;
/// Bytes of any other text, at most.
const MAX_TEXT_BYTES: usize = 512;
/// Items in a list of options or of claimed commits, at most.
const MAX_ITEMS: usize = 100;

/// A body that is not what the interface takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}`: {problem}; {mend}")]
pub struct Invalid {
    /// The field, as a path from the top of the body (`attempts[3].outcome`).
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to send instead.
    pub mend: String,
}

impl Invalid {
    fn new(path: impl Into<String>, problem: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            problem: problem.into(),
            mend: mend.into(),
        }
    }
}

/// Body of `POST /syncgate/v1/runs`: a run begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRun {
    /// The Application that is tested.
    pub application: String,
    /// Its namespace; absent means Argo CD's own.
    #[serde(default)]
    pub application_namespace: Option<String>,
    /// The environment that the reporter believes it is in; must agree where given.
    #[serde(default)]
    pub environment: Option<EnvironmentName>,
    /// Which suite runs.
    pub suite: Suite,
    /// The commits that the reporter believes it tests; must agree where given.
    #[serde(default)]
    pub commits: Option<Vec<String>>,
    /// Whether the reporter's working tree differs from its commit; `null` if it cannot know.
    #[serde(default)]
    pub dirty: Option<bool>,
    /// What the tool selected to run.
    pub collected: Collected,
    /// What runs the tests.
    pub tool: Tool,
    /// Options that shape the selection (`-k expr`), for people.
    #[serde(default)]
    pub options: Vec<String>,
    /// When the run began, by the reporter's clock.
    pub started_at: Timestamp,
}

/// The set of tests that a run is about to execute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collected {
    /// How many were selected.
    pub tests: u64,
    /// SHA-256 of their sorted identifiers joined by `\n`, in lower-case hexadecimal.
    pub digest: String,
    /// How many were found and left out (`-k`, `-m`).
    #[serde(default)]
    pub deselected: u64,
}

/// What runs the tests; for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Its name (`pytest`).
    pub name: String,
    /// Its version.
    #[serde(default)]
    pub version: Option<String>,
    /// The version of the reporting plugin.
    #[serde(default)]
    pub plugin: Option<String>,
    /// The version of Python.
    #[serde(default)]
    pub python: Option<String>,
    /// The operating system.
    #[serde(default)]
    pub platform: Option<String>,
}

/// Body of `POST /syncgate/v1/runs/{run}/attempts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptBatch {
    /// The position of this batch among the batches of the run, from 0.
    pub sequence: u64,
    /// The attempts.
    pub attempts: Vec<Attempt>,
}

/// One attempt of one test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// The identifier of the test (`tests/test_a.py::test_x[1]`).
    pub test: String,
    /// Which attempt of this test in this run, from 1.
    pub attempt: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub duration_ms: u64,
    /// When it began, by the reporter's clock.
    pub started_at: Timestamp,
    /// The beginning of the failure text.
    #[serde(default)]
    pub message: Option<String>,
    /// Which worker ran it (`gw0`).
    #[serde(default)]
    pub worker: Option<String>,
}

/// How an attempt ended, in the words of pytest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It could not be run (a fixture failed).
    Error,
    /// It ran and failed.
    Failed,
    /// It ran and passed.
    Passed,
    /// It was not run.
    Skipped,
    /// It failed, as was expected of it.
    Xfailed,
    /// It passed, although it was expected to fail.
    Xpassed,
}

impl Outcome {
    /// Whether it speaks against the commits.
    #[must_use]
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Error | Self::Failed)
    }

    /// Whether it speaks for the commits.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Passed | Self::Xpassed)
    }

    /// The word of the interface.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Failed => "failed",
            Self::Passed => "passed",
            Self::Skipped => "skipped",
            Self::Xfailed => "xfailed",
            Self::Xpassed => "xpassed",
        }
    }
}

/// Body of `POST /syncgate/v1/runs/{run}/finish`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finish {
    /// The exit status of the tool.
    pub exit_status: i32,
    /// When the run ended, by the reporter's clock.
    pub finished_at: Timestamp,
    /// How many batches were sent.
    pub batches: u64,
    /// How many attempts were sent.
    pub attempts: u64,
    /// Whether the run was cut short (keyboard interrupt, a deadline).
    #[serde(default)]
    pub interrupted: bool,
}

/// Answer to `POST /syncgate/v1/runs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The run's identifier.
    pub run: String,
    /// The Application.
    pub application: String,
    /// The environment it is in.
    pub environment: EnvironmentName,
    /// What is promoted.
    pub component: Component,
    /// Which suite.
    pub suite: Suite,
    /// The commits that the run is about, one per source.
    pub commits: Vec<String>,
    /// The digest of the sources as they are in this environment.
    pub source_digest: Option<SourceDigest>,
    /// The operation that the run belongs to, if one was running.
    pub operation: Option<OperationRef>,
    /// Where the run can be read.
    pub url: String,
    /// The decision that admitted the report.
    pub decision: String,
}

/// Names the operation of an application that a run belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationRef {
    /// When it started, by Argo CD's clock.
    pub started_at: Timestamp,
}

/// Answer to `POST /syncgate/v1/runs/{run}/attempts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// The run's identifier.
    pub run: String,
    /// The `sequence` that the next batch must have.
    pub next: u64,
}

/// Answer to `POST /syncgate/v1/runs/{run}/finish`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// The run's identifier.
    pub run: String,
    /// What the run is worth.
    pub verdict: Verdict,
    /// Why.
    pub reasons: Vec<Reason>,
    /// How many tests ended how.
    pub tests: Tests,
    /// From when on the run can meet a requirement.
    pub counts: Counts,
    /// Where the run can be read.
    pub url: String,
    /// The decision that admitted the report.
    pub decision: String,
}

/// From when on a run is the word on its commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counts {
    /// It never meets a requirement.
    Never,
    /// From now on.
    Now,
    /// Once the operation it ran in has ended well.
    WhenOperationSucceeds,
}

/// Reads a body of the interface; the caller still has to `check` the value.
///
/// # Errors
/// [`Invalid`] with the path of the first field that is missing, unknown or of another type.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Invalid> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let problem = printable(&error.inner().to_string());
        Invalid::new(
            path,
            problem,
            "send what `/syncgate/openapi.json` describes",
        )
    })?;
    reader.end().map_err(|_| {
        Invalid::new(
            ".",
            "there is text after the JSON value",
            "send one JSON object",
        )
    })?;
    Ok(value)
}

impl NewRun {
    /// Names the Application.
    #[must_use]
    pub fn application_ref(&self) -> AppRef {
        AppRef {
            namespace: self.application_namespace.clone(),
            name: self.application.clone(),
        }
    }

    /// Checks everything that the types do not.
    ///
    /// # Errors
    /// [`Invalid`] for the first field that is out of bounds.
    pub fn check(&self) -> Result<(), Invalid> {
        kubernetes_name("application", &self.application)?;
        if let Some(namespace) = &self.application_namespace {
            kubernetes_name("application_namespace", namespace)?;
        }
        if let Some(commits) = &self.commits {
            list("commits", commits)?;
            if commits.is_empty() {
                let mend = "send `null` where no commit is known";
                return Err(Invalid::new("commits", "the list is empty", mend));
            }
        }
        if self.collected.tests > MAX_RUN_ATTEMPTS {
            return Err(Invalid::new(
                "collected.tests",
                format!(
                    "{} tests are more than a run may have",
                    self.collected.tests
                ),
                format!("split the suite; a run has at most {MAX_RUN_ATTEMPTS} attempts"),
            ));
        }
        let digest = &self.collected.digest;
        if digest.len() != 64
            || !digest
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Err(Invalid::new(
                "collected.digest",
                "it is not a SHA-256 in lower-case hexadecimal",
                "send the SHA-256 of the sorted test names joined by line ends",
            ));
        }
        short_text("tool.name", &self.tool.name)?;
        let facts = [
            ("tool.version", &self.tool.version),
            ("tool.plugin", &self.tool.plugin),
            ("tool.python", &self.tool.python),
            ("tool.platform", &self.tool.platform),
        ];
        for (path, text) in facts {
            if let Some(text) = text {
                short_text(path, text)?;
            }
        }
        list("options", &self.options)
    }
}

impl AttemptBatch {
    /// Checks everything that the types do not, and cuts failure messages to
    /// [`MAX_MESSAGE_BYTES`].
    ///
    /// # Errors
    /// [`Invalid`] for the first field that is out of bounds.
    pub fn check(&mut self) -> Result<(), Invalid> {
        let count = self.attempts.len();
        if count > MAX_BATCH_ATTEMPTS {
            return Err(Invalid::new(
                "attempts",
                format!("{count} attempts are more than a batch may have"),
                format!("send at most {MAX_BATCH_ATTEMPTS} attempts a batch"),
            ));
        }
        if count == 0 {
            let mend = "send a batch only when there is an attempt to report";
            return Err(Invalid::new("attempts", "the list is empty", mend));
        }
        for (index, attempt) in self.attempts.iter_mut().enumerate() {
            attempt.check(&format!("attempts[{index}]"))?;
        }
        Ok(())
    }
}

impl Attempt {
    fn check(&mut self, path: &str) -> Result<(), Invalid> {
        text(&format!("{path}.test"), &self.test, MAX_TEST_NAME_BYTES)?;
        if self.attempt == 0 {
            return Err(Invalid::new(
                format!("{path}.attempt"),
                "attempts are counted from 1",
                "send 1 for the first attempt of a test",
            ));
        }
        if let Some(worker) = &self.worker {
            short_text(&format!("{path}.worker"), worker)?;
        }
        if let Some(message) = &mut self.message {
            cut(message, MAX_MESSAGE_BYTES);
        }
        Ok(())
    }
}

/// Shortens `text` to at most `limit` bytes, at the boundary of a character.
pub(crate) fn cut(text: &mut String, limit: usize) {
    text.truncate(text.floor_char_boundary(limit));
}

fn kubernetes_name(path: &str, name: &str) -> Result<(), Invalid> {
    let fits = (1..=253).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b));
    if fits {
        return Ok(());
    }
    Err(Invalid::new(
        path,
        format!(
            "`{}` is not the name of a Kubernetes object",
            printable(name)
        ),
        "send lower-case letters, digits, `-` and `.`, at most 253",
    ))
}

fn list(path: &str, items: &[String]) -> Result<(), Invalid> {
    if items.len() > MAX_ITEMS {
        return Err(Invalid::new(
            path,
            format!("{} items are too many", items.len()),
            format!("send at most {MAX_ITEMS}"),
        ));
    }
    for (index, item) in items.iter().enumerate() {
        short_text(&format!("{path}[{index}]"), item)?;
    }
    Ok(())
}

fn short_text(path: &str, value: &str) -> Result<(), Invalid> {
    text(path, value, MAX_TEXT_BYTES)
}

fn text(path: &str, value: &str, limit: usize) -> Result<(), Invalid> {
    let length = value.len();
    if length == 0 || length > limit {
        return Err(Invalid::new(
            path,
            format!("a text of {length} bytes does not fit here"),
            format!("send between 1 and {limit} bytes"),
        ));
    }
    // A line end would let one test pass for two in the digest of the collected set, and control
    // characters would reach terminals.
    if value.chars().any(char::is_control) {
        return Err(Invalid::new(
            path,
            "there is a control character in it",
            "escape it, as pytest does in the names of tests",
        ));
    }
    Ok(())
}

/// `text` without control characters and cut, for a message.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_run() -> serde_json::Value {
        serde_json::json!({
            "application": "checkout-staging", "suite": "integration",
            "collected": {"tests": 1, "digest": "0".repeat(64), "deselected": 0},
            "tool": {"name": "pytest", "version": "8.4.1"},
            "started_at": "2026-11-23T04:00:00Z",
        })
    }

    fn refusal(change: impl Fn(&mut serde_json::Value)) -> String {
        let mut body = new_run();
        change(&mut body);
        let body = body.to_string();
        let error = match read::<NewRun>(body.as_bytes()) {
            Ok(run) => run.check().unwrap_err(),
            Err(error) => error,
        };
        error.to_string()
    }

    #[test]
    fn a_run_needs_no_more_than_its_application_suite_tests_tool_and_start() {
        let run: NewRun = read(new_run().to_string().as_bytes()).unwrap();
        run.check().unwrap();
        assert_eq!(run.application_ref().to_string(), "checkout-staging");
        assert_eq!(run.dirty, None);
    }

    #[test]
    fn a_refusal_names_the_field_and_the_mend() {
        insta::assert_snapshot!(
            refusal(|b| b["collected"]["tests"] = "1".into()),
            @"`collected.tests`: invalid type: string \"1\", expected u64 at line 1 column 145; send what `/syncgate/openapi.json` describes"
        );
        insta::assert_snapshot!(
            refusal(|b| b["suite"] = "two words".into()),
            @""
        );
        insta::assert_snapshot!(
            refusal(|b| b["verdict"] = "passed".into()),
            @""
        );
        insta::assert_snapshot!(
            refusal(|b| b["application"] = "../prod".into()),
            @""
        );
        insta::assert_snapshot!(
            refusal(|b| b["commits"] = serde_json::json!([])),
            @""
        );
    }

    #[test]
    fn a_batch_has_bounds_and_messages_are_cut_at_a_character() {
        let attempt = Attempt {
            test: "t".into(),
            attempt: 1,
            outcome: Outcome::Failed,
            duration_ms: 1,
            started_at: Timestamp::UNIX_EPOCH,
            message: Some("é".repeat(MAX_MESSAGE_BYTES)),
            worker: None,
        };
        let mut batch = AttemptBatch {
            sequence: 0,
            attempts: vec![attempt.clone()],
        };
        batch.check().unwrap();
        assert_eq!(
            batch.attempts[0].message.as_ref().unwrap().len(),
            MAX_MESSAGE_BYTES
        );

        for (change, path) in [
            (
                (|a: &mut Attempt| a.attempt = 0) as fn(&mut Attempt),
                "attempts[0].attempt",
            ),
            (|a| a.test = "a\nb".into(), "attempts[0].test"),
            (
                |a| a.test = "t".repeat(MAX_TEST_NAME_BYTES + 1),
                "attempts[0].test",
            ),
            (|a| a.worker = Some(String::new()), "attempts[0].worker"),
        ] {
            let mut wrong = attempt.clone();
            change(&mut wrong);
            let mut batch = AttemptBatch {
                sequence: 0,
                attempts: vec![wrong],
            };
            assert_eq!(batch.check().unwrap_err().path, path);
        }
        batch.attempts = vec![attempt; MAX_BATCH_ATTEMPTS + 1];
        assert_eq!(batch.check().unwrap_err().path, "attempts");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            let _ = read::<NewRun>(&bytes);
            let _ = read::<AttemptBatch>(&bytes);
            let _ = read::<Finish>(&bytes);
        }
    }
}
