//! AWS roles and users, by a signed `sts:GetCallerIdentity` that the gate sends on.
//!
//! In: a [`Proof`], the parts of that request as the workload signed them (Signature Version 4, header
//! form), bound by two signed headers to this gate and to one challenge. Out: the [`AwsPrincipal`]
//! whom AWS STS names. Refused: every proof that is not exactly this one request, that is older than
//! five minutes, or is for another gate; every answer that is not exactly STS's form; the account's
//! root and federated users. Never: a byte to a host that is not configured, or a header that the
//! list in `proof` does not have. The gate holds no AWS credentials and needs none.
//!
//! For example: `syncgate token aws` gets a challenge, signs, and hands the proof in. [`Proof::parse`]
//! takes it apart; whoever called spends [`Proof::challenge`], so that nothing is asked twice; then
//! [`Sts::identity`] builds the request anew from the checked parts, asks, and reads who it is.

mod answer;
mod fault;
mod principal;
mod proof;
mod sts;
mod url;

pub use fault::{Fault, HeaderFault};
pub use principal::{AwsPrincipal, BadArn, PrincipalArn};
pub use proof::{BODY, CONTENT_TYPE, Proof, Rules};
pub use sts::Sts;
pub use url::{BadStsUrl, StsUrl};

/// The issuer of every AWS principal: whichever endpoint answers, it is one service, and the ARN tells
/// partition and account.
pub const ISSUER: &str = "https://sts.amazonaws.com";

/// The signed header that names the gate for which a proof is made.
pub const AUDIENCE_HEADER: &str = "x-syncgate-audience";
/// The signed header that holds the challenge that a proof spends.
pub const CHALLENGE_HEADER: &str = "x-syncgate-challenge";

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
