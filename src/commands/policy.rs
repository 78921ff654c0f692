//! `syncgate policy`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{NO, Output, say};
use crate::policy::{self, Report};

/// What to do with a folder of policies.
#[derive(Subcommand)]
pub enum PolicyCommand {
    /// Parse and strictly validate; names file, line and mend of every mistake
    Check(PolicyOptions),
    /// Run the cases beside the policies; every policy must be determined by one
    Test(PolicyOptions),
}

/// Which policies.
#[derive(Args)]
pub struct PolicyOptions {
    /// The folder with `schema.cedarschema`, `*.cedar` and `*.cases.json`
    #[arg(default_value = "policies", value_name = "FOLDER")]
    folder: PathBuf,
    /// The form of the report
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Runs it. Exit code 0 when the folder is in order, else 1.
pub(super) fn run(command: PolicyCommand) -> ExitCode {
    let (report, output) = match command {
        PolicyCommand::Check(options) => (policy::check(&options.folder), options.output),
        PolicyCommand::Test(options) => (policy::test(&options.folder), options.output),
    };
    print(&report, output);
    if report.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NO)
    }
}

fn print(report: &Report, output: Output) {
    match output {
        Output::Json => say(&serde_json::to_string_pretty(report).unwrap_or_default()),
        Output::Text => say(&report.to_string()),
    }
}
