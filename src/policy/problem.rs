//! What is wrong with a folder of policies: where, what, and how to mend it.
//!
//! All problems of a folder are collected before anybody is told, so that one look mends them all.

use std::fmt;

use serde::Serialize;
use serde::ser::{SerializeStruct as _, Serializer};

/// A folder of policies that cannot take effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct LoadError {
    /// Every problem found, in the order of the files; never empty.
    pub problems: Vec<Problem>,
}

/// One fault, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file's name in the folder, or the folder itself.
    pub file: String,
    /// Line and column, both from 1, where the fault has a place in the file. A column counts
    /// characters.
    pub place: Option<(usize, usize)>,
    /// What it is.
    pub fault: Fault,
}

/// The closed list of faults.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// An `@id` that cannot stand in a record.
    #[error("policy id `{id}` is not made of letters, digits and `-_./:`, at most 128")]
    BadId {
        /// As written.
        id: String,
    },
    /// A file of cases that cannot be read as such.
    #[error("not a file of cases: {message}")]
    Cases {
        /// What the parser said.
        message: String,
    },
    /// A case that does not come out as it says.
    #[error("case `{case}` fails: {message}")]
    CaseFails {
        /// Its name.
        case: String,
        /// What was expected, and what came out.
        message: String,
    },
    /// Two policies with one `@id`.
    #[error("policy id `{id}` is already that of the policy at {first}")]
    DuplicateId {
        /// The id.
        id: String,
        /// `FILE:LINE` of the one before.
        first: String,
    },
    /// A policy that strict validation against the schema refuses.
    #[error("policy `{policy}` does not fit the schema: {message}")]
    Invalid {
        /// Its id.
        policy: String,
        /// What the validator said.
        message: String,
        /// The validator's own advice.
        help: Option<String>,
    },
    /// A policy without `@id`.
    #[error("a policy has no `@id`")]
    MissingId,
    /// A policy that no request can ever match.
    #[error("policy `{policy}` can never match: {message}")]
    NeverMatches {
        /// Its id.
        policy: String,
        /// What the validator said.
        message: String,
    },
    /// The folder has no policy at all.
    #[error("there is no policy here")]
    NoPolicy,
    /// The folder has no schema.
    #[error("there is no `schema.cedarschema` here")]
    NoSchema,
    /// Bytes that are not text.
    #[error("not UTF-8")]
    NotText,
    /// The schema cannot be read.
    #[error("not a schema: {message}")]
    Schema {
        /// What the parser said.
        message: String,
        /// The parser's own advice.
        help: Option<String>,
    },
    /// The schema does not fit the requests that this gate makes.
    #[error("the schema does not fit `{action}` as this gate asks about it: {message}")]
    SchemaUnfit {
        /// The action.
        action: String,
        /// What validation said.
        message: String,
    },
    /// Text with characters that deceive the eye.
    #[error("policy `{policy}` is not what it looks like: {message}")]
    Suspicious {
        /// Its id.
        policy: String,
        /// What the validator said.
        message: String,
    },
    /// A file that is not Cedar.
    #[error("not a policy: {message}")]
    Syntax {
        /// What the parser said.
        message: String,
        /// The parser's own advice.
        help: Option<String>,
    },
    /// A policy with slots, which nothing would ever fill.
    #[error("a template has no effect")]
    Template,
    /// More bytes than are read.
    #[error("larger than {limit} bytes")]
    TooLarge {
        /// How many are.
        limit: u64,
    },
    /// More things than are taken.
    #[error("more than {limit} {what}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many are taken.
        limit: usize,
    },
    /// A policy that no case shows at work.
    #[error("no case is decided by policy `{policy}`")]
    Undetermined {
        /// Its id.
        policy: String,
    },
    /// The file or folder cannot be read.
    #[error("cannot be read: {message}")]
    Unreadable {
        /// What the system said.
        message: String,
    },
}

impl Fault {
    /// The stable name of this kind of fault.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadId { .. } => "bad-id",
            Self::Cases { .. } => "cases",
            Self::CaseFails { .. } => "case-fails",
            Self::DuplicateId { .. } => "duplicate-id",
            Self::Invalid { .. } => "invalid",
            Self::MissingId => "missing-id",
            Self::NeverMatches { .. } => "never-matches",
            Self::NoPolicy => "no-policy",
            Self::NoSchema => "no-schema",
            Self::NotText => "not-text",
            Self::Schema { .. } => "schema",
            Self::SchemaUnfit { .. } => "schema-unfit",
            Self::Suspicious { .. } => "suspicious",
            Self::Syntax { .. } => "syntax",
            Self::Template => "template",
            Self::TooLarge { .. } => "too-large",
            Self::TooMany { .. } => "too-many",
            Self::Undetermined { .. } => "undetermined",
            Self::Unreadable { .. } => "unreadable",
        }
    }

    /// What to do about it, for people.
    #[must_use]
    pub fn mend(&self) -> String {
        let fixed = match self {
            Self::BadId { .. } => "choose a name such as `engineer-deploy`",
            Self::Cases { .. } => "write it as the cases beside the shipped policies are written",
            Self::CaseFails { .. } => "mend the policy, or the case if the change is meant",
            Self::DuplicateId { .. } => "give each policy an id of its own",
            Self::Invalid { help, .. } | Self::Schema { help, .. } | Self::Syntax { help, .. } => {
                return help.clone().unwrap_or_else(|| "see the place named".into());
            }
            Self::MissingId => "write `@id(\"a-name\")` before it; records name policies by it",
            Self::NeverMatches { .. } => "mend its scope or condition, or remove it",
            Self::NoPolicy => {
                "without a `*.cedar` file nothing is permitted; name the right folder"
            }
            Self::NoSchema => "copy the one that comes with this version of syncgate",
            Self::NotText => "save it as UTF-8",
            Self::SchemaUnfit { .. } => "take the schema that comes with this version of syncgate",
            Self::Suspicious { .. } => "write it in plain ASCII",
            Self::Template => "write `?principal` and `?resource` out",
            Self::TooLarge { .. } => "split it",
            Self::TooMany { .. } => "keep in this folder only what decides",
            Self::Undetermined { .. } => {
                "add a case to the file's `.cases.json` that names it in `reason`"
            }
            Self::Unreadable { .. } => "check that it exists and may be read",
        };
        fixed.into()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}; {}", self.fault, self.fault.mend())
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Problem", 6)?;
        out.serialize_field("file", &self.file)?;
        out.serialize_field("line", &self.place.map(|p| p.0))?;
        out.serialize_field("column", &self.place.map(|p| p.1))?;
        out.serialize_field("code", self.fault.code())?;
        out.serialize_field("message", &self.fault.to_string())?;
        out.serialize_field("mend", &self.fault.mend())?;
        out.end()
    }
}

/// Line and column, from 1, of the byte at `offset` in `text`.
pub(super) fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    (line, column)
}

/// An error with everything that caused it, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let told: Vec<String> = causes.map(ToString::to_string).collect();
    told.join(": ").replace('\n', " ")
}
