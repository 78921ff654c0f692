//! An attestation of a run: a statement that somebody else has signed, held against what was reported.
//!
//! In: a DSSE envelope as its reporter sends it ([`RawEnvelope`]). Out, on the side of the gate: what is
//! [`Vouched`] for, once a configured signer is known to have signed it; and whether that agrees with the
//! run: the commits, the lists of tests, the suite where the statement names one, and a result that is not
//! better than the gate's own verdict. On the side of the reporter: the [`Report`] that such a statement
//! makes. The statement is an in-toto `Statement` v1 with a predicate of the type `test-result` v0.1; its
//! unknown members are ignored, as the specification demands. Never: a statement that is read by the
//! gate before its signature was verified, or one that makes a run better than its attempts.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::dsse::{Envelope, Signers, invalid, printable, read};
use super::report::{Report, collected};
use super::run::{Attempt, Invalid, MAX_RUN_ATTEMPTS, MAX_TEST_NAME_BYTES, Outcome, Tool};
use super::statement::{STATEMENT, TEST_RESULT, TestOutcome, Tests, subject};
use super::verdict::Verdict;
use crate::digest::sha256_hex;
use crate::names::{SignerName, Suite};
use crate::store::{RunId, RunRow};

/// What a broken statement is answered with.
const AS_SPECIFIED: &str = "sign an in-toto statement of the type `test-result` v0.1";

/// A DSSE envelope, byte for byte as it was sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawEnvelope(Box<RawValue>);

impl RawEnvelope {
    /// Takes `text`, without white space around it.
    ///
    /// # Errors
    /// [`Invalid`] if it is no JSON.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        RawValue::from_string(text.trim().to_owned())
            .map(Self)
            .map_err(|error| {
                let mend = "name a file with one DSSE envelope in JSON";
                invalid("attestation", printable(&error.to_string()), mend)
            })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for RawEnvelope {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RawEnvelope {}

/// That a run was finished with an attestation, and whose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attested {
    /// The signers whose signatures the gate has verified, sorted; never empty.
    pub signed_by: Vec<SignerName>,
    /// SHA-256 of the bytes that they signed, in hexadecimal. One payload finishes one run.
    pub payload_sha256: String,
}

/// Why an attestation is not taken. The run it came with is not finished by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is malformed.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The payload has finished another run.
    #[error(
        "this attestation has finished run `{run}`; sign one for this run, with something in it that is \
         this run's alone, such as the `url` of the job"
    )]
    Replayed {
        /// That run.
        run: RunId,
    },
    /// The result is not what the run is worth.
    #[error(
        "the attestation says {claimed}, and the run is worth {found} ({verdict}{because}); sign what it is \
         worth, or finish the run without an attestation"
    )]
    Result {
        /// What the statement says.
        claimed: &'static str,
        /// What the gate would state.
        found: &'static str,
        /// The verdict.
        verdict: &'static str,
        /// The reasons for it, behind a colon.
        because: String,
    },
    /// The commits are not those of the run.
    #[error(
        "{problem}; sign a statement whose subjects are the commits of the run, by `gitCommit`"
    )]
    Subject {
        /// What does not agree.
        problem: String,
    },
    /// The statement is about another suite.
    #[error(
        "the attestation is of suite `{claimed}`, the run of `{actual}`; send the one of this suite"
    )]
    Suite {
        /// What the statement says.
        claimed: String,
        /// What the run is.
        actual: Suite,
    },
    /// The lists of tests are not those of the run.
    #[error(
        "`{list}` of the attestation is not what was reported: `{test}` is {problem}; report and sign the \
         same run"
    )]
    Tests {
        /// Which list.
        list: &'static str,
        /// The first test of which they differ.
        test: String,
        /// In which way.
        problem: &'static str,
    },
    /// Nobody who is configured has signed it.
    #[error(
        "nobody who counts has signed the attestation: {signatures} signatures, of none of the {signers} \
         configured signers; sign it with a key of a [[signer]], or finish the run without it"
    )]
    Unverified {
        /// How many signatures there are.
        signatures: usize,
        /// How many signers are configured.
        signers: usize,
    },
}

impl Refused {
    /// The stable code, in kebab case.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "attestation-invalid",
            Self::Replayed { .. } => "attestation-replayed",
            Self::Result { .. } => "attestation-result",
            Self::Subject { .. } => "attestation-subject",
            Self::Suite { .. } => "attestation-suite",
            Self::Tests { .. } => "attestation-tests",
            Self::Unverified { .. } => "attestation-unverified",
        }
    }
}

/// An attestation that configured signers have signed.
#[derive(Clone, Debug)]
pub struct Vouched {
    /// As it was sent.
    pub envelope: RawEnvelope,
    /// By whom.
    pub attested: Attested,
    claim: Claim,
}

impl Vouched {
    /// Verifies `envelope`, and then reads it. Blocks for as long as it takes to try every key.
    ///
    /// # Errors
    /// [`Refused::Invalid`] or [`Refused::Unverified`].
    pub fn verify(envelope: RawEnvelope, signers: &Signers) -> Result<Self, Refused> {
        let parsed = Envelope::parse(envelope.as_str().as_bytes())?;
        let verified = signers
            .verify(parsed)
            .map_err(|error| Refused::Unverified {
                signatures: error.signatures,
                signers: error.signers,
            })?;
        Ok(Self {
            claim: Claim::read(&verified.payload)?,
            attested: Attested {
                signed_by: verified.signed_by,
                payload_sha256: sha256_hex(&verified.payload),
            },
            envelope,
        })
    }

    /// Holds it against `run`, whose attempts are `attempts`, and of which the gate thinks `verdict`,
    /// for the reasons `because`.
    ///
    /// # Errors
    /// The first thing that does not agree.
    pub fn agrees(
        &self,
        run: &RunRow,
        attempts: &[Attempt],
        verdict: Verdict,
        because: &[&str],
    ) -> Result<(), Refused> {
        self.claim.has_commits_of(run)?;
        self.claim.has_suite_of(run)?;
        let found = Tests::of(attempts);
        same("passedTests", &self.claim.tests.passed, &found.passed)?;
        same("warnedTests", &self.claim.tests.warned, &found.warned)?;
        same("failedTests", &self.claim.tests.failed, &found.failed)?;
        let found = TestOutcome::of(verdict == Verdict::Passed, &found);
        let claimed = self.claim.result;
        // Who signed that it failed has not signed for a pass.
        let fails = |it| it == TestOutcome::Failed;
        if claimed > found || fails(claimed) != fails(found) {
            let because = because.join(", ");
            return Err(Refused::Result {
                claimed: claimed.word(),
                found: found.word(),
                verdict: verdict.word(),
                because: if because.is_empty() {
                    because
                } else {
                    format!(": {because}")
                },
            });
        }
        Ok(())
    }
}

/// The first test by which `claimed` and `found` (both sorted) differ.
fn same(list: &'static str, claimed: &[String], found: &[String]) -> Result<(), Refused> {
    let (claimed, found): (BTreeSet<_>, BTreeSet<_>) =
        (claimed.iter().collect(), found.iter().collect());
    let differ = |test: Option<&&String>, problem| match test {
        None => Ok(()),
        Some(test) => Err(Refused::Tests {
            list,
            test: printable(test),
            problem,
        }),
    };
    differ(found.difference(&claimed).next(), "missing in it")?;
    differ(claimed.difference(&found).next(), "in it")
}

/// What a statement says, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    subjects: Vec<BTreeMap<String, String>>,
    /// Every suite that `configuration` names as the gate's own statements do.
    suites: Vec<String>,
    result: TestOutcome,
    tests: Tests,
}

/// The JSON of a statement.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<WrittenSubject>,
    predicate_type: String,
    predicate: WrittenResult,
}

#[derive(Deserialize)]
struct WrittenSubject {
    digest: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenResult {
    result: TestOutcome,
    configuration: Vec<WrittenConfiguration>,
    #[serde(default)]
    passed_tests: Vec<String>,
    #[serde(default)]
    warned_tests: Vec<String>,
    #[serde(default)]
    failed_tests: Vec<String>,
}

#[derive(Deserialize)]
struct WrittenConfiguration {
    #[serde(default)]
    name: Option<String>,
}

impl Claim {
    /// Reads the statement `payload`.
    ///
    /// # Errors
    /// [`Invalid`] with the place.
    pub fn read(payload: &[u8]) -> Result<Self, Invalid> {
        let written: Written = read(payload, "payload", AS_SPECIFIED)?;
        for (path, found, wanted) in [
            ("payload._type", &written.kind, STATEMENT),
            (
                "payload.predicateType",
                &written.predicate_type,
                TEST_RESULT,
            ),
        ] {
            if found != wanted {
                let problem = format!("it is `{}`, not `{wanted}`", printable(found));
                return Err(invalid(path, problem, AS_SPECIFIED));
            }
        }
        let predicate = written.predicate;
        let mut tests = Tests {
            passed: predicate.passed_tests,
            warned: predicate.warned_tests,
            failed: predicate.failed_tests,
        };
        check(&tests)?;
        for list in [&mut tests.passed, &mut tests.warned, &mut tests.failed] {
            list.sort_unstable();
        }
        let names = predicate.configuration.into_iter();
        Ok(Self {
            subjects: written.subject.into_iter().map(|it| it.digest).collect(),
            suites: names
                .filter_map(|it| Some(it.name?.strip_prefix("suite ")?.to_owned()))
                .collect(),
            result: predicate.result,
            tests,
        })
    }

    /// The Git commits among the subjects.
    fn commits(&self) -> impl Iterator<Item = &String> {
        self.subjects.iter().filter_map(|it| it.get("gitCommit"))
    }

    /// Commits that the run is not about would be vouched for by nobody's tests; those that are missing
    /// would be by nobody's signature. What has no digest, as a chart, a statement cannot name.
    fn has_commits_of(&self, run: &RunRow) -> Result<(), Refused> {
        let problem = |problem: String| Err(Refused::Subject { problem });
        let stray = self
            .commits()
            .find(|claimed| !run.commits.iter().any(|it| it.as_str() == *claimed));
        if let Some(stray) = stray {
            let stray = printable(stray);
            return problem(format!(
                "the attestation is of commit `{stray}`, the run is not"
            ));
        }
        let mut wanted = run
            .commits
            .iter()
            .filter_map(|commit| Some((commit, subject(commit)?.digest)))
            .peekable();
        if wanted.peek().is_none() {
            return problem("the run is about nothing that has a digest".to_owned());
        }
        let is_subject = |digest: &BTreeMap<String, String>| {
            let mut subjects = self.subjects.iter();
            subjects.any(|it| {
                digest
                    .iter()
                    .all(|(name, value)| it.get(name) == Some(value))
            })
        };
        match wanted.find(|(_, digest)| !is_subject(digest)) {
            None => Ok(()),
            Some((commit, _)) => problem(format!(
                "the run is of commit `{commit}`, the attestation is not"
            )),
        }
    }

    fn has_suite_of(&self, run: &RunRow) -> Result<(), Refused> {
        let other = self.suites.iter().find(|it| **it != run.suite.as_str());
        match other {
            None => Ok(()),
            Some(claimed) => Err(Refused::Suite {
                claimed: printable(claimed),
                actual: run.suite.clone(),
            }),
        }
    }

    /// The run that such a statement is about, as read `now`: a test that passed has one attempt, one
    /// that passed with a warning has failed before. A statement says nothing of times.
    fn report(&self, now: Timestamp) -> Report {
        let attempt = |test: &String, attempt, outcome| Attempt {
            test: test.clone(),
            attempt,
            outcome,
            duration_ms: 0,
            started_at: now,
            message: None,
            worker: None,
        };
        let mut attempts = Vec::new();
        for test in &self.tests.passed {
            attempts.push(attempt(test, 1, Outcome::Passed));
        }
        for test in &self.tests.warned {
            attempts.push(attempt(test, 1, Outcome::Failed));
            attempts.push(attempt(test, 2, Outcome::Passed));
        }
        for test in &self.tests.failed {
            attempts.push(attempt(test, 1, Outcome::Failed));
        }
        Report {
            tool: Tool {
                name: "in-toto test-result".to_owned(),
                version: None,
                plugin: None,
                python: None,
                platform: None,
            },
            collected: collected(&attempts),
            attempts,
            exit_status: i32::from(self.result == TestOutcome::Failed),
            interrupted: false,
            started_at: now,
            finished_at: now,
            attestation: None,
        }
    }
}

/// What goes to the gate with the report that was made from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// The envelope.
    pub envelope: RawEnvelope,
    /// The Git commits that its statement is about.
    pub commits: Vec<String>,
}

/// Makes the report of an envelope that somebody is about to send, `now`. Who signed it is for the gate
/// to find out.
///
/// # Errors
/// [`Invalid`] with the place.
pub fn report(content: &[u8], now: Timestamp) -> Result<Report, Invalid> {
    let envelope = Envelope::parse(content)?;
    let claim = Claim::read(envelope.unverified_payload())?;
    // What was parsed as JSON is UTF-8.
    let envelope = RawEnvelope::new(&String::from_utf8_lossy(content))?;
    Ok(Report {
        attestation: Some(Attestation {
            envelope,
            commits: claim.commits().cloned().collect(),
        }),
        ..claim.report(now)
    })
}

/// Refuses lists that no run could have.
fn check(tests: &Tests) -> Result<(), Invalid> {
    let lists = [
        ("passedTests", &tests.passed),
        ("warnedTests", &tests.warned),
        ("failedTests", &tests.failed),
    ];
    let mut seen = BTreeSet::new();
    for (list, names) in lists {
        for (index, name) in names.iter().enumerate() {
            let refused = |problem: &str, mend: &str| {
                let path = format!("payload.predicate.{list}[{index}]");
                Err(invalid(&path, problem.to_owned(), mend))
            };
            if name.is_empty() || name.len() > MAX_TEST_NAME_BYTES {
                return refused(
                    "the name is empty or too long",
                    &format!("give it 1 to {MAX_TEST_NAME_BYTES} bytes"),
                );
            }
            if name.chars().any(char::is_control) {
                let mend = "escape it, as pytest does in the names of tests";
                return refused("there is a control character in it", mend);
            }
            if !seen.insert(name) {
                return refused("the test is named before", "name each test once");
            }
        }
    }
    // Tests that passed with a warning have two attempts.
    if (seen.len() + tests.warned.len()) as u64 > MAX_RUN_ATTEMPTS {
        return Err(invalid(
            "payload.predicate",
            format!("there are {} tests", seen.len()),
            &format!("split the suite; a run has at most {MAX_RUN_ATTEMPTS} attempts"),
        ));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
