//! `syncgate rollout`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{GateOptions, NO, Output, complain, ended, say};
use crate::evidence::client::{Client, Error, Gate};
use crate::names::{AppRef, DecisionId};
use crate::rollout::interface::{Open, RolloutView, TakeBack};
use crate::rollout::{INFO, State, cli};
use crate::telemetry::chain;

pub(super) const EXAMPLES: &str = "\
Examples:
  syncgate rollout sync root-prod
  syncgate rollout list --application checkout-prod
  syncgate rollout show 01KXYZ... --wait
  syncgate rollout rollback 01KXYZ... --reason 'orders fail, INC-4711'

A rollout is a sync and all that it rolls out: of a parent, with its children. When the tests of one of
them fail, the gate takes all of it back to the newest combination that has passed, in reverse wave order,
and runs the tests there; where the policies do not let it, it proposes that, and `rollback` starts it.
What is stuck needs a person: `resume` tries again what has failed; `abandon` leaves all as it is, and
lets automated sync go forward again. A sync by a person goes ahead of any rollback.";

/// Between two looks at what goes on.
const PAUSE: Duration = Duration::from_secs(1);

/// What to do about rollouts.
#[derive(Subcommand)]
pub enum RolloutCommand {
    /// End a rollback where it is: what it took back may come again by itself
    Abandon(Which),
    /// Show the newest rollouts
    List(List),
    /// Let a rollback that is stuck try again what has failed
    Resume(Act),
    /// Take a rollout back: all of it, to the newest combination that has passed its tests
    Rollback(Rollback),
    /// Show one, with all that is in it
    Show(Show),
    /// Sync a parent, and then its children that do not sync by themselves, wave by wave
    ///
    /// Those of one wave go together. Each sync is decided on by itself, as yours; where one is refused or
    /// fails, no later wave begins.
    Sync(Sync),
}

/// Which one.
#[derive(Args)]
pub struct Which {
    #[command(flatten)]
    gate: GateOptions,
    /// The decision by which it is known
    #[arg(value_name = "ROLLOUT")]
    rollout: ulid::Ulid,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Which one to show.
#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    which: Which,
    /// Follow its rollback to the end
    #[arg(long)]
    wait: bool,
}

/// What goes on for a while.
#[derive(Args)]
pub struct Act {
    #[command(flatten)]
    which: Which,
    /// Return at once, and do not follow it to the end
    #[arg(long)]
    no_wait: bool,
}

/// What to take back.
#[derive(Args)]
pub struct Rollback {
    #[command(flatten)]
    act: Act,
    /// Why; not needed where the gate has proposed it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Which ones to list.
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    gate: GateOptions,
    /// Only those with this application
    #[arg(long, value_name = "NAME")]
    application: Option<String>,
    /// Its namespace [default: Argo CD's own]
    #[arg(long, value_name = "NAMESPACE", requires = "application")]
    app_namespace: Option<String>,
    /// How many at most
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    limit: u32,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What to sync.
#[derive(Args)]
pub struct Sync {
    #[command(flatten)]
    gate: GateOptions,
    /// The parent
    #[arg(value_name = "APPLICATION")]
    application: String,
    /// Its namespace [default: Argo CD's own]
    #[arg(long, value_name = "NAMESPACE")]
    app_namespace: Option<String>,
    /// The revision of the parent [default: that of its spec]
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
    /// Delete what is no longer in Git, of the parent and of each child
    #[arg(long)]
    prune: bool,
    /// Seconds that each application may take
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    timeout: u64,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Why a command did not do what it was to do.
enum Failure {
    Asked(Error),
    /// It ended otherwise than it should; told.
    Ended(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Asked(error) => f.write_str(&chain(error)),
            Self::Ended(sentence) => f.write_str(sentence),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Asked(error)
    }
}

/// Runs it.
pub(super) async fn run(command: RolloutCommand) -> ExitCode {
    let gate = match &command {
        RolloutCommand::Abandon(options) => &options.gate,
        RolloutCommand::List(options) => &options.gate,
        RolloutCommand::Resume(options) => &options.which.gate,
        RolloutCommand::Rollback(options) => &options.act.which.gate,
        RolloutCommand::Show(options) => &options.which.gate,
        RolloutCommand::Sync(options) => &options.gate,
    };
    let gate = match gate.gate() {
        Ok(gate) => gate,
        Err(code) => return code,
    };
    match told(&gate, command).await {
        Ok(text) => ended(Ok(text)),
        Err(Failure::Asked(error)) => ended(Err(error)),
        Err(Failure::Ended(sentence)) => complain(NO, &sentence),
    }
}

async fn told(gate: &Gate, command: RolloutCommand) -> Result<String, Failure> {
    let client = Client::new(gate)?;
    match command {
        RolloutCommand::Abandon(which) => {
            let rollout = client.abandon_rollback(DecisionId(which.rollout)).await?;
            Ok(shown(&rollout, which.output))
        }
        RolloutCommand::List(options) => list(&client, options).await,
        RolloutCommand::Resume(act) => {
            let rollout = client
                .resume_rollback(DecisionId(act.which.rollout))
                .await?;
            followed(&client, rollout, !act.no_wait, act.which.output).await
        }
        RolloutCommand::Rollback(options) => {
            let (act, reason) = (options.act, options.reason);
            let asked = TakeBack { reason };
            let rollout = client
                .take_back(DecisionId(act.which.rollout), &asked)
                .await?;
            followed(&client, rollout, !act.no_wait, act.which.output).await
        }
        RolloutCommand::Show(options) => {
            let which = options.which;
            let rollout = client.rollout(DecisionId(which.rollout)).await?;
            if options.wait {
                followed(&client, rollout, true, which.output).await
            } else {
                Ok(shown(&rollout, which.output))
            }
        }
        RolloutCommand::Sync(options) => sync(&client, options).await,
    }
}

async fn list(client: &Client, options: List) -> Result<String, Failure> {
    let mut query = vec![("limit", options.limit.to_string())];
    query.extend(options.application.map(|it| ("application", it)));
    query.extend(
        options
            .app_namespace
            .map(|it| ("application_namespace", it)),
    );
    let found = client.rollouts(&query).await?;
    Ok(match options.output {
        Output::Json => format!("{:#}", json!(found)),
        Output::Text => cli::render(&found.rollouts, colour()),
    })
}

fn colour() -> bool {
    std::io::stdout().is_terminal()
}

fn shown(rollout: &RolloutView, output: Output) -> String {
    match output {
        Output::Json => format!("{:#}", json!(rollout)),
        Output::Text => cli::one(rollout, colour()),
    }
}

/// Tells each step of the rollback as it happens, until it has ended; an end that is not good is a failure.
async fn followed(
    client: &Client,
    mut rollout: RolloutView,
    wait: bool,
    output: Output,
) -> Result<String, Failure> {
    let mut told = BTreeSet::new();
    loop {
        let rollback = rollout.rollback.as_ref();
        for step in rollback.iter().flat_map(|rollback| &rollback.steps) {
            let line = cli::step(step);
            if wait && output == Output::Text && told.insert(line.clone()) {
                say(&line);
            }
        }
        let state = rollback.map(|rollback| rollback.state);
        let text = shown(&rollout, output);
        match state {
            Some(State::Running) if wait => {}
            Some(State::Stuck) if wait => {
                say(&text);
                return Err(Failure::Ended("the rollback is stuck".to_owned()));
            }
            _ => return Ok(text),
        }
        tokio::time::sleep(PAUSE).await;
        rollout = client.rollout(rollout.decision).await?;
    }
}

/// Syncs the parent, then its children, wave by wave.
async fn sync(client: &Client, options: Sync) -> Result<String, Failure> {
    let parent = AppRef {
        namespace: options.app_namespace.clone(),
        name: options.application.clone(),
    };
    let asked = Open {
        application: options.application.clone(),
        application_namespace: options.app_namespace.clone(),
        revision: options.revision.clone(),
        prune: options.prune,
    };
    let rollout = client.open_rollout(&asked).await?;
    let tell = |text: String| {
        if options.output == Output::Text {
            say(&text);
        }
    };
    tell(format!("rollout {} of {parent}", rollout.decision));
    let mut waves: BTreeMap<&[i64], Vec<&AppRef>> = BTreeMap::new();
    for member in rollout.members.iter().filter(|member| !member.automated) {
        let wave = waves.entry(&member.wave).or_default();
        wave.push(&member.application);
    }
    let first = (vec![&parent], options.revision.as_deref());
    let behind = waves.into_values().map(|wave| (wave, None));
    for (wave, revision) in std::iter::once(first).chain(behind) {
        let mut failed = None;
        let each = wave.into_iter().map(|application| {
            tell(format!("{application}: syncing"));
            let synced = one(client, &rollout, application, revision, &options);
            synced.map(move |synced| (application, synced))
        });
        let mut each: FuturesUnordered<_> = each.collect();
        while let Some((application, synced)) = each.next().await {
            let message = match synced {
                Ok(message) => message,
                Err(failure) => {
                    failed = Some(application);
                    failure.to_string()
                }
            };
            tell(format!("{application}: {message}"));
        }
        if let Some(application) = failed {
            return Err(stopped(client, &rollout, application, options.output).await);
        }
    }
    let rollout = client.rollout(rollout.decision).await?;
    Ok(shown(&rollout, options.output))
}

/// What is told where `application` did not go well: how far all is.
async fn stopped(
    client: &Client,
    rollout: &RolloutView,
    application: &AppRef,
    output: Output,
) -> Failure {
    if let Ok(rollout) = client.rollout(rollout.decision).await {
        say(&shown(&rollout, output));
    }
    Failure::Ended(format!(
        "{application} was not rolled out, and nothing behind it; see: syncgate rollout show {}",
        rollout.decision
    ))
}

/// Syncs `application` as a part of `rollout`, and waits until its operation has ended.
async fn one(
    client: &Client,
    rollout: &RolloutView,
    application: &AppRef,
    revision: Option<&str>,
    options: &Sync,
) -> Result<String, Failure> {
    let belongs_to = rollout.decision.to_string();
    let mut request = json!({
        "infos": [{ "name": INFO, "value": belongs_to }],
        "prune": options.prune,
        "strategy": { "hook": {} },
    });
    if let Some(revision) = revision {
        crate::json::set(&mut request, "/revision", json!(revision));
    }
    if let Some(namespace) = &application.namespace {
        crate::json::set(&mut request, "/appNamespace", json!(namespace));
    }
    client.sync(application, &request).await?;
    let until = Instant::now() + Duration::from_secs(options.timeout);
    let is_ours = |operation: &Value| {
        let infos = crate::json::at(operation, "/info").as_array();
        infos.into_iter().flatten().any(|info| {
            crate::json::text(info, "/name") == INFO
                && crate::json::text(info, "/value") == belongs_to
        })
    };
    loop {
        let now = client.application(application).await?;
        let state = crate::json::at(&now, "/status/operationState");
        let phase = crate::json::text(state, "/phase");
        let message = crate::json::text(state, "/message");
        let pending = !crate::json::at(&now, "/operation").is_null();
        if !pending && is_ours(crate::json::at(state, "/operation")) {
            match phase {
                "Running" | "Terminating" => {}
                "Succeeded" => return Ok(format!("Succeeded: {message}")),
                phase => return Err(Failure::Ended(format!("{phase}: {message}"))),
            }
        }
        if Instant::now() > until {
            let seconds = options.timeout;
            return Err(Failure::Ended(format!("has not ended after {seconds} s")));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
