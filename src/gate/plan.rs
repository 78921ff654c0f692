//! From what Argo CD says about an application to what a sync of it would roll out.
//!
//! In: [`AppFacts`] of a refreshed reading, the revisions that the request names, and the environment
//! of the application. Out: an [`ApplicationPlan`] in which every source is pinned, or the gaps that
//! say why one cannot be. Pure. A revision is taken from the request if it is a full commit, and from
//! Argo CD's comparison if it is the spec's own; anything else is refused. Never: a plan with a commit
//! that the upstream would not accept or would resolve anew.

use serde_json::Value;

use super::facts::{commit_of, pinned_source, target_revision};
use super::{AppFacts, ApplicationPlan, Gap, PinnedSource, Resolved, Sources, SyncStatus};
use crate::names::{Component, EnvironmentName};

const HYDRATED: &str = "it uses a source hydrator, which writes commits of its own";

/// Where the application belongs.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Its environment.
    pub environment: &'a EnvironmentName,
    /// What it deploys.
    pub component: &'a Component,
    /// Which source fields may vary between environments.
    pub varies: &'a [String],
    /// Whether Argo CD may resolve a moving target revision itself: the admission door looks at what it
    /// resolved before anything runs.
    pub admission: bool,
}

/// The revisions that a Sync request names, as the upstream takes them.
#[derive(Clone, Copy, Debug, Default)]
pub struct AskedRevisions<'a> {
    /// `revision`.
    pub revision: &'a str,
    /// `sourcePositions`, from 1.
    pub positions: &'a [i64],
    /// `revisions`, one per position.
    pub revisions: &'a [String],
}

/// Builds the plan of a sync.
///
/// # Errors
/// The gaps, all [`super::GapKind::Unpinnable`], each with the reason in its `detail`; never empty.
pub fn plan(
    facts: &AppFacts,
    asked: AskedRevisions<'_>,
    place: Place<'_>,
) -> Result<ApplicationPlan, Vec<Gap>> {
    if facts.hydrated {
        return Err(vec![Gap::unpinnable(HYDRATED)]);
    }
    if facts.sources.list.is_empty() {
        return Err(vec![Gap::unpinnable("it has no source")]);
    }
    let asked = per_source(facts, asked).map_err(|why| vec![Gap::unpinnable(&why)])?;
    let mut sources = Vec::new();
    let mut gaps = Vec::new();
    for (index, (source, asked)) in facts.sources.list.iter().zip(&asked).enumerate() {
        match pin(facts, index, source, asked.as_deref(), place.admission) {
            Ok(pinned) => sources.push(pinned),
            Err(why) => gaps.push(Gap::unpinnable(&why)),
        }
    }
    if !gaps.is_empty() {
        gaps.dedup();
        return Err(gaps);
    }
    Ok(whole(facts, &facts.sources, sources, place))
}

/// Builds the plan of rolling out what is written down with its revisions: an operation that asks for it, or
/// an entry of the history. Nothing is resolved.
///
/// # Errors
/// As for [`plan()`].
pub fn recorded(
    facts: &AppFacts,
    what: &Resolved,
    place: Place<'_>,
) -> Result<ApplicationPlan, Vec<Gap>> {
    if facts.hydrated {
        return Err(vec![Gap::unpinnable(HYDRATED)]);
    }
    match what.pinned() {
        Ok(sources) => Ok(whole(facts, &what.sources, sources, place)),
        Err(why) => Err(vec![Gap::unpinnable(why)]),
    }
}

fn whole(
    facts: &AppFacts,
    of: &Sources,
    sources: Vec<PinnedSource>,
    place: Place<'_>,
) -> ApplicationPlan {
    let (source_digest, promotion_digest) = ApplicationPlan::digests(&of.list, place.varies);
    ApplicationPlan {
        application: facts.application.clone(),
        uid: facts.uid.clone(),
        environment: place.environment.clone(),
        component: place.component.clone(),
        sources,
        multi_source: of.multi,
        source_digest,
        promotion_digest,
    }
}

/// What the request asks of each source. The upstream reads `revision` for one source and
/// `sourcePositions` with `revisions` for several, and ignores the other; a request that puts
/// something else where it is ignored would get what it did not ask for, and is refused. (The web UI
/// sends the first source's own revision always.)
fn per_source(facts: &AppFacts, asked: AskedRevisions<'_>) -> Result<Vec<Option<String>>, String> {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let count = facts.sources.list.len();
    if asked.positions.len() != asked.revisions.len() {
        return Err("the request names source positions and revisions that do not pair up".into());
    }
    if !facts.sources.multi {
        if !asked.positions.is_empty() {
            return Err("it has one source: name its revision without a source position".into());
        }
        return Ok(vec![given(asked.revision)]);
    }
    let own = facts.sources.list.first().map_or("HEAD", target_revision);
    if !asked.revision.is_empty() && asked.revision != own {
        return Err("it has several sources: name their revisions by source position".into());
    }
    let mut all = vec![None; count];
    for (position, revision) in asked.positions.iter().zip(asked.revisions) {
        let place = usize::try_from(*position)
            .ok()
            .and_then(|p| p.checked_sub(1));
        let slot = place.and_then(|place| all.get_mut(place));
        let slot = slot.ok_or_else(|| format!("it has no source at position {position}"))?;
        if slot.is_some() {
            return Err(format!(
                "the request names source position {position} twice"
            ));
        }
        *slot = given(revision);
    }
    Ok(all)
}

/// Pins the source at `index`.
fn pin(
    facts: &AppFacts,
    index: usize,
    source: &Value,
    asked: Option<&str>,
    admission: bool,
) -> Result<PinnedSource, String> {
    let own = target_revision(source);
    let asked = asked.unwrap_or(own);
    let mut pinned = if commit_of(source, asked).is_some() {
        pinned_source(source, asked)?
    } else if asked == own {
        pinned_source(source, compared_revision(facts, index)?)?
    } else {
        return Err(format!(
            "`{asked}` is neither its own revision `{own}` nor a full commit SHA; name the full SHA"
        ));
    };
    let looked_at_again = admission && asked == own;
    if facts.automated && pinned.commit.as_str() != own && !looked_at_again {
        return Err(format!(
            "automated sync is on, and argo cd then accepts no other revision than `{own}`, which \
             moves; it needs the admission door, or automated sync off, or a full SHA as target revision"
        ));
    }
    asked.clone_into(&mut pinned.asked);
    Ok(pinned)
}

/// What Argo CD resolved the source at `index` to, if its comparison is of the present spec and
/// succeeded.
fn compared_revision(facts: &AppFacts, index: usize) -> Result<&str, String> {
    if let Some(message) = facts.errors.first() {
        return Err(format!("argo cd could not compare it: {message}"));
    }
    if facts.sync == SyncStatus::Unknown || facts.compared.sources != facts.sources {
        return Err(
            "argo cd has not compared its present sources; refresh it and try again".into(),
        );
    }
    let revisions = &facts.compared.revisions;
    if revisions.len() != facts.sources.list.len() {
        let (some, all) = (revisions.len(), facts.sources.list.len());
        return Err(format!("argo cd resolved {some} of {all} sources"));
    }
    revisions
        .get(index)
        .map(String::as_str)
        .ok_or_else(|| "argo cd resolved too few sources".into())
}

#[cfg(test)]
mod tests;
