//! The decision: who may do what to which application, by Cedar policies from a folder.
//!
//! In: a folder with `schema.cedarschema`, `*.cedar` and `*.cases.json`, and then [`Question`]s.
//! Out: [`Decision`]s. Refuses a folder with any fault, and any request that no policy permits,
//! that one forbids, or at which one errs. Never: a yes from anywhere else. Forwarding takes a
//! [`Permitted`], and only this room can make one.
//!
//! An example. Ada, whose role is `engineer`, syncs `checkout-prod`. The pipeline asks one
//! question: caller Ada, action `ApplicationService.Sync`, the application with its environment
//! `prod`, and a context with what the gate found about its tests. Only `release-manager-deploy`
//! and `platform-admin` would permit that, and neither is for engineers: nothing matches, which is
//! a no with the code `not-permitted`, and with their advice, the role that permits least first.
//! If Ada is a release manager and tests are missing, `release-manager-deploy` matches, but so does
//! `evidence-required`, and a forbid wins. As the same question with the finding `satisfied` would
//! be permitted, the code is `evidence`, and she is told what is missing.
//!
//! The folder is watched ([`watch()`]): build, validate, run the cases, swap. A bad edit leaves
//! what was in force in force.

mod cases;
mod decide;
mod facts;
mod fit;
mod live;
mod load;
mod parse;
mod permit;
mod problem;
mod question;
mod report;
mod source;
#[cfg(test)]
mod tests;
mod watch;

use std::path::Path;

pub use cases::{CaseError, CaseResult, answer_again};
pub use decide::{Answer, Decision, Denial, DenialCode, Recorded, decide};
pub use live::{Live, Reload, ReloadStatus};
pub use load::{Policies, Written};
pub use permit::{Grounds, Permitted};
pub use problem::{Fault, LoadError, Problem};
pub use question::{
    AMBIGUOUS, ApplicationFacts, Context, Deploying, EndpointFacts, FindingWord, GlassWord, Mode,
    Moves, Question, Resource, SyncOptions, UNASSIGNED,
};
pub use report::{Report, check, test};
pub use source::{File, Source};
pub use watch::{WatchError, watch};

/// Reads, parses and validates the policies in `dir`. Cases are not run; [`Live::open`] runs them.
///
/// # Errors
/// [`LoadError`] with every problem, each with its place and how to mend it.
pub fn load(dir: &Path) -> Result<Policies, LoadError> {
    Policies::build(&Source::read(dir)?)
}
