//! The story of one commit: refused, tested, let through, with both decisions on record; and of a worse one, which is
//! taken back.
//!
//! It speaks to a gate over its REST API as any client would, and checks every step. The demo tells
//! it over stand-ins, the tests tell it over a real Argo CD.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::json::{at, text};
use crate::outbound;

/// How long a step may take; a real operation with a test Job takes seconds.
const PATIENCE: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(100);

/// Moves the branch to a new commit and gives it.
pub type Push = Box<dyn Fn() -> anyhow::Result<String> + Send + Sync>;

/// What the story is told with.
pub struct Setting {
    /// The gate.
    pub gate: url::Url,
    /// The authorities to trust for it, if not the system's.
    pub ca_file: Option<PathBuf>,
    /// Name and token of somebody who deploys to staging.
    pub engineer: (String, String),
    /// Name and token of somebody who deploys to prod too.
    pub release_manager: (String, String),
    /// Name and token of somebody who reads the log.
    pub security: (String, String),
    /// The component; its applications are `NAME-staging` and `NAME-prod`.
    pub component: String,
    /// Moves the branch that both applications follow.
    pub push: Push,
    /// Moves it to a commit of which the tests fail.
    pub push_failing: Push,
}

/// A setting with a client to act in it.
pub struct Stage {
    setting: Setting,
    http: legacy::Client<HttpsConnector<legacy::connect::HttpConnector>, Full<Bytes>>,
}

impl Stage {
    /// Prepares to act in `setting`.
    ///
    /// # Errors
    /// When the authorities cannot be read.
    pub fn new(setting: Setting) -> anyhow::Result<Self> {
        let tls = outbound::client_config(&setting.gate, setting.ca_file.as_deref())?;
        Ok(Self {
            setting,
            http: legacy::Client::builder(TokioExecutor::new()).build(outbound::http1(tls)),
        })
    }

    /// The token of the release manager, for people to try more.
    #[must_use]
    pub fn release_manager_token(&self) -> &str {
        &self.setting.release_manager.1
    }

    async fn ask(
        &self,
        who: &(String, String),
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let url = self.setting.gate.join(path)?;
        let request = Request::builder()
            .method(method)
            .uri(url.as_str())
            .header("authorization", format!("Bearer {}", who.1))
            .header("content-type", "application/json")
            .body(Full::new(
                body.map(|body| body.to_string()).unwrap_or_default().into(),
            ))?;
        let response = tokio::time::timeout(PATIENCE, self.http.request(request)).await??;
        let status = response.status();
        let bytes = response.into_body().collect().await?.to_bytes();
        let value = serde_json::from_slice(&bytes).with_context(|| {
            format!(
                "{path} answered {status}: {}",
                String::from_utf8_lossy(&bytes)
            )
        })?;
        Ok((status, value))
    }

    async fn sync(
        &self,
        who: &(String, String),
        application: &str,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let path = format!("/api/v1/applications/{application}/sync");
        self.ask(who, Method::POST, &path, Some(json!({}))).await
    }

    /// Asks until `ready` gives something.
    async fn wait_for<T>(
        &self,
        who: &(String, String),
        path: &str,
        what: &str,
        ready: impl Fn(&Value) -> Option<T>,
    ) -> anyhow::Result<T> {
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let (status, value) = self.ask(who, Method::GET, path, None).await?;
                if status == StatusCode::OK
                    && let Some(found) = ready(&value)
                {
                    return anyhow::Ok(found);
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        waited
            .await
            .with_context(|| format!("no {what} within {} s", PATIENCE.as_secs()))?
    }
}

/// Tells the story, one line at a time.
///
/// # Errors
/// When a step is not as told, with what was seen instead.
pub async fn tell(stage: &Stage, say: &mut (dyn FnMut(&str) + Send)) -> anyhow::Result<()> {
    let component = &stage.setting.component;
    let mut story = Story {
        stage,
        staging: format!("{component}-staging"),
        prod: format!("{component}-prod"),
        commit: String::new(),
        say,
    };
    story.introduce();
    story.push()?;
    story.untested_sync_is_refused().await?;
    story.stranger_is_refused().await?;
    story.staging_is_synced().await?;
    let run = story.tests_pass().await?;
    let decision = story.tested_sync_goes_through().await?;
    story.record_tells_it(&decision, &run).await?;
    story.worse_commit_fails().await?;
    story.it_is_taken_back().await?;
    (story.say)(
        "\nThat is the gate: no sync without its tests, what fails goes back, and every answer on record.",
    );
    Ok(())
}

/// The story as far as it is told.
struct Story<'a> {
    stage: &'a Stage,
    staging: String,
    prod: String,
    /// The commit it is about; empty until it is pushed.
    commit: String,
    say: &'a mut (dyn FnMut(&str) + Send),
}

impl Story<'_> {
    fn introduce(&mut self) {
        let (staging, prod) = (&self.staging, &self.prod);
        (self.say)(
            "Syncgate stands in front of Argo CD, which copies what is in Git to a cluster (a \"sync\").",
        );
        (self.say)(&format!(
            "{} runs twice: as {staging}, where its tests run, and as {prod}, which customers use.",
            self.stage.setting.component
        ));
        (self.say)(
            "The rule here: prod gets a commit only after the suite 'integration' has passed for it in staging.\n",
        );
    }

    fn push(&mut self) -> anyhow::Result<()> {
        self.commit = (self.stage.setting.push)()?;
        let line = format!(
            "1. Somebody pushes commit {} to the branch that both follow.",
            self.short()
        );
        (self.say)(&line);
        Ok(())
    }

    async fn untested_sync_is_refused(&mut self) -> anyhow::Result<()> {
        let rita = &self.stage.setting.release_manager;
        (self.say)(&format!(
            "2. {} may deploy to prod and tries at once: sync {}.",
            rita.0, self.prod
        ));
        let (status, refusal) = self.stage.sync(rita, &self.prod).await?;
        let message = text(&refusal, "/message");
        ensure!(
            status == StatusCode::BAD_REQUEST && *at(&refusal, "/code") == 9,
            "expected a refusal, got {status}: {refusal}"
        );
        for part in [
            &self.prod,
            self.short(),
            "integration",
            "staging",
            "decision",
        ] {
            ensure!(
                message.contains(part),
                "the refusal does not name {part}: {message}"
            );
        }
        (self.say)(&format!("   REFUSED: {message}"));
        Ok(())
    }

    async fn stranger_is_refused(&mut self) -> anyhow::Result<()> {
        let alice = &self.stage.setting.engineer;
        (self.say)(&format!(
            "3. {} is an engineer. Prod is not theirs to deploy, tests or not.",
            alice.0
        ));
        let (status, refusal) = self.stage.sync(alice, &self.prod).await?;
        ensure!(
            status == StatusCode::FORBIDDEN && *at(&refusal, "/code") == 7,
            "expected a refusal, got {status}: {refusal}"
        );
        (self.say)(&format!("   REFUSED: {}", text(&refusal, "/message")));
        Ok(())
    }

    async fn staging_is_synced(&mut self) -> anyhow::Result<()> {
        let alice = &self.stage.setting.engineer;
        (self.say)(&format!(
            "4. {} syncs {}, which requires nothing.",
            alice.0, self.staging
        ));
        self.pinned_sync(alice, &self.staging).await?;
        let line = format!(
            "   ALLOWED, pinned to {}. The hook Job of the sync runs the tests there.",
            self.short()
        );
        (self.say)(&line);
        Ok(())
    }

    /// Waits for the run that the hook Job reports, and gives it.
    async fn tests_pass(&mut self) -> anyhow::Result<Value> {
        (self.say)(
            "5. The Job signs in with its own service account and reports every attempt of every test.",
        );
        let path = format!(
            "/syncgate/v1/runs?application={}&commit={}",
            self.staging, self.commit
        );
        let alice = &self.stage.setting.engineer;
        let counting = self
            .stage
            .wait_for(alice, &path, "run that counts", |list| {
                let runs = at(list, "/runs").as_array()?;
                let mut runs = runs.iter();
                runs.find(|run| text(run, "/result/counts") == "now")
                    .cloned()
            });
        let run = counting.await?;
        ensure!(
            text(&run, "/result/verdict") == "passed",
            "expected a pass: {run}"
        );
        ensure!(
            *at(&run, "/commits") == json!([self.commit]),
            "bound to another commit: {run}"
        );
        let line = format!(
            "   PASSED: {} tests of run {}, bound to {} by the sync that they ran in.",
            at(&run, "/result/tests/passed"),
            text(&run, "/run"),
            self.short()
        );
        (self.say)(&line);
        Ok(run)
    }

    /// Gives the decision that the operation carries.
    async fn tested_sync_goes_through(&mut self) -> anyhow::Result<String> {
        let rita = &self.stage.setting.release_manager;
        (self.say)(&format!("6. {} tries again: sync {}.", rita.0, self.prod));
        let answer = self.pinned_sync(rita, &self.prod).await?;
        let infos = at(&answer, "/operation/info").as_array();
        let decision = infos
            .into_iter()
            .flatten()
            .find(|info| text(info, "/name") == "syncgate-decision")
            .map(|info| text(info, "/value").to_owned())
            .with_context(|| format!("the operation does not carry the decision: {answer}"))?;
        let line = format!(
            "   ALLOWED, pinned to {}: whatever is pushed meanwhile, this is what runs.",
            self.short()
        );
        (self.say)(&line);
        Ok(decision)
    }

    async fn record_tells_it(&mut self, decision: &str, run: &Value) -> anyhow::Result<()> {
        let sam = &self.stage.setting.security;
        (self.say)(&format!("7. {} of security reads the record of it.", sam.0));
        let path = format!("/syncgate/v1/log/{decision}");
        let closed = self.stage.wait_for(sam, &path, "closing entry", |entry| {
            (!at(entry, "/closing").is_null()).then(|| entry.clone())
        });
        let entry = closed.await?;
        let opening = at(&entry, "/opening");
        ensure!(
            text(opening, "/word") == "permit",
            "expected a permit: {entry}"
        );
        let runs = at(opening, "/planned/0/finding/runs");
        ensure!(
            texts(runs).contains(&text(run, "/run")),
            "another run: {entry}"
        );
        (self.say)(&format!(
            "   decision {decision}: {} by {}, permitted by {}, evidence {}.",
            text(opening, "/operation"),
            text(opening, "/caller/display"),
            texts(at(opening, "/determining")).join(", "),
            texts(runs).join(", "),
        ));
        Ok(())
    }

    /// A commit that should not have been pushed, as far as staging.
    async fn worse_commit_fails(&mut self) -> anyhow::Result<()> {
        let tested = self.commit.clone();
        self.commit = (self.stage.setting.push_failing)()?;
        let alice = &self.stage.setting.engineer;
        let line = format!(
            "8. Somebody pushes commit {}, and {} syncs {}. Its tests fail there.",
            self.short(),
            alice.0,
            self.staging
        );
        (self.say)(&line);
        self.pinned_sync(alice, &self.staging).await?;
        let path = format!(
            "/syncgate/v1/runs?application={}&commit={}",
            self.staging, self.commit
        );
        let failed = self.stage.wait_for(alice, &path, "failed run", |list| {
            let runs = at(list, "/runs").as_array()?;
            let mut runs = runs.iter();
            runs.find(|run| text(run, "/result/verdict") == "failed")
                .map(|run| text(run, "/run").to_owned())
        });
        let run = failed.await?;
        (self.say)(&format!("   FAILED: run {run}."));
        self.commit = tested;
        Ok(())
    }

    /// The gate takes it back by itself, to the commit that has passed.
    async fn it_is_taken_back(&mut self) -> anyhow::Result<()> {
        let line = format!(
            "9. Nobody does anything. The gate takes {} back to {}, and its tests run again there.",
            self.staging,
            self.short()
        );
        (self.say)(&line);
        let alice = &self.stage.setting.engineer;
        let path = format!("/syncgate/v1/rollouts?application={}&limit=1", self.staging);
        let ended = self.stage.wait_for(alice, &path, "rollback", |list| {
            let rollout = at(list, "/rollouts/0");
            let state = text(rollout, "/rollback/state");
            let has_ended = !["", "running"].contains(&state);
            has_ended.then(|| rollout.clone())
        });
        let rollout = ended.await?;
        ensure!(
            text(&rollout, "/rollback/state") == "verified",
            "expected a rollback: {rollout}"
        );
        let step = at(&rollout, "/rollback/steps/0");
        ensure!(
            *at(step, "/commits") == json!([self.commit]),
            "taken to another commit: {rollout}"
        );
        (self.say)(&format!(
            "   TAKEN BACK, and {}; by decision {}.",
            text(step, "/note"),
            text(step, "/decision"),
        ));
        Ok(())
    }

    /// Syncs `application`, which must be let through and pinned to the commit; gives the answer.
    async fn pinned_sync(
        &self,
        who: &(String, String),
        application: &str,
    ) -> anyhow::Result<Value> {
        let (status, answer) = self.stage.sync(who, application).await?;
        ensure!(
            status == StatusCode::OK,
            "expected a sync, got {status}: {answer}"
        );
        ensure!(
            text(&answer, "/operation/sync/revision") == self.commit,
            "not pinned: {answer}"
        );
        Ok(answer)
    }

    fn short(&self) -> &str {
        self.commit.get(..7).unwrap_or(&self.commit)
    }
}

/// The texts of a list.
fn texts(list: &Value) -> Vec<&str> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(Value::as_str).collect()
}
