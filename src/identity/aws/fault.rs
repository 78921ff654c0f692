//! Why a proof was refused, or could not be checked: the closed list.
//!
//! As [`Reason`](crate::identity::reason::Reason), of which it is a part: sentences of printable ASCII
//! without `%`, a stable code, and nothing of the proof but names.

use jiff::Timestamp;

use super::proof::BODY;
use super::sts::CALLS;
use crate::identity::reason::{Quoted, moment, span};

/// Why a proof was refused, or could not be checked. `Display` is the public sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// STS answered something that is not its form.
    #[error(
        "AWS STS answered something else than who the caller is ({what}): have whoever runs this \
         gate look at `aws.sts` of its configuration"
    )]
    Answer {
        /// What is wrong with it.
        what: &'static str,
    },
    /// Made for another gate.
    #[error("the proof was made for `{found}`, and this gate is `{wanted}`: make one for that")]
    Audience {
        /// For whom.
        found: Quoted,
        /// Who we are.
        wanted: Quoted,
    },
    /// The header `authorization` is not of its form.
    #[error(
        "the proof's header `authorization` {what}: sign with AWS Signature Version 4 in a header, \
         as `syncgate token aws` does"
    )]
    Authorization {
        /// What is wrong with it.
        what: &'static str,
    },
    /// Signed for a time to come.
    #[error(
        "the proof is dated {}, which is {} ahead of this gate's clock: set the clocks",
        moment(*at, *now), span(*at, *now)
    )]
    Ahead {
        /// When.
        at: Timestamp,
        /// Now.
        now: Timestamp,
    },
    /// The body is another.
    #[error("the proof's body is not `{BODY}`: sign exactly that")]
    Body,
    /// As many questions as may be are under way.
    #[error("this gate is asking AWS STS about {CALLS} callers now: try again in a few seconds")]
    Busy,
    /// Not base64url, or not JSON inside.
    #[error(
        "the proof is not a JSON object in base64url without padding: send what `syncgate token \
         aws` makes"
    )]
    Encoding {
        /// What the parser found.
        detail: String,
    },
    /// A header is missing, or not one that may be there as it is.
    #[error("the proof's header `{name}` {fault}")]
    Header {
        /// Which.
        name: Quoted,
        /// What is wrong.
        fault: HeaderFault,
    },
    /// Not just the three members, or of another type.
    #[error(
        "the proof must have the members `url` and `body` (text) and `headers` (texts), and no other"
    )]
    Members,
    /// STS says who it is, and that is neither a role nor a user.
    #[error(
        "AWS STS says that the caller is `{arn}`, which is neither a session of a role nor a user: \
         assume a role"
    )]
    NotPrincipal {
        /// Whom it names.
        arn: Quoted,
    },
    /// Signed too long ago.
    #[error("the proof was signed {}, {} ago: make a new one", moment(*at, *now), span(*now, *at))]
    Old {
        /// When.
        at: Timestamp,
        /// Now.
        now: Timestamp,
    },
    /// STS does not believe it.
    #[error(
        "AWS STS refused the proof (`{code}`): its signature or credentials are not valid there, so \
         sign in to AWS anew and make another"
    )]
    Refused {
        /// What STS calls it.
        code: Quoted,
    },
    /// A JSON key appears twice.
    #[error("the proof names `{key}` twice: name it once")]
    Repeated {
        /// Which.
        key: Quoted,
    },
    /// Over the limit.
    #[error(
        "the proof has {bytes} bytes, and this gate takes at most {limit}: use credentials with a shorter session token"
    )]
    TooLarge {
        /// How many.
        bytes: usize,
        /// How many it may have.
        limit: usize,
    },
    /// STS did not answer, or not now.
    #[error("AWS STS cannot be asked now: try again in a minute")]
    Unavailable {
        /// Why.
        detail: String,
    },
    /// A request to somewhere else.
    #[error("the proof is a request to `{found}`, and this gate asks only {known}: sign for that")]
    Url {
        /// To where.
        found: Quoted,
        /// The endpoints that are configured.
        known: Quoted,
    },
}

/// What is wrong with a header of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// It is not there.
    #[error("is missing: sign the request with it")]
    Missing,
    /// It is not on the list.
    #[error("is not one that a proof may have: sign the request without it")]
    NotAllowed,
    /// It is there more than once, perhaps in another case.
    #[error("appears twice: send it once")]
    Repeated,
    /// The signature says it covers it, and it is not there.
    #[error("is signed but not sent: send what was signed")]
    Unsent,
    /// The signature does not cover it.
    #[error("is not among the signed headers: sign it")]
    Unsigned,
    /// It has another value than it must.
    #[error("does not have the value that it must: make the proof with `syncgate token aws`")]
    Value,
}

impl Fault {
    /// A stable word for records, metrics and tests.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Answer { .. } => "aws-answer",
            Self::Audience { .. } => "aws-audience",
            Self::Authorization { .. } => "aws-authorization",
            Self::Ahead { .. } => "aws-ahead",
            Self::Body => "aws-body",
            Self::Busy => "aws-busy",
            Self::Encoding { .. } => "aws-encoding",
            Self::Header { .. } => "aws-header",
            Self::Members => "aws-members",
            Self::NotPrincipal { .. } => "aws-not-principal",
            Self::Old { .. } => "aws-old",
            Self::Refused { .. } => "aws-refused",
            Self::Repeated { .. } => "aws-repeated",
            Self::TooLarge { .. } => "aws-too-large",
            Self::Unavailable { .. } => "aws-unavailable",
            Self::Url { .. } => "aws-url",
        }
    }

    /// Whether another proof of the same caller may be taken a little later.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable { .. })
    }

    /// What the record should hold beyond the sentence, if anything.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Encoding { detail } | Self::Unavailable { detail } => Some(detail.clone()),
            _ => None,
        }
    }
}
