//! What `syncgate` does on the command line.
//!
//! In: parsed options. Out: text or JSON on standard output, sentences on standard error, an exit
//! code. Every command that talks to a gate takes its address and credential in the same way
//! ([`GateOptions`]).

mod break_glass;
mod doctor;
mod evidence;
mod line;
mod log;
mod policy;
mod preflight;
mod rollout;
mod serve;
mod session;
mod token;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use crate::evidence::cli as evidence_cli;
use crate::evidence::client::{self, Gate};

/// Exit code: refused, failed, not verified.
const NO: u8 = 1;
/// Exit code: mistakes in the configuration (`EX_USAGE` of sysexits.h, as the contract has it).
const CONFIGURATION: u8 = 64;

/// One command.
#[derive(Subcommand)]
pub enum Command {
    /// Emergencies: roll out what has not been tested, and see what tests are owed
    #[command(subcommand, after_long_help = break_glass::EXAMPLES, after_help = break_glass::EXAMPLES)]
    BreakGlass(break_glass::BreakGlassCommand),
    /// Tell the story with stand-ins: a sync is refused, tests are reported, the sync goes through
    ///
    /// Needs nothing: it starts the real gate over a small stand-in of Argo CD and a token issuer,
    /// both in this process, walks through the story, and stays up for you to try more.
    Demo(serve::DemoOptions),
    /// Find out what is wrong with an installation, in order, and what to do
    Doctor(doctor::DoctorOptions),
    /// Test runs: submit a report, list, show, withdraw
    #[command(subcommand)]
    Evidence(evidence::EvidenceCommand),
    /// The lines of environments: show, stop, start
    #[command(subcommand, after_long_help = line::EXAMPLES, after_help = line::EXAMPLES)]
    Line(line::LineCommand),
    /// The log of decisions: list, show
    #[command(subcommand)]
    Log(log::LogCommand),
    /// Policies: check, test
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Before a test run: find out what stands in its way, and what to do
    ///
    /// Asks the gate whether it knows the caller, whether the token lives long enough, the clocks agree,
    /// the caller may report for the application, and each endpoint answers. Takes two seconds at most.
    Preflight(preflight::PreflightOptions),
    /// What was rolled out together: show, sync, take back
    #[command(subcommand, after_long_help = rollout::EXAMPLES, after_help = rollout::EXAMPLES)]
    Rollout(rollout::RolloutCommand),
    /// Who is signed in: list, revoke
    #[command(subcommand, after_long_help = session::EXAMPLES, after_help = session::EXAMPLES)]
    Session(session::SessionCommand),
    /// Run the gate
    Serve(serve::ServeOptions),
    /// A token of the gate's, for an identity of another kind
    #[command(subcommand, after_long_help = token::EXAMPLES, after_help = token::EXAMPLES)]
    Token(token::TokenCommand),
}

/// Where a gate is.
#[derive(Args, Clone)]
pub struct GateAddress {
    /// The gate's URL
    #[arg(long, env = "SYNCGATE_URL", value_name = "URL")]
    gate: Option<url::Url>,
    /// A PEM file of the authorities to trust for the gate
    #[arg(long, env = "SYNCGATE_CA_FILE", value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// How to reach a gate, and how to sign in there.
#[derive(Args, Clone)]
pub struct GateOptions {
    #[command(flatten)]
    address: GateAddress,
    /// A file with the token to sign in with; read at each use
    #[arg(long, env = "SYNCGATE_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The token itself; a file is safer
    #[arg(
        long,
        env = "SYNCGATE_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
}

/// The form of what is printed.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// JSON, for programs.
    Json,
    /// Text, for people.
    #[default]
    Text,
}

/// Runs one command to its end.
#[must_use]
pub fn run(command: Command) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return complain(NO, &format!("the runtime does not start: {error}")),
    };
    match command {
        Command::Demo(options) => runtime.block_on(serve::demo(options)),
        Command::Doctor(options) => runtime.block_on(doctor::run(options)),
        Command::Evidence(command) => runtime.block_on(evidence::run(command)),
        Command::BreakGlass(command) => runtime.block_on(break_glass::run(command)),
        Command::Line(command) => runtime.block_on(line::run(command)),
        Command::Session(command) => runtime.block_on(session::run(command)),
        Command::Log(command) => runtime.block_on(log::run(command)),
        Command::Policy(command) => policy::run(command),
        Command::Preflight(options) => runtime.block_on(preflight::run(options)),
        Command::Rollout(command) => runtime.block_on(rollout::run(command)),
        Command::Serve(options) => runtime.block_on(serve::serve(options)),
        Command::Token(command) => runtime.block_on(token::run(command)),
    }
}

/// Prints to standard output. A reader that has gone (`| head`) is no failure.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", text.trim_end_matches('\n'));
}

/// Prints a sentence to standard error and gives the exit code.
fn complain(code: u8, sentence: &str) -> ExitCode {
    let mut out = std::io::stderr().lock();
    let _ = writeln!(out, "syncgate: {sentence}");
    ExitCode::from(code)
}

/// Tells what a gate answered, or why it did not, and gives the exit code.
fn ended(told: Result<String, client::Error>) -> ExitCode {
    match told {
        Ok(text) => {
            say(&text);
            ExitCode::SUCCESS
        }
        Err(error) => complain(error.exit_status(), &crate::telemetry::chain(&error)),
    }
}

impl GateAddress {
    /// The gate's URL.
    ///
    /// # Errors
    /// The exit code for wrong usage, with the sentence already told.
    fn url(&self) -> Result<url::Url, ExitCode> {
        let url = self.gate.clone();
        url.ok_or_else(|| complain(2, "name the gate with --gate or SYNCGATE_URL"))
    }
}

impl GateOptions {
    /// The gate that these options name.
    ///
    /// # Errors
    /// The exit code for wrong usage, with the sentence already told.
    fn gate(&self) -> Result<Gate, ExitCode> {
        let missing = |what: &str| complain(2, what);
        let url = self.address.url()?;
        let token = match (&self.token_file, &self.token) {
            (Some(file), _) => std::fs::read_to_string(file)
                .map_err(|error| missing(&format!("cannot read {}: {error}", file.display())))?,
            (None, Some(token)) => token.clone(),
            (None, None) => {
                return Err(missing(
                    "give a token with --token-file, SYNCGATE_TOKEN_FILE or SYNCGATE_TOKEN",
                ));
            }
        };
        Ok(Gate {
            url,
            token: token.trim().to_owned(),
            ca_file: self.address.ca.clone(),
        })
    }
}

impl From<Output> for evidence_cli::Output {
    fn from(output: Output) -> Self {
        match output {
            Output::Json => Self::Json,
            Output::Text => Self::Table,
        }
    }
}
