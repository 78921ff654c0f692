//! The story of one commit: refused, tested, let through, with both decisions on record.
//!
//! It speaks to a gate over its REST API as any client would, and checks every step. The demo tells
//! it over stand-ins, the tests tell it over a real Argo CD.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

/// How long a step may take; a real operation with a test Job takes seconds.
const PATIENCE: Duration = Duration::from_secs(120);
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
}

/// A setting with a client to act in it.
pub struct Stage {
    setting: Setting,
    http: legacy::Client<hyper_rustls::HttpsConnector<legacy::connect::HttpConnector>, Full<Bytes>>,
}

impl Stage {
    /// Prepares to act in `setting`.
    ///
    /// # Errors
    /// When the authorities cannot be read.
    pub fn new(setting: Setting) -> anyhow::Result<Self> {
        let mut tls = crate::forward::client_config(setting.ca_file.as_deref())?;
        tls.alpn_protocols.clear();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            setting,
            http: legacy::Client::builder(TokioExecutor::new()).build(connector),
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
    let setting = &stage.setting;
    let staging = format!("{}-staging", setting.component);
    let prod = format!("{}-prod", setting.component);
    let (alice, rita, sam) = (
        &setting.engineer,
        &setting.release_manager,
        &setting.security,
    );
    say(
        "Syncgate stands in front of Argo CD, which copies what is in Git to a cluster (a \"sync\").",
    );
    say(&format!(
        "{} runs twice: as {staging}, where its tests run, and as {prod}, which customers use.",
        setting.component
    ));
    say(
        "The rule here: prod gets a commit only after the suite 'integration' has passed for it in staging.\n",
    );

    let commit = (setting.push)()?;
    let short = commit.get(..7).unwrap_or(&commit);
    say(&format!(
        "1. Somebody pushes commit {short} to the branch that both follow."
    ));

    say(&format!(
        "2. {} may deploy to prod and tries at once: sync {prod}.",
        rita.0
    ));
    let (status, refusal) = stage.sync(rita, &prod).await?;
    let message = refusal["message"].as_str().unwrap_or_default();
    ensure!(
        status == StatusCode::BAD_REQUEST && refusal["code"] == 9,
        "expected a refusal, got {status}: {refusal}"
    );
    for part in [prod.as_str(), short, "integration", "staging", "decision"] {
        ensure!(
            message.contains(part),
            "the refusal does not name {part}: {message}"
        );
    }
    say(&format!("   REFUSED: {message}"));

    say(&format!(
        "3. {} is an engineer. Prod is not theirs to deploy, tests or not.",
        alice.0
    ));
    let (status, refusal) = stage.sync(alice, &prod).await?;
    ensure!(
        status == StatusCode::FORBIDDEN && refusal["code"] == 7,
        "expected a refusal, got {status}: {refusal}"
    );
    say(&format!(
        "   REFUSED: {}",
        refusal["message"].as_str().unwrap_or_default()
    ));

    say(&format!(
        "4. {} syncs {staging}, which requires nothing.",
        alice.0
    ));
    let (status, answer) = stage.sync(alice, &staging).await?;
    ensure!(
        status == StatusCode::OK,
        "expected a sync, got {status}: {answer}"
    );
    ensure!(
        answer["operation"]["sync"]["revision"] == commit.as_str(),
        "not pinned: {answer}"
    );
    say(&format!(
        "   ALLOWED, pinned to {short}. The hook Job of the sync runs the tests there."
    ));

    say(
        "5. The Job signs in with its own service account and reports every attempt of every test.",
    );
    let path = format!("/syncgate/v1/runs?application={staging}&commit={commit}");
    let run = stage
        .wait_for(alice, &path, "run that counts", |list| {
            let runs = list["runs"].as_array()?;
            runs.iter()
                .find(|run| run["result"]["counts"] == "now")
                .cloned()
        })
        .await?;
    let result = &run["result"];
    ensure!(result["verdict"] == "passed", "expected a pass: {run}");
    ensure!(
        run["commits"] == json!([commit]),
        "bound to another commit: {run}"
    );
    say(&format!(
        "   PASSED: {} tests of run {}, bound to {short} by the sync that they ran in.",
        result["tests"]["passed"],
        run["run"].as_str().unwrap_or_default()
    ));

    say(&format!("6. {} tries again: sync {prod}.", rita.0));
    let (status, answer) = stage.sync(rita, &prod).await?;
    ensure!(
        status == StatusCode::OK,
        "expected a sync, got {status}: {answer}"
    );
    ensure!(
        answer["operation"]["sync"]["revision"] == commit.as_str(),
        "not pinned: {answer}"
    );
    let infos = answer["operation"]["info"].as_array().into_iter().flatten();
    let mut decisions = infos.filter(|info| info["name"] == "syncgate-decision");
    let Some(decision) = decisions.next().and_then(|info| info["value"].as_str()) else {
        bail!("the operation does not carry the decision: {answer}");
    };
    say(&format!(
        "   ALLOWED, pinned to {short}: whatever is pushed meanwhile, this is what runs."
    ));

    say(&format!("7. {} of security reads the record of it.", sam.0));
    let path = format!("/syncgate/v1/log/{decision}");
    let entry = stage
        .wait_for(sam, &path, "closing entry", |entry| {
            (!entry["closing"].is_null()).then(|| entry.clone())
        })
        .await?;
    let opening = &entry["opening"];
    ensure!(opening["word"] == "permit", "expected a permit: {entry}");
    let texts = |value: &Value| {
        let list = value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        list.collect::<Vec<_>>().join(", ")
    };
    let finding = &opening["planned"][0]["finding"];
    ensure!(
        finding["runs"]
            .as_array()
            .is_some_and(|runs| runs.contains(&run["run"])),
        "another run: {entry}"
    );
    say(&format!(
        "   decision {decision}: {} by {}, permitted by {}, evidence {}.",
        opening["operation"].as_str().unwrap_or_default(),
        opening["caller"]["display"].as_str().unwrap_or_default(),
        texts(&opening["determining"]),
        texts(&finding["runs"]),
    ));
    say("\nThat is the gate: no sync without its tests, and every answer on record.");
    Ok(())
}
