//! What an entry says, and its fixed bytes.
//!
//! An entry is JSON: `format` (1), `kind` (`open` or `close`) and the fields of [`Opening`] or
//! [`Closing`]. Its bytes are the canonical JSON; they are made once, stored, hashed, and never made
//! again. The place in the log is not in them: the writer gives it, after the bytes are fixed.
//!
//! | field of an opening | meaning | when absent |
//! |---|---|---|
//! | `decision`, `at` | which decision, when the call came in | never |
//! | `door`, `wire`, `remote` | where it came in, how it was spoken, from which address | `remote` null: not over a network |
//! | `operation`, `effect` | one of the closed table, and its effect | never |
//! | `caller` | who was verified: `unique`, `display`, `roles` | null: nobody was |
//! | `applications` | which it names | empty: none |
//! | `planned` | per application what would be rolled out, what the gate found, and what held it | empty: not a deploy |
//! | `word`, `determining` | what was decided, by which policies | `determining` empty: by none |
//! | `policy_digest`, `schema_digest` | which policies and schema were in force | null: none was asked |
//! | `evaluation` | entities and context, to decide it again | null: none was asked |
//! | `request` | further facts of the request | null: none |
//!
//! No field holds a credential or headers. Free text can hold what a caller pasted into it; the
//! [`sieve`](super::sieve) takes recognisable credentials out before the bytes are fixed.

use std::collections::BTreeSet;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Error, merkle, sieve};
use crate::argocd::operation::Effect;
use crate::digest::canonical_json;
use crate::gate::{ApplicationPlan, Finding};
use crate::hold::Hold;
use crate::identity;
use crate::names::{AppRef, DecisionId, Role, is_full_sha};
use crate::store::{EntryKind, NewEntry, StoredEntry};

/// The form of the bytes that this version writes.
const FORMAT: u64 = 1;

/// The largest entry. What a decision needs is far below it; a request that would make a larger one
/// is refused rather than cut.
pub const MAX_BYTES: usize = 1 << 20;

/// The first half of a record: what was decided, and from what.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Opening {
    /// The decision.
    pub decision: DecisionId,
    /// When the call came in.
    pub at: Timestamp,
    /// Where it came in.
    pub door: Door,
    /// The operation (`ApplicationService.Sync`).
    pub operation: String,
    /// Its effect, as the table of operations words it (`deploy`).
    pub effect: String,
    /// How it was spoken (`grpc-web`).
    pub wire: String,
    /// Who called; absent when nobody was verified.
    pub caller: Option<CallerFacts>,
    /// The address it came from.
    pub remote: Option<IpAddr>,
    /// The applications that it names.
    pub applications: Vec<AppRef>,
    /// For a deploy, each application that would be rolled out.
    pub planned: Vec<Planned>,
    /// What was decided.
    pub word: Word,
    /// The policies that determined it.
    pub determining: Vec<String>,
    /// Digest of the policies in force.
    pub policy_digest: Option<String>,
    /// Digest of their schema.
    pub schema_digest: Option<String>,
    /// What is needed to decide it again: entities and context.
    pub evaluation: Value,
    /// Further facts of the request, for people.
    pub request: Value,
}

impl Opening {
    /// The opening of `decision`, made at `at`, about `operation` with its `effect`, of which nothing else
    /// is known yet.
    #[must_use]
    pub fn new(
        decision: DecisionId,
        at: Timestamp,
        door: Door,
        operation: &str,
        effect: &str,
        word: Word,
    ) -> Self {
        Self {
            decision,
            at,
            door,
            operation: operation.to_owned(),
            effect: effect.to_owned(),
            wire: "own".to_owned(),
            caller: None,
            remote: None,
            applications: Vec::new(),
            planned: Vec::new(),
            word,
            determining: Vec::new(),
            policy_digest: None,
            schema_digest: None,
            evaluation: Value::Null,
            request: Value::Null,
        }
    }

    /// The opening of `decision`, made at `at`, about something called `name` that the gate has seen or done by
    /// itself, and that is over.
    #[must_use]
    pub fn of_gate(decision: DecisionId, at: Timestamp, name: &str) -> Self {
        let effect = Effect::Report.word();
        Self::new(decision, at, Door::Controller, name, effect, Word::Note)
    }

    /// What the log is searched by, cleaned as the bytes are.
    fn columns(&self) -> (Option<String>, Vec<AppRef>, Vec<String>) {
        let applications = self.applications.iter().map(|application| AppRef {
            namespace: application.namespace.as_deref().map(sieve::text),
            name: sieve::text(&application.name),
        });
        let mut commits = BTreeSet::new();
        for planned in &self.planned {
            let sources = planned.plan.iter().flat_map(|plan| &plan.sources);
            let ids = sources.map(|source| source.commit.to_string());
            commits.extend(ids.filter(|id| is_full_sha(id)));
        }
        collect_commits(&self.request, &mut commits);
        let operation = sieve::text(&self.operation);
        let commits = commits.into_iter().collect();
        (Some(operation), applications.collect(), commits)
    }
}

/// The commits that stand anywhere in `value`.
fn collect_commits(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if is_full_sha(text) => {
            found.insert(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| collect_commits(item, found)),
        Value::Object(fields) => fields
            .values()
            .for_each(|field| collect_commits(field, found)),
        _ => {}
    }
}

/// Through which door a call came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Door {
    /// The Kubernetes webhook.
    Admission,
    /// Argo CD's API and our own.
    Api,
    /// None: Syncgate itself acts.
    Controller,
    /// An endpoint under test.
    Test,
}

/// Who called, as far as the record needs it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CallerFacts {
    /// What no other caller has: `ISSUER#SUBJECT`.
    pub unique: String,
    /// What people call them.
    pub display: String,
    /// Their roles at that time.
    pub roles: BTreeSet<Role>,
    /// The session that their credential belongs to: the decision that began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<DecisionId>,
}

impl From<&identity::Caller> for CallerFacts {
    fn from(caller: &identity::Caller) -> Self {
        Self {
            unique: caller.unique(),
            display: caller.display(),
            roles: caller.roles.clone(),
            session: caller.sign_in.session,
        }
    }
}

/// One application of a deploy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Planned {
    /// Which.
    pub application: AppRef,
    /// What would be done to it (`ApplicationService.Sync`).
    #[serde(default)]
    pub action: String,
    /// Of which kinds that is (`source-armed`).
    #[serde(default)]
    pub changes: Vec<String>,
    /// What would be rolled out; absent when that could not be pinned.
    pub plan: Option<ApplicationPlan>,
    /// What the gate found; absent when nothing was looked up.
    pub finding: Option<Finding>,
    /// Where that would take the application (`forward`); empty in entries from before it was told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub moves: String,
    /// Whether it was an emergency: `asked` or `open`, as policies see it in `context.break_glass`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<String>,
    /// What held its environment.
    #[serde(default, skip_serializing_if = "Hold::is_none")]
    pub held: Hold,
}

/// What was decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// Nobody asked: Argo CD did what no decision permitted.
    Alarm,
    /// Syncgate answers by itself.
    Answer,
    /// The policies say no.
    Deny,
    /// Nobody asked: something was seen, and is kept.
    Note,
    /// The policies say no, but the environment only observes: the call goes on.
    ObserveDeny,
    /// The policies say yes.
    Permit,
    /// Refused before any policy was asked: no credential, unknown operation, bad body.
    Refuse,
}

impl Word {
    /// The word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Answer => "answer",
            Self::Deny => "deny",
            Self::Note => "note",
            Self::ObserveDeny => "observe-deny",
            Self::Permit => "permit",
            Self::Refuse => "refuse",
        }
    }
}

/// The second half of a record: what became of the call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Closing {
    /// The decision.
    pub decision: DecisionId,
    /// When it ended.
    pub at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// The cause behind it, for people who may read the log; the caller was told less.
    pub detail: Option<String>,
}

/// How a call ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Outcome {
    /// Its handling stopped without saying how it ended (the caller went away, or a fault here).
    Abandoned,
    /// Syncgate answered by itself.
    Answered,
    /// Something broke here or on the way.
    Failed {
        /// At which stage.
        stage: String,
    },
    /// The upstream answered.
    Forwarded {
        /// With which status.
        status: UpstreamStatus,
        /// After how long.
        upstream_ms: u64,
        /// How many bytes of answer were passed on.
        bytes: u64,
    },
    /// Syncgate itself was stopped in between; found at the next start.
    Interrupted {
        /// Whether the call had reached the upstream.
        reached: Reached,
        /// How that is known.
        evidence: String,
    },
    /// It was not let through.
    Refused {
        /// The stable code of the refusal.
        code: String,
    },
}

/// The status of the upstream's answer, in its own protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpstreamStatus {
    /// A `grpc-status`.
    Grpc(u32),
    /// An HTTP status.
    Http(u16),
}

/// Whether an interrupted call had reached the upstream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reached {
    /// It had not.
    No,
    /// Nobody can tell.
    Unknown,
    /// It had.
    Yes,
}

/// An entry as its bytes say it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Entry {
    /// The second half.
    Close(Closing),
    /// The first half.
    Open(Box<Opening>),
}

impl Entry {
    /// Fixes the bytes of the entry and hashes them.
    ///
    /// # Errors
    /// [`Error::TooLarge`] or [`Error::Encode`].
    pub fn encode(&self) -> Result<NewEntry, Error> {
        let mut value = serde_json::to_value(self).map_err(Error::Encode)?;
        sieve::clean(&mut value);
        if let Value::Object(fields) = &mut value {
            fields.insert("format".into(), FORMAT.into());
        }
        let bytes = canonical_json(&value);
        if bytes.len() > MAX_BYTES {
            return Err(Error::TooLarge { bytes: bytes.len() });
        }
        let (operation, applications, commits) = match self {
            Self::Close(_) => (None, Vec::new(), Vec::new()),
            Self::Open(opening) => opening.columns(),
        };
        Ok(NewEntry {
            decision: self.decision(),
            kind: self.kind(),
            at: self.at(),
            operation,
            applications,
            commits,
            leaf: merkle::leaf_hash(&bytes),
            bytes,
        })
    }

    /// Reads the bytes of a stored entry.
    ///
    /// # Errors
    /// [`Error::Decode`] when they are not an entry, [`Error::Format`] when they are one of a form
    /// that this version does not know.
    pub fn decode(stored: &StoredEntry) -> Result<Self, Error> {
        let failed = |source| Error::Decode {
            seq: stored.seq,
            source,
        };
        let value: Value = serde_json::from_slice(&stored.bytes).map_err(failed)?;
        let format = value.get("format").and_then(Value::as_u64);
        if format != Some(FORMAT) {
            return Err(Error::Format { seq: stored.seq });
        }
        serde_json::from_value(value).map_err(failed)
    }

    /// The decision it belongs to.
    #[must_use]
    pub fn decision(&self) -> DecisionId {
        match self {
            Self::Close(closing) => closing.decision,
            Self::Open(opening) => opening.decision,
        }
    }

    /// Opening or closing.
    #[must_use]
    pub fn kind(&self) -> EntryKind {
        match self {
            Self::Close(_) => EntryKind::Close,
            Self::Open(_) => EntryKind::Open,
        }
    }

    /// When it was made.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Close(closing) => closing.at,
            Self::Open(opening) => opening.at,
        }
    }
}
