//! `syncgate line`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{GateOptions, Output, ended};
use crate::evidence::client::{Client, Error, Gate};
use crate::hold::cli;
use crate::hold::interface::{StartLine, StopLine};
use crate::names::EnvironmentName;

pub(super) const EXAMPLES: &str = "\
Examples:
  syncgate line show
  syncgate line stop prod --reason 'payments fail since 14:00, see INC-4711'
  syncgate line start prod --reason 'fixed by 9ab12cd'

While the line of an environment is stopped, nothing new is rolled out there: no sync, no
automatic sync, no rollout of a child. What was rolled out last is kept as it is (self-heal goes
on), and going back to what ran there before is possible. What is under way is not ended: use
`argocd app terminate-op`. When the line is started again, automatic syncs that waited go on.";

/// What to do with the line of an environment.
#[derive(Subcommand)]
pub enum LineCommand {
    /// Show the line and the freezes of each environment
    Show(Show),
    /// Start a line again
    Start(Start),
    /// Stop a line: nothing new is rolled out in this environment, from now on
    Stop(Stop),
}

/// How to show lines.
#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    gate: GateOptions,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Which line to start.
#[derive(Args)]
pub struct Start {
    #[command(flatten)]
    gate: GateOptions,
    /// The environment
    #[arg(value_name = "ENVIRONMENT")]
    environment: EnvironmentName,
    /// Why; it is kept in the log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Which line to stop.
#[derive(Args)]
pub struct Stop {
    #[command(flatten)]
    gate: GateOptions,
    /// The environment
    #[arg(value_name = "ENVIRONMENT")]
    environment: EnvironmentName,
    /// Why; whoever is refused because of it reads this
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Runs it.
pub(super) async fn run(command: LineCommand) -> ExitCode {
    let (gate, output) = match &command {
        LineCommand::Show(options) => (options.gate.gate(), options.output),
        LineCommand::Start(options) => (options.gate.gate(), options.output),
        LineCommand::Stop(options) => (options.gate.gate(), options.output),
    };
    let gate = match gate {
        Ok(gate) => gate,
        Err(code) => return code,
    };
    ended(told(&gate, command, output).await)
}

async fn told(gate: &Gate, command: LineCommand, output: Output) -> Result<String, Error> {
    let client = Client::new(gate)?;
    let (json, text) = match command {
        LineCommand::Show(_) => {
            let shown = client.lines().await?;
            (json!(shown), cli::render(&shown.lines))
        }
        LineCommand::Start(options) => {
            let start = StartLine {
                reason: options.reason,
            };
            let line = client.start_line(&options.environment, &start).await?;
            (json!(line), cli::line(&line))
        }
        LineCommand::Stop(options) => {
            let stop = StopLine {
                reason: options.reason,
            };
            let line = client.stop_line(&options.environment, &stop).await?;
            (json!(line), cli::line(&line))
        }
    };
    Ok(match output {
        Output::Json => format!("{json:#}"),
        Output::Text => text,
    })
}
