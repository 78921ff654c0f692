//! Intents: which write Argo CD is about to make because of a call that was permitted.
//!
//! In: what a permitted call starts ([`Start`]), or the Application object that it leads to. Out:
//! the digest under which the admission door recognises the same when Argo CD makes the write. The
//! two are computed from different hands: the one from what was planned, the other from what
//! argocd-server or a controller writes; what both mean alike has one digest. It never allows
//! anything: a write that matches no intent is decided by itself.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::digest::{canonical_json, sha256_hex};
use crate::gate::ApplicationPlan;
use crate::json;
use crate::names::{DecisionId, SourceDigest};

/// How long a write may take to follow the decision that permitted it. Argo CD repeats a write that
/// met another, so that an intent may match more than once within it.
pub const VALID: Duration = Duration::from_mins(1);

/// A write that a decision permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The decision.
    pub decision: DecisionId,
    /// The namespace of the Application object; never empty.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid; absent for one that the write creates, which then matches any.
    pub uid: Option<String>,
    /// What is written: a [`start_digest`] or a [`write_digest`].
    pub digest: String,
    /// When it was permitted, to the millisecond.
    pub at: Timestamp,
}

/// A sync as it is about to run. What Argo CD would take from the spec, where the request says
/// nothing, has been taken from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own in Argo CD's operation"
)]
pub struct Start {
    /// What each source is at, in their order.
    pub commits: Vec<String>,
    /// Digest of the sources, by [`ApplicationPlan::digests`].
    pub source_digest: SourceDigest,
    /// Nothing is changed.
    pub dry_run: bool,
    /// The resources that it is confined to, in any order; none for a whole sync.
    pub partial: Vec<PartOf>,
    /// What is no longer in Git is deleted.
    pub prune: bool,
    /// What cannot be changed is deleted and made again: by the strategy or by a sync option.
    pub force: bool,
    /// What is there is replaced: by a sync option.
    pub replace: bool,
    /// The strategy is the one that runs hooks. Of no weight in a dry run or a partial sync, which
    /// run none whatever it is.
    pub hooks: bool,
    /// Manifests of the caller's own are applied.
    pub local: bool,
    /// A retry takes the newest commit.
    pub retry_refresh: bool,
}

/// A resource that a partial sync names; a field that is not given is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PartOf {
    /// Its API group.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Start {
    /// What the `operation` of an Application object starts: `None` where it has none that syncs.
    #[must_use]
    pub fn of_operation(application: &Value) -> Option<Self> {
        let operation = json::at(application, "/operation");
        let sync = operation.get("sync").filter(|sync| sync.is_object())?;
        let (sources, several) = sources(sync)
            .or_else(|| sources(json::at(application, "/spec")))
            .unwrap_or_default();
        let commits = if several {
            texts(&sync["revisions"])
        } else {
            let revision = json::text(sync, "/revision");
            Some(revision.to_owned())
                .filter(|revision| !revision.is_empty())
                .into_iter()
                .collect()
        };
        let strategy = json::at(sync, "/syncStrategy");
        let is_apply = strategy.get("apply").is_some_and(Value::is_object);
        let is_set = |value: &Value| value == &json!(true);
        Some(Self {
            commits,
            source_digest: ApplicationPlan::digests(&sources, &[]).0,
            dry_run: is_set(&sync["dryRun"]),
            partial: parts(&sync["resources"]),
            prune: is_set(&sync["prune"]),
            force: is_set(json::at(strategy, "/apply/force"))
                || is_set(json::at(strategy, "/hook/force"))
                || has_option(&sync["syncOptions"], "Force=true"),
            replace: has_option(&sync["syncOptions"], "Replace=true"),
            hooks: !is_apply,
            local: !texts(&sync["manifests"]).is_empty(),
            retry_refresh: is_set(json::at(operation, "/retry/refresh")),
        })
    }
}

/// Whether the write of `after` over `before` (null: there was none) asks for an operation that was not asked
/// for before. Who is said to have asked, remarks, and how Go writes the same are of no weight.
#[must_use]
pub fn starts(before: &Value, after: &Value) -> bool {
    let asked = json::at(after, "/operation");
    let essence = |operation: &Value| {
        let sync = operation.get("sync").filter(|sync| !sync.is_null());
        let retry = json::without_blanks(json::at(operation, "/retry"));
        // An empty `sync` is a sync of everything; an empty `retry` is none.
        let retry = Some(retry).filter(|retry| retry != &json!({}) && !retry.is_null());
        json!([sync.map(json::without_blanks), retry])
    };
    let was = json::at(before, "/operation");
    !asked.is_null() && (was.is_null() || essence(was) != essence(asked))
}

/// Whether the list of sync options has `option`, as Argo CD compares them.
#[must_use]
pub fn has_option(options: &Value, option: &str) -> bool {
    let options = options.as_array().into_iter().flatten();
    options
        .filter_map(Value::as_str)
        .any(|given| given.trim().eq_ignore_ascii_case(option))
}

/// The digest of a sync.
#[must_use]
pub fn start_digest(start: &Start) -> String {
    let mut start = start.clone();
    start.partial.sort_unstable();
    start.partial.dedup();
    start.hooks &= start.partial.is_empty() && !start.dry_run;
    digest("start", &json!(start))
}

/// The digest of what an Application object says about what runs where, and by itself: project,
/// destination, sources, hydrator, sync policy, and the labels by which it belongs to an environment.
#[must_use]
pub fn write_digest(application: &Value) -> String {
    let spec = json::at(application, "/spec");
    let project = match json::text(spec, "/project") {
        "" => "default",
        project => project,
    };
    // Only one of the two counts, and Argo CD may write an empty one of the other.
    let sources = sources(spec).map(|(sources, several)| json!([several, sources]));
    let mut policy = spec["syncPolicy"].clone();
    if let Some(automated) = policy
        .pointer_mut("/automated")
        .and_then(Value::as_object_mut)
        && automated.get("enabled") == Some(&json!(true))
    {
        automated.remove("enabled");
    }
    let written = json!({
        "destination": spec["destination"],
        // What of it is not applied.
        "ignoreDifferences": spec["ignoreDifferences"],
        "labels": json::at(application, "/metadata/labels"),
        "project": project,
        "sourceHydrator": spec["sourceHydrator"],
        "sources": sources,
        "syncPolicy": policy,
    });
    digest("write", &json::without_blanks(&written))
}

fn digest(what: &str, value: &Value) -> String {
    sha256_hex(&canonical_json(&json!([what, value])))
}

/// The sources that `holder` (an operation's `sync`, or a spec) has, and whether they are the plural
/// ones, as Argo CD takes them: the plural ones if there are any; of a spec with a hydrator, the
/// branch that it writes.
fn sources(holder: &Value) -> Option<(Vec<Value>, bool)> {
    if let Some(several) = holder["sources"].as_array().filter(|list| !list.is_empty()) {
        return Some((several.clone(), true));
    }
    let hydrator = json::at(holder, "/sourceHydrator");
    if hydrator.is_object() {
        let own = json::text(hydrator, "/syncSource/repoURL");
        let dry = json::text(hydrator, "/drySource/repoURL");
        let repository = if own.is_empty() { dry } else { own };
        let source = json!({
            "path": json::at(hydrator, "/syncSource/path"),
            "repoURL": repository,
            "targetRevision": json::at(hydrator, "/syncSource/targetBranch"),
        });
        return Some((vec![source], false));
    }
    let one = holder.get("source").filter(|source| source.is_object())?;
    Some((vec![one.clone()], false))
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.map(|text| text.as_str().unwrap_or_default().to_owned())
        .collect()
}

/// The resources that a partial sync names.
pub(crate) fn parts(resources: &Value) -> Vec<PartOf> {
    let resources = resources.as_array().into_iter().flatten();
    let part = |resource: &Value| {
        let of = |key: &str| resource[key].as_str().unwrap_or_default().to_owned();
        PartOf {
            group: of("group"),
            kind: of("kind"),
            namespace: of("namespace"),
            name: of("name"),
        }
    };
    resources.map(part).collect()
}

#[cfg(test)]
mod tests;
