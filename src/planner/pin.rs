//! From revisions to commits: which commits a rollout is of.
//!
//! A revision is what the request names, what the target revisions of the sources are now, or what an
//! operation or an entry of the history holds. Names are resolved by Argo CD's last comparison, if it is of
//! these very sources, or else by the gate's own Git access; never by what the caller says they are.

use serde_json::Value;

use super::about::gate_facts;
use crate::app::App;
use crate::argocd::request::SyncRequest;
use crate::gate::{self, AppFacts, ApplicationPlan, AskedRevisions, Gap, Place, Resolved};
use crate::respond::Rejection;

/// Where the commits of a rollout come from.
#[derive(Clone, Copy)]
pub(super) enum Commits<'o> {
    /// The request names them, or leaves it to the target revisions. The application was refreshed.
    Asked(&'o SyncRequest),
    /// The target revisions: what automated sync takes.
    Own,
    /// An operation (its `sync`) or an entry of the history holds sources and revisions.
    Recorded(&'o Value),
}

/// The plan of rolling out `application` at `commits`, or why it has none.
///
/// # Errors
/// [`Rejection::UpstreamFailed`] when the application lacks what every one has.
pub(super) async fn pin(
    app: &App,
    application: &Value,
    commits: Commits<'_>,
    place: Place<'_>,
) -> Result<Result<ApplicationPlan, Vec<Gap>>, Rejection> {
    let facts = gate_facts(application)?;
    match commits {
        Commits::Asked(request) => asked(app, &facts, request, place).await,
        Commits::Own => own(app, &facts, place).await,
        Commits::Recorded(holder) => {
            let resolved = Resolved::from_json(holder, &facts.sources).map_err(|error| {
                tracing::error!(
                    error = crate::telemetry::chain(&error),
                    "cannot read an operation"
                );
                Rejection::UpstreamFailed
            })?;
            Ok(gate::recorded(&facts, &resolved, place))
        }
    }
}

async fn asked(
    app: &App,
    facts: &AppFacts,
    request: &SyncRequest,
    place: Place<'_>,
) -> Result<Result<ApplicationPlan, Vec<Gap>>, Rejection> {
    let (positions, mut revisions): (Vec<i64>, Vec<String>) = request
        .revisions()
        .map(|(position, revision)| (position, revision.to_owned()))
        .unzip();
    let mut revision = request.revision().unwrap_or_default().to_owned();
    if let Err(gap) = resolve(app, facts, &mut revision, &positions, &mut revisions).await {
        return Ok(Err(vec![gap]));
    }
    let asked = AskedRevisions {
        revision: &revision,
        positions: &positions,
        revisions: &revisions,
    };
    Ok(gate::plan(facts, asked, place))
}

/// Replaces revisions that the request names by what they are: another branch or tag through our
/// own Git access, and a full SHA only where it is reachable.
async fn resolve(
    app: &App,
    facts: &AppFacts,
    revision: &mut String,
    positions: &[i64],
    revisions: &mut [String],
) -> Result<(), Gap> {
    let sources = &facts.sources.list;
    if !facts.sources.multi {
        if let [source] = sources.as_slice() {
            resolve_one(app, source, revision).await?;
        }
        return Ok(());
    }
    for (position, revision) in positions.iter().zip(revisions) {
        let index = usize::try_from(*position)
            .ok()
            .and_then(|p| p.checked_sub(1));
        if let Some(source) = index.and_then(|index| sources.get(index)) {
            resolve_one(app, source, revision).await?;
        }
    }
    Ok(())
}

async fn resolve_one(app: &App, source: &Value, revision: &mut String) -> Result<(), Gap> {
    if revision.is_empty() || revision == gate::target_revision(source) || !is_git(source) {
        return Ok(());
    }
    let repository = source["repoURL"].as_str().unwrap_or_default();
    let answer = if crate::names::is_full_sha(revision) {
        if !app.git.covers(repository) {
            return Ok(());
        }
        match app.git.reachable(repository, revision).await {
            Ok(true) => return Ok(()),
            Ok(false) => Err(format!(
                "`{revision}` is not reachable from a configured branch"
            )),
            Err(error) => Err(error.to_string()),
        }
    } else {
        app.git
            .resolve(repository, revision)
            .await
            .map_err(|error| error.to_string())
    };
    match answer {
        Ok(commit) => {
            *revision = commit.to_string();
            Ok(())
        }
        Err(detail) => Err(Gap::unpinnable(detail)),
    }
}

fn is_git(source: &Value) -> bool {
    let text = |key: &str| source[key].as_str().unwrap_or_default();
    text("chart").is_empty() && !text("repoURL").starts_with("oci://")
}

/// What the target revisions are now. Where Argo CD has compared other sources than these, every name is
/// looked up in its repository.
async fn own(
    app: &App,
    facts: &AppFacts,
    place: Place<'_>,
) -> Result<Result<ApplicationPlan, Vec<Gap>>, Rejection> {
    if facts.compared.sources == facts.sources && facts.errors.is_empty() {
        return Ok(gate::plan(facts, AskedRevisions::default(), place));
    }
    let mut revisions = Vec::new();
    for source in &facts.sources.list {
        let own = gate::target_revision(source);
        if gate::commit_of(source, own).is_some() || !is_git(source) {
            revisions.push(own.to_owned());
            continue;
        }
        let repository = source["repoURL"].as_str().unwrap_or_default();
        match app.git.resolve(repository, own).await {
            Ok(commit) => revisions.push(commit.to_string()),
            Err(error) => return Ok(Err(vec![Gap::unpinnable(error.to_string())])),
        }
    }
    let resolved = Resolved {
        sources: facts.sources.clone(),
        revisions,
    };
    Ok(gate::recorded(facts, &resolved, place))
}
