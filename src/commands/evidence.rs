//! `syncgate evidence`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{GateOptions, Output, complain, say};
use crate::clock::Clock;
use crate::evidence::cli::{self, ListOptions, ShowOptions, SubmitOptions, WithdrawOptions};
use crate::evidence::report::Format;
use crate::names::{Commit, Component, EnvironmentName, Suite};

/// What to do with test runs.
#[derive(Subcommand)]
pub enum EvidenceCommand {
    /// List runs, newest first
    List(List),
    /// Show one run with every attempt of every test
    Show(Show),
    /// Take a run back: it is no evidence any more. This cannot be undone
    Withdraw(Withdraw),
    /// Submit a JUnit XML or pytest-reportlog file as one run
    Submit(Submit),
}

/// Which runs.
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    gate: GateOptions,
    /// Only runs of this application
    #[arg(long)]
    app: Option<String>,
    /// Only runs of this component
    #[arg(long)]
    component: Option<Component>,
    /// Only runs in this environment
    #[arg(long)]
    environment: Option<EnvironmentName>,
    /// Only runs of this suite
    #[arg(long)]
    suite: Option<Suite>,
    /// Only runs for this commit (a full SHA)
    #[arg(long)]
    commit: Option<Commit>,
    /// How many at the most
    #[arg(long)]
    limit: Option<u32>,
    /// The form of the list
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Which run.
#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    gate: GateOptions,
    /// The run, as `list` and the pytest summary name it
    run: String,
    /// Show an in-toto statement (predicate `test-result`), unsigned, for other tools
    #[arg(long)]
    statement: bool,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Which run to take back.
#[derive(Args)]
pub struct Withdraw {
    #[command(flatten)]
    gate: GateOptions,
    /// The run, as `list` and refusals name it
    run: String,
    /// Why; whoever is refused because of it reads this
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What to submit.
#[derive(Args)]
pub struct Submit {
    #[command(flatten)]
    gate: GateOptions,
    #[command(flatten)]
    file: ReportFile,
    /// The application that was tested
    #[arg(long)]
    app: String,
    /// The namespace of the Application object, if it is not Argo CD's own
    #[arg(long, value_name = "NAMESPACE")]
    app_namespace: Option<String>,
    /// The environment; must be the one that the gate knows
    #[arg(long)]
    environment: Option<EnvironmentName>,
    /// The suite
    #[arg(long, default_value = "integration")]
    suite: Suite,
    /// The commit that was tested (a full SHA), once per source
    #[arg(long)]
    commit: Vec<String>,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// One report.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct ReportFile {
    /// A JUnit XML file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// A file of pytest-reportlog (JSON lines)
    #[arg(long, value_name = "FILE")]
    reportlog: Option<PathBuf>,
}

/// Runs it.
pub(super) async fn run(command: EvidenceCommand) -> ExitCode {
    let mut out = Vec::new();
    let outcome = match command {
        EvidenceCommand::List(options) => match list(options) {
            Ok(options) => cli::list(options, &mut out).await,
            Err(code) => return code,
        },
        EvidenceCommand::Show(options) => match options.gate.gate() {
            Ok(gate) => {
                let show = ShowOptions {
                    gate,
                    run: options.run,
                    output: options.output.into(),
                };
                if options.statement {
                    cli::statement(show, &mut out).await
                } else {
                    cli::show(show, &mut out).await
                }
            }
            Err(code) => return code,
        },
        EvidenceCommand::Submit(options) => match submit(options) {
            Ok(options) => cli::submit(options, &Clock::system(), &mut out).await,
            Err(code) => return code,
        },
        EvidenceCommand::Withdraw(options) => match options.gate.gate() {
            Ok(gate) => {
                let options = WithdrawOptions {
                    gate,
                    run: options.run,
                    reason: options.reason,
                    output: options.output.into(),
                };
                cli::withdraw(options, &mut out).await
            }
            Err(code) => return code,
        },
    };
    if !out.is_empty() {
        say(&String::from_utf8_lossy(&out));
    }
    match outcome {
        Ok(outcome) => ExitCode::from(outcome.exit_status()),
        Err(error) => complain(error.exit_status(), &crate::telemetry::chain(&error)),
    }
}

fn list(options: List) -> Result<ListOptions, ExitCode> {
    let pairs = [
        ("application", options.app),
        ("component", options.component.map(String::from)),
        ("environment", options.environment.map(String::from)),
        ("suite", options.suite.map(String::from)),
        ("commit", options.commit.map(String::from)),
        ("limit", options.limit.map(|limit| limit.to_string())),
    ];
    let query = pairs
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
    Ok(ListOptions {
        gate: options.gate.gate()?,
        query,
        output: options.output.into(),
    })
}

fn submit(options: Submit) -> Result<SubmitOptions, ExitCode> {
    let (file, format) = match (options.file.junit, options.file.reportlog) {
        (Some(file), _) => (file, Format::Junit),
        (None, Some(file)) => (file, Format::Reportlog),
        // clap demands one of them.
        (None, None) => return Err(complain(2, "name a file with --junit or --reportlog")),
    };
    Ok(SubmitOptions {
        gate: options.gate.gate()?,
        file,
        format,
        application: options.app,
        application_namespace: options.app_namespace,
        environment: options.environment,
        suite: options.suite,
        commits: options.commit,
        dirty: None,
        output: options.output.into(),
    })
}
