//! Which decision permitted an operation.
//!
//! In: an operation. Out: the decision, or why there is none, in one sentence. What an operation says
//! about itself is only a pointer into the log: the log must have that decision as a permit, for this
//! very object, of these commits and sources, and no other operation may have used it.
//!
//! The log is asked, not the intents: these are of the same decisions, but are forgotten in minutes.
//!
//! No grace is needed: an opening entry is on disk before its call is forwarded, or its write is
//! admitted, so it is there before Argo CD can begin.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use ulid::Ulid;

use super::ran::{Ran, Source};
use crate::argocd::operation::{Effect, Operation};
use crate::break_glass;
use crate::deployed::rolls_out;
use crate::gate::{ApplicationPlan, Finding};
use crate::json::{at, text};
use crate::names::{AppRef, DecisionId};
use crate::record::{self, Door, Entry, Opening, Planned, Word};
use crate::rollout;
use crate::store::{MAX_ROWS, Store};

/// How long after its decision an operation without a remark may begin.
const BEFORE: SignedDuration = SignedDuration::from_mins(10);
/// How far Argo CD's clock may be behind ours.
const SKEW: SignedDuration = SignedDuration::from_mins(1);
/// Said of a decision that explains another operation.
const USED: &str = "which an earlier operation used";

/// Why an operation has no decision.
pub(super) type Why = String;

/// The decision that permitted `ran`, none of `taken`; `home` is Argo CD's own namespace.
///
/// # Errors
/// [`record::Error`] when the log cannot be read.
pub(super) async fn explain(
    store: &Store,
    ran: &Ran,
    home: &str,
    taken: &[DecisionId],
) -> Result<Result<DecisionId, Why>, record::Error> {
    let mut why = None;
    for claim in &ran.claims {
        match by_remark(store, ran, claim, home).await? {
            Ok(decision) if !taken.contains(&decision) => return Ok(Ok(decision)),
            Ok(_) => why = Some(format!("it claims the decision {claim:?}, {USED}")),
            Err(reason) => why = Some(reason),
        }
    }
    if let Some(decision) = by_time(store, ran, home, taken).await? {
        return Ok(Ok(decision));
    }
    Ok(Err(why.unwrap_or_else(|| {
        "no decision of this gate permitted it".to_owned()
    })))
}

async fn by_remark(
    store: &Store,
    ran: &Ran,
    claim: &str,
    home: &str,
) -> Result<Result<DecisionId, Why>, record::Error> {
    let no = |why: &str| Ok(Err(format!("it claims the decision {claim:?}, {why}")));
    let Ok(decision) = Ulid::from_string(claim).map(DecisionId) else {
        return no("which is none");
    };
    let Some(entry) = record::show(store, decision).await? else {
        return no("which is not on record");
    };
    if let Err(why) = covers(&entry.opening, ran, home) {
        return no(why);
    }
    if store.is_used(decision, &ran.object.uid).await? {
        return no(USED);
    }
    Ok(Ok(decision))
}

/// The newest decision from shortly before the operation that permits it, for operations that carry
/// no remark: of the admission door, a rollback, a child of a parent that was permitted, or one that
/// is known without its remarks.
async fn by_time(
    store: &Store,
    ran: &Ran,
    home: &str,
    taken: &[DecisionId],
) -> Result<Option<DecisionId>, record::Error> {
    let from = bound(ran.started_at - BEFORE, 0);
    let mut to = bound(ran.started_at + SKEW, u128::MAX);
    loop {
        let name = &ran.object.application.name;
        let rows = store.decided_about(name, from, to).await?;
        let full = u32::try_from(rows.len()).is_ok_and(|rows| rows >= MAX_ROWS);
        let oldest = rows.last().map(|row| row.decision);
        for row in rows {
            let Entry::Open(opening) = Entry::decode(&row)? else {
                continue;
            };
            // A sync through the API carries its remark for as long as the remarks are known.
            let tells_itself = ran.known_from == Source::State
                && opening.door == Door::Api
                && opening.operation == Operation::ApplicationSync.name()
                && names(opening.applications.first().as_slice(), ran, home);
            let is_free = !tells_itself && !taken.contains(&row.decision);
            if is_free
                && covers(&opening, ran, home).is_ok()
                && !store.is_used(row.decision, &ran.object.uid).await?
            {
                return Ok(Some(row.decision));
            }
        }
        match oldest {
            Some(DecisionId(Ulid(oldest))) if full && oldest > from.0.0 => {
                to = DecisionId(Ulid(oldest - 1));
            }
            _ => return Ok(None),
        }
    }
}

/// The first or last identifier of a decision made at `at`.
fn bound(at: Timestamp, random: u128) -> DecisionId {
    let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
    DecisionId(Ulid::from_parts(millis, random))
}

/// Whether `opening` permits `ran`, or why not.
pub(super) fn covers(opening: &Opening, ran: &Ran, home: &str) -> Result<(), &'static str> {
    if !matches!(opening.word, Word::ObserveDeny | Word::Permit) {
        return Err("which is no permit");
    }
    let changes_nothing = [Effect::Read.word(), Effect::Report.word()];
    let starts_nothing = [break_glass::OPEN, rollout::ASK, rollout::OPEN];
    let starts_nothing = starts_nothing.contains(&opening.operation.as_str());
    if starts_nothing || changes_nothing.contains(&opening.effect.as_str()) {
        return Err("which is about a call that starts nothing");
    }
    let asked = |key| at(&opening.request, key).as_bool() == Some(true);
    // Of a parent's sync only its own operation is partial, a child's is a whole one.
    let is_called = names(opening.applications.first().as_slice(), ran, home);
    let partial = is_called && asked("/partial");
    let local = is_called && asked("/local");
    if (asked("/dry_run"), partial, local) != (ran.dry_run, ran.partial, ran.local) {
        return Err("which permitted an operation of another kind");
    }
    let all = opening.planned.iter();
    let planned = all.filter(|p| is_same(&p.application, &ran.object.application, home));
    let planned: Vec<&Planned> = planned.collect();
    let called: Vec<&AppRef> = opening.applications.iter().collect();
    if planned.is_empty() && !(ran.dry_run && names(&called, ran, home)) {
        return Err("which is about another application");
    }
    // What an observing environment lets through is not pinned.
    if ran.dry_run || ran.known_from == Source::Event || is_observed(opening, ran) {
        return Ok(());
    }
    // Where nothing is required, what cannot be pinned goes as Argo CD finds it.
    let is_free = |one: &&Planned| one.plan.is_none() && one.finding == Some(Finding::Exempt);
    if planned.iter().any(is_free) {
        return Ok(());
    }
    if ran.refreshes {
        return Err("but its retries take newer commits than were permitted");
    }
    // One call may do several things to one application.
    let plans = planned.iter().filter_map(|planned| planned.plan.as_ref());
    let checked = plans.map(|plan| {
        // An application that the call creates has no uid yet.
        if !plan.uid.is_empty() && plan.uid != ran.object.uid {
            return Err("which is about an earlier application of this name");
        }
        if !is_of(plan, &ran.sync) {
            return Err("which permitted other commits or sources");
        }
        Ok(())
    });
    let none = Err("which permitted no commits");
    checked.fold(none, |found, one| if found.is_ok() { found } else { one })
}

fn is_of(plan: &ApplicationPlan, sync: &Value) -> bool {
    rolls_out(&plan.commits(), &plan.source_digest, sync)
}

fn names(applications: &[&AppRef], ran: &Ran, home: &str) -> bool {
    applications
        .iter()
        .any(|one| is_same(one, &ran.object.application, home))
}

/// Whether both name one application; `known` has no namespace if it is in `home`.
fn is_same(named: &AppRef, known: &AppRef, home: &str) -> bool {
    let namespace = named.namespace.as_deref().filter(|n| *n != home);
    named.name == known.name && namespace == known.namespace.as_deref()
}

/// Whether the environment of the application only observed when this was decided.
fn is_observed(opening: &Opening, ran: &Ran) -> bool {
    let resource = format!("Syncgate::Application::\"{}\"", ran.object.application);
    let mut asked = opening.evaluation.as_array().into_iter().flatten();
    asked.any(|one| {
        text(one, "/request/resource") == resource
            && text(one, "/request/context/mode") == "observe"
    })
}

#[cfg(test)]
mod tests;
