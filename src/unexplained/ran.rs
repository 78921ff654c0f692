//! One operation, read from what Argo CD keeps of it.
//!
//! In: an Application's JSON, an entry of its history, or an event. Out: what is needed to tell which
//! decision permitted it. What anybody may have written into it is cut to a length.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::argocd::client::KubernetesEvent;
use crate::argocd::request::INFO_DECISION;
use crate::deployed::{names_sources, whole};
use crate::json::{at, text};
use crate::names::AppRef;

/// The most characters kept of a text that another program wrote.
const LONGEST: usize = 256;
/// The most remarks, commits and events that are kept.
const MOST: usize = 20;

/// Which Application object an operation is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) application: AppRef,
    pub(super) uid: String,
}

/// An operation that Argo CD runs or ran.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts of an operation"
)]
pub(super) struct Ran {
    pub(super) object: Object,
    /// When it began, by Argo CD's clock.
    pub(super) started_at: Timestamp,
    pub(super) known_from: Source,
    /// What it rolls out: sources and revisions, as an operation's `sync` has them.
    pub(super) sync: Value,
    /// How far it is; empty where that is not kept.
    pub(super) phase: String,
    pub(super) message: String,
    pub(super) initiated_by: String,
    pub(super) automated: bool,
    pub(super) dry_run: bool,
    pub(super) partial: bool,
    pub(super) local: bool,
    /// Whether a retry takes newer commits.
    pub(super) refreshes: bool,
    /// The decisions that its remarks claim.
    pub(super) claims: Vec<String>,
    /// What Kubernetes' events say about it, for people.
    pub(super) events: Vec<KubernetesEvent>,
    /// Whether it passed while nobody looked.
    pub(super) reconstructed: bool,
}

/// What tells of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// An event: that it began, when, and by whom.
    Event,
    /// `status.history`: what was rolled out, without remarks.
    History,
    /// `status.operationState`: all of it.
    State,
}

impl Source {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::History => "history",
            Self::State => "operation-state",
        }
    }
}

impl Object {
    /// Of an Application's JSON; `home` is Argo CD's own namespace.
    pub(super) fn read(application: &Value, home: &str) -> Option<Self> {
        let (name, uid) = (
            text(application, "/metadata/name"),
            text(application, "/metadata/uid"),
        );
        let namespace = text(application, "/metadata/namespace");
        let is_named = !name.is_empty() && !uid.is_empty();
        is_named.then(|| Self {
            application: AppRef {
                namespace: Some(namespace.to_owned()).filter(|n| !n.is_empty() && n != home),
                name: name.to_owned(),
            },
            uid: uid.to_owned(),
        })
    }

    fn ran(&self, started_at: Timestamp, known_from: Source) -> Ran {
        Ran {
            object: self.clone(),
            started_at,
            known_from,
            sync: Value::Null,
            phase: String::new(),
            message: String::new(),
            initiated_by: String::new(),
            automated: false,
            dry_run: false,
            partial: false,
            local: false,
            refreshes: false,
            claims: Vec::new(),
            events: Vec::new(),
            reconstructed: known_from != Source::State,
        }
    }

    /// The operation in the application's status.
    pub(super) fn state(&self, application: &Value) -> Option<Ran> {
        let state = at(application, "/status/operationState");
        let mut ran = self.ran(time(at(state, "/startedAt"))?, Source::State);
        let asked = at(state, "/operation/sync");
        // What it was asked for without is known once Argo CD has resolved it.
        ran.sync = whole(asked, at(state, "/syncResult"));
        ran.phase = short(at(state, "/phase"));
        ran.message = short(at(state, "/message"));
        ran.initiated_by = short(at(state, "/operation/initiatedBy/username"));
        ran.automated = is_true(at(state, "/operation/initiatedBy/automated"));
        ran.dry_run = is_true(at(asked, "/dryRun"));
        ran.partial = is_given(at(asked, "/resources"));
        ran.local = is_given(at(asked, "/manifests"));
        ran.refreshes = is_true(at(state, "/operation/retry/refresh"));
        let remarks = at(state, "/operation/info")
            .as_array()
            .into_iter()
            .flatten();
        ran.claims = remarks
            .filter(|info| text(info, "/name") == INFO_DECISION)
            .map(|info| short(at(info, "/value")))
            .take(MOST)
            .collect();
        Some(ran)
    }

    /// The operation that left `entry` in the application's history.
    pub(super) fn history(&self, entry: &Value) -> Option<Ran> {
        // When it began names the operation; Argo CD has not always kept that.
        let began = time(at(entry, "/deployStartedAt")).or_else(|| time(at(entry, "/deployedAt")));
        let mut ran = self.ran(began?, Source::History);
        ran.sync = entry.clone();
        "Succeeded".clone_into(&mut ran.phase);
        ran.initiated_by = short(at(entry, "/initiatedBy/username"));
        ran.automated = is_true(at(entry, "/initiatedBy/automated"));
        Some(ran)
    }

    /// The operation of which only this is known: that it began.
    pub(super) fn event(&self, event: &KubernetesEvent) -> Ran {
        let mut ran = self.ran(event.at, Source::Event);
        ran.initiated_by = cut(&event.user);
        ran.add_event(event);
        ran
    }
}

impl Ran {
    /// The commits that it rolls out, as Argo CD writes them.
    pub(super) fn commits(&self) -> Vec<String> {
        let commits = revisions(&self.sync).into_iter();
        commits.take(MOST).map(cut).collect()
    }

    /// Whether it is not known yet what it rolls out, but will be.
    pub(super) fn is_unresolved(&self) -> bool {
        self.known_from == Source::State
            && self.phase == "Running"
            && !self.local
            && (revisions(&self.sync).is_empty() || !names_sources(&self.sync))
    }

    pub(super) fn add_event(&mut self, event: &KubernetesEvent) {
        if self.events.len() < MOST {
            self.events.push(KubernetesEvent {
                at: event.at,
                reason: cut(&event.reason),
                message: cut(&event.message),
                user: cut(&event.user),
            });
        }
    }

    /// What the record and receivers are told of it.
    pub(super) fn facts(&self) -> Value {
        let event = |event: &KubernetesEvent| {
            json!({
                "at": event.at.to_string(), "reason": event.reason,
                "message": event.message, "user": event.user,
            })
        };
        json!({
            "uid": self.object.uid,
            "started_at": self.started_at.to_string(),
            "known_from": self.known_from.word(),
            "reconstructed": self.reconstructed,
            "commits": self.commits(),
            "phase": self.phase,
            "message": self.message,
            "initiated_by": self.initiated_by,
            "automated": self.automated,
            "partial": self.partial,
            "local": self.local,
            "claims": self.claims,
            "events": self.events.iter().map(event).collect::<Vec<_>>(),
        })
    }
}

fn revisions(sync: &Value) -> Vec<&str> {
    let several = at(sync, "/revisions").as_array().into_iter().flatten();
    let several: Vec<&str> = several.filter_map(Value::as_str).collect();
    if several.is_empty() {
        let one = at(sync, "/revision").as_str();
        return one.filter(|text| !text.is_empty()).into_iter().collect();
    }
    several
}

pub(super) fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

fn is_true(value: &Value) -> bool {
    value.as_bool() == Some(true)
}

/// Any list but an empty one, and anything that is no list, counts as given.
fn is_given(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        _ => true,
    }
}

fn short(value: &Value) -> String {
    cut(value.as_str().unwrap_or_default())
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}
