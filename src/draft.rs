//! The record of one request while it is being made.
//!
//! Begun before anything else happens and filled by the stages, so that no way through the pipeline
//! can forget it. It becomes an opening entry before a forward ([`Draft::open`]), or opening and
//! closing together where the gate answers or refuses.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::Response;
use serde_json::{Value, json};

use crate::app::App;
use crate::argocd::operation::Effect;
use crate::argocd::request::{Body as CallBody, Call};
use crate::body::Body;
use crate::break_glass;
use crate::failpoint;
use crate::forward::{Ending, OnEnd, StreamEnd};
use crate::hold::Holds;
use crate::identity::Caller;
use crate::listener::Connection;
use crate::names::DecisionId;
use crate::notify;
use crate::planner::Plan;
use crate::policy::{Answer, Denial, GlassWord, Permitted, Policies};
use crate::record::{
    Door, Durability, OpenRecord, Opening, Outcome, Planned, UpstreamStatus, Word,
};
use crate::respond::{self, About, Form, Rejection};

/// What is known of a request so far.
pub struct Draft {
    opening: Opening,
    /// How refusals are worded.
    pub form: Form,
    effect: Effect,
    note: Option<String>,
    /// Of all that would be rolled out.
    environments: Vec<String>,
    /// A refusal after the forward, for the closing entry.
    late: Arc<OnceLock<String>>,
    opened: bool,
    started: Instant,
}

impl Draft {
    /// A draft of a request that has just come in.
    #[must_use]
    pub fn begin(app: &App, connection: &Connection) -> Self {
        Self::new(app, Door::Api, Some(connection.peer.ip()))
    }

    /// A draft of a write that the API server of a cluster asks about.
    #[must_use]
    pub fn at_admission(app: &App, connection: &Connection) -> Self {
        let mut draft = Self::new(app, Door::Admission, Some(connection.peer.ip()));
        "admission".clone_into(&mut draft.opening.wire);
        draft
    }

    /// A draft of a request to an endpoint under test.
    #[must_use]
    pub fn at_endpoint(app: &App, connection: &Connection) -> Self {
        Self::new(app, Door::Test, Some(connection.peer.ip()))
    }

    fn new(app: &App, door: Door, remote: Option<IpAddr>) -> Self {
        let at = app.clock.now();
        let (decision, effect) = (DecisionId::new(at), Effect::Read.word());
        let mut opening = Opening::new(decision, at, door, "unknown", effect, Word::Refuse);
        "unknown".clone_into(&mut opening.wire);
        opening.remote = remote;
        Self {
            opening,
            form: Form::Rest,
            effect: Effect::Read,
            note: None,
            environments: Vec::new(),
            late: Arc::default(),
            opened: false,
            started: Instant::now(),
        }
    }

    /// A draft of something that the gate does by itself.
    #[must_use]
    pub fn of_controller(app: &App, operation: &str, effect: Effect) -> Self {
        let mut draft = Self::new(app, Door::Controller, None);
        draft.operation(operation, effect, Form::Own, "own");
        draft
    }

    /// The decision that this request gets.
    #[must_use]
    pub fn decision(&self) -> DecisionId {
        self.opening.decision
    }

    /// How long ago it was begun.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Notes what is asked for, and in which form to answer.
    pub fn operation(&mut self, name: &str, effect: Effect, form: Form, wire: &str) {
        name.clone_into(&mut self.opening.operation);
        wire.clone_into(&mut self.opening.wire);
        self.form = form;
        self.effect(effect);
    }

    /// Notes the effect, where it turns out to be another than the operation's own.
    pub fn effect(&mut self, effect: Effect) {
        self.effect = effect;
        effect.word().clone_into(&mut self.opening.effect);
    }

    /// Notes who calls.
    pub fn caller(&mut self, caller: &Caller) {
        self.opening.caller = Some(caller.into());
    }

    /// Notes a cause for those who may read the log.
    pub fn note(&mut self, cause: impl Into<String>) {
        self.note = Some(cause.into());
    }

    /// Notes the application and the further facts of a call.
    pub fn call(&mut self, call: &Call) {
        self.opening.applications = call.app.iter().map(|target| target.app.clone()).collect();
        if let CallBody::Sync(request) = &call.body {
            self.opening.request = json!({
                "revision": request.revision(),
                "revisions": request.revisions().map(|(p, r)| json!([p, r])).collect::<Vec<_>>(),
                "dry_run": request.is_dry_run(),
                "partial": request.is_partial(),
                "force": request.is_forced(),
                "prune": request.prunes(),
                "local": request.is_local(),
                "break_glass": request.info(break_glass::INFO),
            });
        }
        if let CallBody::Rollback(request) = &call.body {
            self.opening.request = json!({
                "id": request.id,
                "dry_run": request.dry_run,
                "prune": request.prune,
            });
        }
    }

    /// Notes further facts of a request of our own API.
    pub fn facts(&mut self, applications: Vec<crate::names::AppRef>, request: Value) {
        self.opening.applications = applications;
        self.opening.request = request;
    }

    /// Notes what would be rolled out, what holds that, and by which policies it is about to be decided.
    pub fn planned(&mut self, plan: &Plan, holds: &Holds, policies: &Policies) {
        for planned in &plan.applications {
            let application = &planned.facts.app;
            // The one that is called stands first.
            if !self.opening.applications.contains(application) {
                self.opening.applications.push(application.clone());
            }
            let environment = &planned.facts.environment;
            if !self.environments.contains(environment) {
                self.environments.push(environment.clone());
            }
        }
        let planned = plan
            .applications
            .iter()
            .filter(|p| p.plan.is_some() || p.finding.is_some());
        self.opening.planned = planned
            .map(|p| Planned {
                break_glass: Some(p.glass(plan, holds))
                    .filter(|glass| *glass != GlassWord::None)
                    .map(|glass| glass.word().to_owned()),
                application: p.facts.app.clone(),
                action: p.action.to_owned(),
                changes: p.changes.iter().map(ToString::to_string).collect(),
                plan: p.plan.clone(),
                finding: p.finding.clone(),
                moves: p.moves().word().to_owned(),
                held: holds.of(&p.facts.environment).clone(),
            })
            .collect();
        self.policies(policies);
    }

    /// Notes the policies in force.
    pub fn policies(&mut self, policies: &Policies) {
        self.opening.policy_digest = Some(policies.digest().to_owned());
        self.opening.schema_digest = Some(policies.schema_digest().to_owned());
    }

    /// Notes a permission and what is needed to decide it again.
    pub fn permitted<T>(&mut self, permitted: &Permitted<T>) {
        self.opening.determining = permitted
            .policies()
            .into_iter()
            .map(str::to_owned)
            .collect();
        self.evaluated(&permitted.grounds().answers);
    }

    /// Notes a refusal by the policies.
    pub fn denied(&mut self, denial: &Denial) {
        self.opening.word = Word::Deny;
        self.opening.determining = denial.policies().into_iter().map(str::to_owned).collect();
        self.evaluated(&denial.answers);
        let errors = denial.answers.iter().flat_map(|answer| &answer.errors);
        let errors: Vec<&str> = errors.map(String::as_str).collect();
        if !errors.is_empty() {
            self.note(errors.join("; "));
        }
    }

    fn evaluated(&mut self, answers: &[Answer]) {
        // Reads are too many to keep what they could be decided from again.
        if self.effect != Effect::Read {
            self.opening.evaluation = answers
                .iter()
                .map(|answer| answer.recorded.to_json())
                .collect();
        }
    }

    /// Stores the opening entry; nothing may be forwarded unless this gives a record.
    ///
    /// # Errors
    /// [`Rejection::RecordBehind`] when storage is behind, else [`Rejection::Internal`].
    pub async fn open(
        &mut self,
        app: &App,
        word: Word,
        durability: Durability,
    ) -> Result<OpenRecord, Rejection> {
        self.opening.word = word;
        self.opened = true;
        let opened = app.recorder.open(self.opening.clone(), durability).await;
        let mut record = opened.map_err(|error| {
            tracing::error!(decision = %self.decision(), error = crate::telemetry::chain(&error), "not recorded");
            if error.is_behind() { Rejection::RecordBehind } else { Rejection::Internal }
        })?;
        if let Some(note) = self.note.take() {
            record.note(note);
        }
        Ok(record)
    }

    /// Notes for the closing entry that the caller was refused although the call was forwarded.
    pub fn refused_late(&self, rejection: &Rejection) {
        // The first one is what the caller was told.
        let _ = self
            .late
            .set(format!("the caller was told `{}`", rejection.word()));
    }

    /// Where to note, for the closing entry, what became of the answer.
    #[must_use]
    pub fn noted(&self) -> Arc<OnceLock<String>> {
        Arc::clone(&self.late)
    }

    /// What to do when the upstream's answer has ended: close the record, count.
    pub fn on_end(&self, app: &Arc<App>, record: OpenRecord) -> OnEnd {
        let tasks = app.tasks.clone();
        let (operation, effect) = (self.opening.operation.clone(), self.effect);
        let late = Arc::clone(&self.late);
        let mut record = record;
        Box::new(move |end: StreamEnd| {
            if let Some(note) = late.get() {
                record.note(note.clone());
            }
            let outcome = outcome(&end);
            let code = match (end.grpc_status, end.status) {
                (Some(code), _) => format!("grpc-{code}"),
                (None, Some(status)) => status.as_str().to_owned(),
                (None, None) => "none".to_owned(),
            };
            count(&operation, effect, "forwarded", &code);
            metrics::histogram!("syncgate_stream_seconds").record(end.elapsed.as_secs_f64());
            tasks.spawn(async move {
                if effect == Effect::Deploy {
                    failpoint::reach(failpoint::AFTER_FORWARD).await;
                }
                record.close(outcome).await;
            });
        })
    }

    /// Records an answer of our own, and gives it.
    ///
    /// # Errors
    /// As [`Draft::open`].
    pub async fn record(
        &mut self,
        app: &App,
        word: Word,
        response: Response<Body>,
    ) -> Result<Response<Body>, Rejection> {
        let durability = self.durability();
        let record = self.open(app, word, durability).await?;
        Ok(self.answered(record, response).await)
    }

    /// Closes a record with an answer of our own, and gives it.
    pub async fn answered(&self, record: OpenRecord, response: Response<Body>) -> Response<Body> {
        record.close(Outcome::Answered).await;
        self.count("answered", response.status().as_str());
        response
    }

    /// Records a refusal and gives the answer for it, in the form that the caller speaks.
    pub async fn refuse(mut self, app: &App, rejection: Rejection) -> Response<Body> {
        self.refused(app, &rejection).await;
        let link = app.link(self.decision());
        let about = About {
            decision: self.decision(),
            link: Some(&link),
        };
        respond::reject(self.form, &rejection, about)
    }

    /// Records a refusal.
    pub async fn refused(&mut self, app: &App, rejection: &Rejection) {
        self.count("refused", rejection.word());
        let decision = self.decision();
        tracing::info!(
            %decision,
            operation = self.opening.operation,
            caller = self.opening.caller.as_ref().map(|caller| caller.display.as_str()),
            code = rejection.word(),
            "refused"
        );
        if !self.opened {
            let word = self.opening.word;
            // A refusal stands even where it cannot be recorded; `open` has logged that.
            if let Ok(record) = self.open(app, word, Durability::Queued).await {
                record
                    .close(Outcome::Refused {
                        code: rejection.word().to_owned(),
                    })
                    .await;
            }
        }
        let is_a_no = matches!(
            rejection,
            Rejection::Evidence { .. } | Rejection::Held { .. } | Rejection::Policy { .. }
        );
        if self.effect == Effect::Deploy && is_a_no {
            let environments = self.environments.clone();
            notify::tell::refused(app, &self.opening, environments, rejection.sentence()).await;
        }
    }

    /// How durable the entries of this request are: what changes something waits.
    #[must_use]
    pub fn durability(&self) -> Durability {
        match self.effect {
            Effect::Read => Durability::Queued,
            Effect::Administer | Effect::Deploy | Effect::Report | Effect::Write => {
                Durability::BeforeProceeding
            }
        }
    }

    fn count(&self, outcome: &'static str, code: &str) {
        count(&self.opening.operation, self.effect, outcome, code);
        metrics::histogram!("syncgate_decision_seconds")
            .record(self.started.elapsed().as_secs_f64());
    }
}

fn count(operation: &str, effect: Effect, outcome: &'static str, code: &str) {
    metrics::counter!(
        "syncgate_requests_total",
        "operation" => operation.to_owned(),
        "effect" => effect.word(),
        "outcome" => outcome,
        "code" => code.to_owned(),
    )
    .increment(1);
}

fn outcome(end: &StreamEnd) -> Outcome {
    let status = match (end.grpc_status, end.status) {
        (Some(code), _) => Some(UpstreamStatus::Grpc(code)),
        (None, Some(status)) => Some(UpstreamStatus::Http(status.as_u16())),
        (None, None) => None,
    };
    match (end.how, status) {
        (Ending::Failed(fault), _) => Outcome::Failed {
            stage: fault.word().to_owned(),
        },
        (Ending::Cancelled | Ending::Completed, Some(status)) => Outcome::Forwarded {
            status,
            upstream_ms: u64::try_from(end.elapsed.as_millis()).unwrap_or(u64::MAX),
            bytes: end.bytes,
        },
        (Ending::Cancelled | Ending::Completed, None) => Outcome::Failed {
            stage: "cancelled before an answer came".to_owned(),
        },
    }
}
