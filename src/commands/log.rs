//! `syncgate log`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{GateOptions, NO, Output, complain, say};
use crate::evidence::client::{Client, Error as GateError};
use crate::names::{DecisionId, is_full_sha};
use crate::record::{self, LogEntry, LogList, cli};
use crate::store::{DecisionFilter, Seq, Store};

/// What to do with the log of decisions.
#[derive(Subcommand)]
pub enum LogCommand {
    /// List decisions, newest first
    List(List),
    /// Show one decision: who, what, why, and what became of it
    Show(Show),
}

/// Where the log is read.
#[derive(Args)]
struct From {
    #[command(flatten)]
    gate: GateOptions,
    /// Read this SQLite file and ask no gate, whatever the environment says of one; a running gate does
    /// not mind
    // No `conflicts_with`: it would also hold against `SYNCGATE_URL` and its like, which may be set.
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
}

/// Which decisions.
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    from: From,
    /// Only decisions about this application
    #[arg(long)]
    app: Option<String>,
    /// Only decisions about this commit, in full: 40 hexadecimal digits
    #[arg(long, value_name = "COMMIT", value_parser = full_sha)]
    commit: Option<String>,
    /// Only this operation (`ApplicationService.Sync`)
    #[arg(long)]
    operation: Option<String>,
    /// Only decisions before this place in the log, as `seq` in the JSON form tells it
    #[arg(long, value_name = "SEQ")]
    before: Option<u64>,
    /// How many at the most
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// The form of the list
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Which decision.
#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    from: From,
    /// The decision, as a refusal or the header `syncgate-decision` names it
    decision: ulid::Ulid,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Runs it.
pub(super) async fn run(command: LogCommand) -> ExitCode {
    match command {
        LogCommand::List(options) => {
            let output = options.output;
            match list(options).await {
                Ok(list) if output == Output::Json => print_json(&list),
                Ok(list) => {
                    say(&cli::render_list(&list.entries));
                    ExitCode::SUCCESS
                }
                Err(code) => code,
            }
        }
        LogCommand::Show(options) => {
            let output = options.output;
            match show(options).await {
                Ok(entry) if output == Output::Json => print_json(&entry),
                Ok(entry) => {
                    say(&cli::render_entry(&entry));
                    ExitCode::SUCCESS
                }
                Err(code) => code,
            }
        }
    }
}

fn print_json<T: serde::Serialize>(value: &T) -> ExitCode {
    match serde_json::to_string_pretty(value) {
        Ok(json) => {
            say(&json);
            ExitCode::SUCCESS
        }
        Err(error) => complain(NO, &error.to_string()),
    }
}

fn full_sha(text: &str) -> Result<String, &'static str> {
    if is_full_sha(text) {
        Ok(text.to_owned())
    } else {
        Err("it takes the whole commit, 40 hexadecimal digits")
    }
}

async fn list(options: List) -> Result<LogList, ExitCode> {
    if let Some(store) = &options.from.store {
        let filter = DecisionFilter {
            before: options.before.map(Seq),
            application: options.app,
            commit: options.commit,
            operation: options.operation,
            limit: options.limit,
            ..DecisionFilter::default()
        };
        let store = open(store)?;
        return record::list(&store, filter)
            .await
            .map_err(|error| failed(&error));
    }
    let pairs = [
        ("application", options.app),
        ("commit", options.commit),
        ("operation", options.operation),
        ("before", options.before.map(|seq| seq.to_string())),
        ("limit", Some(options.limit.to_string())),
    ];
    let query: Vec<_> = pairs
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
    let client = client(&options.from.gate)?;
    client
        .log(&query)
        .await
        .map_err(|error| gate_failed(&error))
}

async fn show(options: Show) -> Result<LogEntry, ExitCode> {
    let decision = DecisionId(options.decision);
    if let Some(store) = &options.from.store {
        let store = open(store)?;
        let entry = record::show(&store, decision)
            .await
            .map_err(|error| failed(&error))?;
        return entry.ok_or_else(|| complain(NO, &format!("there is no decision {decision}")));
    }
    let client = client(&options.from.gate)?;
    client
        .decision(decision)
        .await
        .map_err(|error| gate_failed(&error))
}

fn open(path: &std::path::Path) -> Result<Store, ExitCode> {
    Store::open_read_only(path).map_err(|error| failed(&error))
}

fn client(options: &GateOptions) -> Result<Client, ExitCode> {
    Client::new(&options.gate()?).map_err(|error| gate_failed(&error))
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    complain(NO, &crate::telemetry::chain(error))
}

fn gate_failed(error: &GateError) -> ExitCode {
    complain(error.exit_status(), &crate::telemetry::chain(error))
}
