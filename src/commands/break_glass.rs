//! `syncgate break-glass`.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{GateOptions, Output, ended};
use crate::break_glass::cli;
use crate::break_glass::interface::Break;
use crate::clock::Clock;
use crate::evidence::client::{Client, Error, Gate};
use crate::names::DecisionId;

pub(super) const EXAMPLES: &str = "\
Examples:
  argocd app sync checkout-prod --info break-glass='payments are down, INC-4711'
  syncgate break-glass open checkout-prod --justification 'payments are down, INC-4711'
  syncgate break-glass list

In an emergency, what has not been tested may be rolled out by who has the role `break-glass` (and may
deploy there). The first command does both; the second only breaks the glass, for a sync by any other
means, such as the web UI. It is good for the commits of that one sync, in that environment, until it
expires. Everybody who is told of such things is told. It stays open until the missing tests have
passed for what was rolled out, and closes by itself then: there is no command that closes it.";

/// What to do in an emergency.
#[derive(Subcommand)]
pub enum BreakGlassCommand {
    /// Show what was let through, and what tests it owes
    List(List),
    /// Break the glass for a sync that you start afterwards
    Open(Open),
    /// Show one, by the decision that opened it
    Show(Show),
}

/// How to show them.
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    gate: GateOptions,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What the glass is broken for.
#[derive(Args)]
pub struct Open {
    #[command(flatten)]
    gate: GateOptions,
    /// The application that will be synced
    #[arg(value_name = "APPLICATION")]
    application: String,
    /// Its namespace [default: Argo CD's own]
    #[arg(long, value_name = "NAMESPACE")]
    app_namespace: Option<String>,
    /// The revision that the sync will name [default: that of the application]
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
    /// Why; it is kept in the log, and people are told
    #[arg(long, value_name = "TEXT")]
    justification: String,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Which one to show.
#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    gate: GateOptions,
    /// The decision that opened it
    #[arg(value_name = "DECISION")]
    decision: ulid::Ulid,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Runs it.
pub(super) async fn run(command: BreakGlassCommand) -> ExitCode {
    let (gate, output) = match &command {
        BreakGlassCommand::List(options) => (options.gate.gate(), options.output),
        BreakGlassCommand::Open(options) => (options.gate.gate(), options.output),
        BreakGlassCommand::Show(options) => (options.gate.gate(), options.output),
    };
    let gate = match gate {
        Ok(gate) => gate,
        Err(code) => return code,
    };
    ended(told(&gate, command, output).await)
}

async fn told(gate: &Gate, command: BreakGlassCommand, output: Output) -> Result<String, Error> {
    let client = Client::new(gate)?;
    let (now, colour) = (Clock::system().now(), std::io::stdout().is_terminal());
    let (json, text) = match command {
        BreakGlassCommand::List(_) => {
            let shown = client.break_glasses().await?;
            let text = cli::render(&shown.break_glass, now, colour);
            (json!(shown), text)
        }
        BreakGlassCommand::Open(options) => {
            let asked = Break {
                application: options.application,
                application_namespace: options.app_namespace,
                revision: options.revision,
                justification: options.justification,
            };
            let broken = client.break_glass(&asked).await?;
            (json!(broken), cli::one(&broken, now, colour))
        }
        BreakGlassCommand::Show(options) => {
            let shown = client.break_glass_of(DecisionId(options.decision)).await?;
            (json!(shown), cli::one(&shown, now, colour))
        }
    };
    Ok(match output {
        Output::Json => format!("{json:#}"),
        Output::Text => text,
    })
}
