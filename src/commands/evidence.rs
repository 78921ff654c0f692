//! `syncgate evidence`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{GateOptions, Output, complain, say};
use crate::clock::Clock;
use crate::evidence::cli::{self, ListOptions, ShowOptions, SubmitOptions, WithdrawOptions};
use crate::evidence::junit::Counts;
use crate::evidence::report::{self, Files};
use crate::names::{Commit, Component, EnvironmentName, Suite};

const SUBMIT_EXAMPLES: &str = "\
Examples:
  # One file, of any runner that writes JUnit XML
  syncgate evidence submit --app checkout-staging --junit report.xml

  # Many files of one run (Surefire, Gradle), with what Maven said of it
  mvn test; status=$?
  syncgate evidence submit --app checkout-staging --suite unit --exit-status $status \\
      --junit 'target/surefire-reports/TEST-*.xml'

  # A log of pytest, which keeps every retry
  pytest --report-log=report.jsonl
  syncgate evidence submit --app checkout-staging --reportlog report.jsonl

  # A statement that CI has signed, for a gate that requires it: see below
  syncgate evidence submit --app checkout-staging --attestation statement.dsse.json

  # In CI: one run, also if the step is started again
  syncgate evidence submit --app checkout-staging --commit \"$GITHUB_SHA\" \\
      --key \"$GITHUB_RUN_ID-$GITHUB_RUN_ATTEMPT\" --junit report.xml

All files of one call are one run. A test that failed at first and passed later passes if its
runner says so in the file (Surefire, Playwright with includeRetries, nextest); two cases of one
name are two tests, and both have to pass.

An attestation is a DSSE envelope (payloadType application/vnd.in-toto+json) around an in-toto
Statement v1 with the predicate https://in-toto.io/attestation/test-result/v0.1:
  {\"_type\": \"https://in-toto.io/Statement/v1\",
   \"subject\": [{\"name\": \"shop\", \"digest\": {\"gitCommit\": \"<full SHA>\"}}],
   \"predicateType\": \"https://in-toto.io/attestation/test-result/v0.1\",
   \"predicate\": {\"result\": \"PASSED\", \"configuration\": [{\"name\": \"suite integration\"}],
                 \"url\": \"<the CI job>\", \"passedTests\": [\"a\", \"b\"],
                 \"warnedTests\": [], \"failedTests\": []}}
Sign it with any DSSE tool (securesystemslib: Envelope(...).sign(signer)), with a key
whose public half is a [[signer]] of the gate. Each test of the lists becomes a test of the run: one
that is warned of failed first and passed then. The commit is taken from the subject, the exit status
from the result. One signed statement is good for one run: put the address of the CI job in it.


Exit status: 0 passed, 1 failed or refused, 2 a file that cannot be taken, 69 no answer.";

/// What to do with test runs.
#[derive(Subcommand)]
pub enum EvidenceCommand {
    /// List runs, newest first
    List(List),
    /// Show one run with every attempt of every test
    Show(Show),
    /// Submit JUnit XML, a pytest-reportlog file or a signed statement as one run
    #[command(after_long_help = SUBMIT_EXAMPLES)]
    Submit(Box<Submit>),
    /// Take a run back: it is no evidence any more. This cannot be undone
    Withdraw(Withdraw),
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
    /// Show what the application was like when the run failed: resources, events, logs, changes
    #[arg(long, conflicts_with = "statement")]
    snapshot: bool,
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
    /// The exit status of the test runner; some say there what their files do not
    #[arg(long, value_name = "STATUS", allow_negative_numbers = true)]
    exit_status: Option<i32>,
    /// Take suites that say they hold more tests than they do: their writer counts something else
    #[arg(long, conflicts_with_all = ["reportlog", "attestation"])]
    loose_counts: bool,
    /// A name for this submission: the same name and files are the same run, whoever sends them again
    #[arg(long, value_name = "NAME", value_parser = key)]
    key: Option<String>,
    /// How long to go on asking a gate that does not answer
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = patience)]
    retry_for: Duration,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// A name that fits into an idempotency key.
fn key(text: &str) -> Result<String, &'static str> {
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if fits {
        Ok(text.to_owned())
    } else {
        Err("use 1 to 64 printable ASCII characters without spaces")
    }
}

/// A time like `90s` or `5m`, at most a day.
fn patience(text: &str) -> Result<Duration, &'static str> {
    let time: Option<jiff::SignedDuration> = text.parse().ok();
    let time = time.and_then(|time| Duration::try_from(time).ok());
    time.filter(|time| *time <= Duration::from_hours(24))
        .ok_or("use a time like `90s` or `5m`, at most `24h`")
}

/// The reports of one run.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct ReportFile {
    /// JUnit XML: files, or patterns of them ('reports/**/*.xml')
    #[arg(long, value_name = "FILE", num_args = 1..)]
    junit: Vec<String>,
    /// A file of pytest-reportlog (JSON lines)
    #[arg(long, value_name = "FILE")]
    reportlog: Option<PathBuf>,
    /// A signed in-toto statement (DSSE envelope, JSON); `--help` tells how to make one
    #[arg(long, value_name = "FILE")]
    attestation: Option<PathBuf>,
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
                } else if options.snapshot {
                    cli::snapshot(show, &mut out).await
                } else {
                    cli::show(show, &mut out).await
                }
            }
            Err(code) => return code,
        },
        EvidenceCommand::Submit(options) => match submit(*options) {
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
    let files = match (options.file.reportlog, options.file.attestation) {
        (Some(path), _) => Files::Reportlog(path),
        (None, Some(path)) => Files::Attestation(path),
        (None, None) => Files::Junit {
            paths: report::named(&options.file.junit)
                .map_err(|error| complain(2, &crate::telemetry::chain(&error)))?,
            counts: if options.loose_counts {
                Counts::Loose
            } else {
                Counts::Strict
            },
        },
    };
    Ok(SubmitOptions {
        gate: options.gate.gate()?,
        files,
        application: options.app,
        application_namespace: options.app_namespace,
        environment: options.environment,
        suite: options.suite,
        commits: options.commit,
        dirty: None,
        exit_status: options.exit_status,
        key: options.key,
        patience: options.retry_for,
        output: options.output.into(),
    })
}
