//! What a reporter sends about a run, and what it is answered: the JSON of `/syncgate/v1/runs`.
//!
//! In: the bodies of the calls `open`, `attempts`, `finish` and `withdraw`. Out: checked values, or
//! [`Invalid`], which names the field by its path and says what to send instead. Unknown fields,
//! oversized lists and names with control characters are refused; a failure message is cut, since a
//! test that fails at length must still be heard. Never: a value that was not checked.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::attestation::RawEnvelope;
use crate::names::{AppRef, EnvironmentName, Suite};

mod answers;
mod withdrawing;

pub use answers::{Acknowledged, Counts, Finished, Opened, OperationRef};
pub use withdrawing::{Withdraw, WithdrawnRun};

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
    /// A DSSE envelope around an in-toto statement about this run, as somebody signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation: Option<RawEnvelope>,
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

/// Checks that `name`, at `path`, could be one of an object of Kubernetes.
pub(crate) fn kubernetes_name(path: &str, name: &str) -> Result<(), Invalid> {
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
mod tests;
