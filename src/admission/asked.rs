//! One review, from the question to what the API server is told.
//!
//! In: a [`Review`]. Out: [`Told`], on record unless it is of no concern or nothing would be stored. The
//! order is: who writes, whether a status is forged, whether anything of concern changes, whether it
//! follows from a permitted call, what it would roll out, what the policies say.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::Response;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::again::Waits;
use super::change::{self, Change, Status};
use super::plans::{Key, Planned, Plans};
use super::review::{Kind, Review, Told, Verb};
use crate::app::App;
use crate::argocd::operation::Effect;
use crate::body;
use crate::config::{Admission, ServiceAccount};
use crate::deployed;
use crate::digest::{canonical_json, sha256_hex};
use crate::draft::Draft;
use crate::gate::Finding;
use crate::hold::{self, Holds};
use crate::identity::{Caller, Subject};
use crate::intent::{self, Start, start_digest, write_digest};
use crate::json::{self, without_blanks};
use crate::listener::Connection;
use crate::names::{AppRef, DecisionId};
use crate::planner::{self, AdmittedWrite, Plan};
use crate::policy::{Decision, Denial, DenialCode, decide};
use crate::record::Word;
use crate::refusal;
use crate::respond::{self, About, Form, Rejection};
use crate::rollout::{self, Pinned};

/// How policies and records call this door.
const WIRE: &str = "admission";

/// One review while it is answered.
pub(super) struct Asked {
    pub(super) app: Arc<App>,
    pub(super) door: Admission,
    pub(super) review: Review,
    /// When the answer must be there.
    pub(super) deadline: Instant,
}

impl Asked {
    pub(super) async fn answered(self, connection: Connection) -> Told {
        let mut draft = Draft::at_admission(&self.app, &connection);
        match self.decided(&mut draft).await {
            Ok(told) => told,
            Err(rejection) => Told {
                denied: Some(self.refused(&mut draft, &rejection).await),
                warnings: Vec::new(),
            },
        }
    }

    /// The line by which the writer is refused; recorded, unless nothing would have been stored.
    async fn refused(&self, draft: &mut Draft, rejection: &Rejection) -> String {
        if self.review.dry_run {
            return format!("{}. a dry run, not recorded", rejection.sentence());
        }
        draft.refused(&self.app, rejection).await;
        self.line(draft.decision(), rejection)
    }

    fn line(&self, decision: DecisionId, rejection: &Rejection) -> String {
        let link = self.app.link(decision);
        let about = About {
            decision,
            link: Some(&link),
        };
        respond::line(rejection, about)
    }

    async fn decided(&self, draft: &mut Draft) -> Result<Told, Rejection> {
        let review = &self.review;
        if review.verb == Verb::Other || review.kind == Kind::Other {
            return Ok(Told::default());
        }
        if review.kind != Kind::Application {
            return self.of_argocd(draft).await;
        }
        let change = Change::of(&review.before, &review.after);
        let operation = match (review.verb, change.starts) {
            (Verb::Create, _) => "ApplicationService.Create",
            (_, true) => "ApplicationService.Sync",
            (_, false) => "ApplicationService.Update",
        };
        draft.operation(operation, Effect::Deploy, Form::Rest, WIRE);
        let application = self.application();
        draft.facts(vec![application.clone()], self.about(change, None));
        let caller = self.caller(draft)?;
        let is_argocd = self.is_argocd(&caller);
        let (before, after) = (&review.before, &review.after);
        let forged = match change::status(before, after) {
            Status::Same => false,
            Status::Changed => !is_argocd || change::is_from_a_manifest(before, after),
            Status::MadeUp => true,
        };
        if forged || change::runs_another(after) {
            return Err(Rejection::Policy {
                sentence: format!(
                    "write of {application} refused for {}: status is set by Argo CD alone",
                    caller.display()
                ),
            });
        }
        if !change.concerns(is_argocd) {
            return Ok(Told::default());
        }
        let is_gate = self.is_gate(&caller);
        if (is_argocd || is_gate)
            && let Some(intended) = self.intended(change).await?
            // What others were let do is not the gate's to write.
            && (is_argocd || deployed::operation_of(after, intended).is_some())
        {
            draft.facts(vec![application], self.about(change, Some(intended)));
            return self.recorded(draft, Word::Answer, Vec::new()).await;
        }
        let planned = self.planned(&caller).await?;
        match planned.as_ref() {
            Ok(plan) => self.asked(draft, &caller, plan).await,
            Err(rejection) => Err(rejection.clone()),
        }
    }

    /// Projects and sets say what may run, and who may do what: who may change Argo CD may write them.
    async fn of_argocd(&self, draft: &mut Draft) -> Result<Told, Rejection> {
        let review = &self.review;
        let action = match (review.kind, review.verb) {
            (Kind::AppProject, Verb::Create) => "ProjectService.Create",
            (Kind::AppProject, _) => "ProjectService.Update",
            _ => "ApplicationSetService.Create",
        };
        draft.operation(action, Effect::Administer, Form::Rest, WIRE);
        let name = json::text(&review.after, "/metadata/name");
        let namespace = json::text(&review.after, "/metadata/namespace");
        draft.facts(Vec::new(), json!({ "name": name, "namespace": namespace }));
        let caller = self.caller(draft)?;
        if !change::of_argocd(review.kind, &review.before, &review.after) {
            return Ok(Told::default());
        }
        let plan = planner::administers(action);
        self.asked(draft, &caller, &plan).await
    }

    /// The user whom the API server names.
    fn caller(&self, draft: &mut Draft) -> Result<Caller, Rejection> {
        let review = &self.review;
        // Nobody's credential is seen here; it has held for this one request.
        let until = self.app.clock.now() + SignedDuration::from_mins(1);
        let (issuer, groups) = (&self.door.issuer, review.groups.clone());
        let caller = self
            .app
            .identity
            .vouched(issuer, &review.user, groups, until);
        let caller = caller.map_err(|error| Rejection::Policy {
            sentence: error.to_string(),
        })?;
        draft.caller(&caller);
        Ok(caller)
    }

    fn is_argocd(&self, caller: &Caller) -> bool {
        self.door.argocd.iter().any(|it| is_account(it, caller))
    }

    /// Whether this gate writes, which starts nothing but what it has decided on.
    fn is_gate(&self, caller: &Caller) -> bool {
        let own = self.app.config.rollback.as_ref();
        let own = own.and_then(|rollback| rollback.account.as_ref());
        own.is_some_and(|account| is_account(account, caller))
    }

    fn application(&self) -> AppRef {
        let text = |pointer| json::text(&self.review.after, pointer).to_owned();
        self.app.named(&AppRef {
            namespace: Some(text("/metadata/namespace")),
            name: text("/metadata/name"),
        })
    }

    /// What the record says of the write.
    fn about(&self, change: Change, intended_by: Option<DecisionId>) -> Value {
        let start = change
            .starts
            .then(|| Start::of_operation(&self.review.after))
            .flatten();
        json!({
            "intended_by": intended_by.map(|decision| decision.to_string()),
            "starts": change.starts,
            "respecifies": change.respecifies,
            "dry_run": start.as_ref().is_some_and(|start| start.dry_run),
            "partial": start.as_ref().is_some_and(|start| !start.partial.is_empty()),
            "local": start.as_ref().is_some_and(|start| start.local),
            "revision": json::at(&self.review.after, "/operation/sync/revision"),
            "revisions": json::at(&self.review.after, "/operation/sync/revisions"),
        })
    }

    /// The decision that this write follows from; of a write that does two things, both must.
    async fn intended(&self, change: Change) -> Result<Option<DecisionId>, Rejection> {
        let after = &self.review.after;
        let mut digests = Vec::new();
        if change.starts {
            let Some(start) = Start::of_operation(after) else {
                return Ok(None);
            };
            digests.push(start_digest(&start));
        }
        if change.respecifies {
            digests.push(write_digest(after));
        }
        let text = |pointer| json::text(after, pointer);
        let uid = Some(text("/metadata/uid")).filter(|uid| !uid.is_empty());
        let valid = SignedDuration::try_from(intent::VALID).unwrap_or(SignedDuration::ZERO);
        let not_before = self.app.clock.now() - valid;
        if change.starts && self.is_rolled_back().await? {
            // It was let through, and has failed since.
            return Ok(None);
        }
        let mut decision = None;
        for digest in digests {
            let found = self.app.store.intent(
                text("/metadata/namespace"),
                text("/metadata/name"),
                uid,
                &digest,
                not_before,
            );
            let found = found.await.map_err(|error| {
                tracing::error!(
                    error = crate::telemetry::chain(&error),
                    "cannot read intents"
                );
                Rejection::Internal
            })?;
            match found {
                Some(intent) => decision = Some(intent.decision),
                None => return Ok(None),
            }
        }
        Ok(decision)
    }

    /// Whether a rollback has taken the application away from what the write starts.
    async fn is_rolled_back(&self) -> Result<bool, Rejection> {
        let start = Start::of_operation(&self.review.after);
        let Some(started) = start.as_ref().and_then(Pinned::started_by) else {
            return Ok(false);
        };
        let asked = rollout::is_rolled_back(&self.app.store, &self.application(), &started).await;
        asked.map_err(|error| {
            let error = crate::telemetry::chain(&error);
            tracing::error!(error, "cannot read rollouts");
            Rejection::Internal
        })
    }

    /// What the write would roll out, if that is known in time.
    async fn planned(&self, caller: &Caller) -> Result<Planned, Rejection> {
        let (before, after) = (self.review.before.clone(), self.review.after.clone());
        let key = key(caller, &before, &after);
        let by_argocd = self.is_argocd(caller);
        let (app, caller) = (Arc::clone(&self.app), caller.clone());
        let work = async move {
            let before = Some(&before).filter(|before| !before.is_null());
            let write = AdmittedWrite {
                before,
                after: &after,
                by_argocd,
            };
            planner::admitted(&app, &caller, &write).await
        };
        let application = self.application();
        let (again, dry_run) = (application.clone(), self.review.dry_run);
        let late = move |app: &Arc<App>| {
            if !dry_run {
                app.admission.again.planned(again);
            }
        };
        let planned = Plans::plan(&self.app, key, self.deadline, work, late).await;
        planned.ok_or_else(|| Rejection::Policy {
            sentence: format!(
                "planning: what this write of {application} rolls out is not worked out yet; \
                 that goes on, and Argo CD is then told to try again"
            ),
        })
    }

    /// Asks the policies about `plan`.
    async fn asked(
        &self,
        draft: &mut Draft,
        caller: &Caller,
        plan: &Plan,
    ) -> Result<Told, Rejection> {
        let holds = hold::of_plan(&self.app, plan).await?;
        let policies = self.app.policies.current();
        let questions = plan.questions(caller, WIRE, self.app.clock.now(), &holds);
        draft.planned(plan, &holds, &policies);
        match decide(&policies, &questions, ()) {
            Decision::Allow(permitted) => {
                draft.permitted(&permitted);
                if !self.review.dry_run {
                    deployed::permitted(&self.app, draft.decision(), plan).await?;
                    rollout::begun(&self.app, draft.decision(), caller, plan).await?;
                }
                let Some(denial) = permitted.observed() else {
                    return self.recorded(draft, Word::Permit, Vec::new()).await;
                };
                let refusal = refusal::plainly(&self.app, (plan, &holds), caller, denial);
                let warning = format!("would be refused: {}", refusal.sentence());
                self.recorded(draft, Word::ObserveDeny, vec![warning]).await
            }
            Decision::Deny(denial) => {
                draft.denied(&denial);
                self.remember((plan, &holds), &denial);
                let refusal = refusal::plainly(&self.app, (plan, &holds), caller, &denial);
                Err(refusal)
            }
        }
    }

    /// Remembers what tests would turn into a yes, or the end of what holds an environment.
    fn remember(&self, (plan, holds): (&Plan, &Holds), denial: &Denial) {
        let is_held = denial.code == DenialCode::Held;
        if self.review.dry_run || !(denial.evidence || is_held) {
            return;
        }
        let blocked = plan.applications.iter();
        let blocked = blocked.filter(|it| matches!(it.finding, Some(Finding::Blocked { .. })));
        let components: BTreeSet<String> = blocked
            .map(|planned| planned.facts.component.clone())
            .filter(|component| !component.is_empty())
            .collect();
        let waits = Waits {
            components,
            causes: if is_held {
                holds.causes()
            } else {
                BTreeSet::new()
            },
        };
        let (application, now) = (self.application(), self.app.clock.now());
        self.app.admission.again.denied(application, waits, now);
    }

    /// Records a yes, unless nothing will be stored by the write either.
    async fn recorded(
        &self,
        draft: &mut Draft,
        word: Word,
        warnings: Vec<String>,
    ) -> Result<Told, Rejection> {
        if !self.review.dry_run {
            let nothing = Response::new(body::empty());
            draft.record(&self.app, word, nothing).await?;
            if !json::at(&self.review.after, "/operation").is_null() {
                let now = self.app.clock.now();
                self.app.admission.started.insert(self.application(), now);
            }
        }
        Ok(Told {
            denied: None,
            warnings,
        })
    }
}

fn is_account(account: &ServiceAccount, caller: &Caller) -> bool {
    let Subject::KubernetesAccount {
        namespace, name, ..
    } = &caller.subject
    else {
        return false;
    };
    (&account.issuer, &account.namespace, &account.name) == (&caller.issuer, namespace, name)
}

/// What tells the planning of one write from that of another.
fn key(caller: &Caller, before: &Value, after: &Value) -> Key {
    let essence = |object: &Value| {
        let of = |pointer| json::at(object, pointer).clone();
        without_blanks(&json!({
            "labels": of("/metadata/labels"),
            "name": of("/metadata/name"),
            "namespace": of("/metadata/namespace"),
            "operation": of("/operation"),
            "spec": of("/spec"),
            "uid": of("/metadata/uid"),
        }))
    };
    let all = json!([caller.unique(), essence(before), essence(after)]);
    Key(sha256_hex(&canonical_json(&all)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_work_is_known_by_what_it_is_about() {
        let caller = |name: &str| Caller {
            subject: Subject::KubernetesUser { name: name.into() },
            issuer: "https://cluster".into(),
            groups: BTreeSet::new(),
            roles: BTreeSet::new(),
            expires_at: jiff::Timestamp::MAX,
            sign_in: crate::identity::SignIn::default(),
        };
        let write = |revision: &str, version: &str| {
            json!({
                "metadata": {"name": "shop", "resourceVersion": version},
                "operation": {"sync": {"revision": revision, "dryRun": false}},
                "status": {"reconciledAt": version},
            })
        };
        let of = |name: &str, revision: &str, version: &str| {
            key(&caller(name), &Value::Null, &write(revision, version))
        };
        assert_eq!(of("ada", "x", "1"), of("ada", "x", "2"));
        assert_ne!(of("ada", "x", "1"), of("ada", "y", "1"));
        assert_ne!(of("ada", "x", "1"), of("bob", "x", "1"));
    }
}
