//! The commands. Each is a function of the library; here are only their options and exit codes.

use std::process::ExitCode;

use clap::Parser as _;
use syncgate::commands::{self, Command};

/// An identity-aware gate for Argo CD: a sync goes through only while its tests have passed for
/// exactly the commits that it rolls out.
///
/// Try `syncgate demo` first: it needs nothing and tells the story.
#[derive(clap::Parser)]
#[command(name = "syncgate", version, propagate_version = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 yes or done, 1 no (refused, failed, not verified), 2 wrong usage,
64 mistakes in the configuration, 69 the gate or Argo CD cannot be reached.";

fn main() -> ExitCode {
    commands::run(Cli::parse().command)
}
