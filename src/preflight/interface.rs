//! What a preflight asks and answers: the JSON of `POST /syncgate/v1/preflight`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::evidence::run::{Invalid, kubernetes_name};
use crate::names::{AppRef, EnvironmentName, Suite};

/// Endpoints in one question, at most.
pub const MAX_ENDPOINTS: usize = 32;
/// Bytes of the name of an endpoint, at most.
const MAX_NAME_BYTES: usize = 253;
/// The longest run that can be expected: a week, in seconds.
pub const MAX_EXPECTED_SECONDS: u64 = 7 * 24 * 3_600;

/// What a test job is about to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The Application that will be tested.
    pub application: String,
    /// Its namespace; absent means Argo CD's own.
    #[serde(default)]
    pub application_namespace: Option<String>,
    /// The environment that the caller believes it is in; must agree where given.
    #[serde(default)]
    pub environment: Option<EnvironmentName>,
    /// Which suite will run.
    pub suite: Suite,
    /// How long the run is expected to take; absent means as long as it took before.
    #[serde(default)]
    pub expected_seconds: Option<u64>,
    /// The names of the configured endpoints that will be used.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// The time by the caller's clock when this was sent.
    pub now: Timestamp,
}

impl Asked {
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
        let invalid = |path: String, problem: &str, mend: String| {
            Err(Invalid {
                path,
                problem: problem.to_owned(),
                mend,
            })
        };
        if self.expected_seconds > Some(MAX_EXPECTED_SECONDS) {
            let mend = format!("send at most {MAX_EXPECTED_SECONDS}, a week");
            return invalid("expected_seconds".to_owned(), "it is too long", mend);
        }
        if self.endpoints.len() > MAX_ENDPOINTS {
            let mend = format!("send at most {MAX_ENDPOINTS}");
            return invalid("endpoints".to_owned(), "there are too many", mend);
        }
        for (index, name) in self.endpoints.iter().enumerate() {
            let path = || format!("endpoints[{index}]");
            let fits = (1..=MAX_NAME_BYTES).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_graphic());
            if !fits {
                let mend = "send the name of an [[endpoint]] of the gate's configuration";
                return invalid(path(), "it is not the name of an endpoint", mend.to_owned());
            }
            if self.endpoints.iter().take(index).any(|other| other == name) {
                return invalid(path(), "it is there twice", "name it once".to_owned());
            }
        }
        Ok(())
    }
}

/// What the gate answers, to a caller whose credential is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether every check is.
    pub ok: bool,
    /// The address of the gate, as it knows itself.
    pub gate: String,
    /// Its version.
    pub version: String,
    /// The time by its clock.
    pub now: Timestamp,
    /// Who asked, as people call them.
    pub caller: String,
    /// When their credential ends.
    pub expires_at: Timestamp,
    /// How long the run is expected to take; none where nobody has said, and none is known that passed.
    pub expected_seconds: Option<u64>,
    /// The checks: credential, lifetime, clock and report once each, and one for each endpoint.
    pub checks: Vec<Check>,
    /// The decision, as in the log.
    pub decision: String,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at.
    pub check: Subject,
    /// Which one, where there are several: the name of an endpoint.
    pub about: Option<String>,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found, in one line.
    pub detail: String,
    /// What to do, in one line; none where nothing need be done.
    pub mend: Option<String>,
}

impl Check {
    /// A check that found all well.
    pub(super) fn good(check: Subject, detail: impl Into<String>) -> Self {
        Self {
            check,
            about: None,
            ok: true,
            detail: detail.into(),
            mend: None,
        }
    }

    /// A check that failed.
    pub(super) fn bad(check: Subject, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            check,
            about: None,
            ok: false,
            detail: detail.into(),
            mend: Some(mend.into()),
        }
    }

    /// What was looked at, in words: `clock`, `endpoint checkout-api`.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.about {
            None => self.check.word().to_owned(),
            Some(about) => format!("{} {about}", self.check.word()),
        }
    }
}

/// What a check looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// The caller's clock agrees with the gate's.
    Clock,
    /// The caller is known, and by what.
    Credential,
    /// An endpoint lets the caller in, and answers.
    Endpoint,
    /// The credential lives as long as the run takes.
    Lifetime,
    /// The caller may report for the application.
    Report,
}

impl Subject {
    /// The word of the interface.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Credential => "credential",
            Self::Endpoint => "endpoint",
            Self::Lifetime => "lifetime",
            Self::Report => "report",
        }
    }
}

#[cfg(test)]
mod tests;
