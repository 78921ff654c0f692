//! `syncgate session`.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::json;

use super::{GateOptions, Output, ended};
use crate::evidence::client::{Client, Error, Gate};
use crate::identity::interface::{Revoke, SessionViews};
use crate::record::cli::printable;

pub(super) const EXAMPLES: &str = "\
Examples:
  syncgate session list
  syncgate session revoke --session 01JDKX3Q8Z6W5V4T3S2R1P0N9M --reason 'a laptop was lost'
  syncgate session revoke --subject https://login.example.com#00u1 --reason 'left the company'
  syncgate session revoke --issuer https://gitlab.example.com --reason 'its keys were stolen'

What is revoked ends at once, watches, logs, shells and websockets that are open included. A subject, as
`syncgate log show` names callers, or an issuer loses everything that was issued until now, sessions and
tokens of the issuer alike; what is issued from now on counts. Block them at the issuer first.";

/// What to do with sessions.
#[derive(Subcommand)]
pub enum SessionCommand {
    /// List the sessions that go on
    List(List),
    /// Take credentials back: of a session, a subject or an issuer
    Revoke(RevokeOptions),
}

/// How to list sessions.
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    gate: GateOptions,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What to revoke.
#[derive(Args)]
#[command(group = ArgGroup::new("of").required(true).args(["session", "subject", "issuer"]))]
pub struct RevokeOptions {
    #[command(flatten)]
    gate: GateOptions,
    /// A session, by its id
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Everything that a subject was issued until now
    #[arg(long, value_name = "ISSUER#SUBJECT")]
    subject: Option<String>,
    /// Everything that an issuer has issued until now
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,
    /// Why; it is kept in the log
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Runs it.
pub(super) async fn run(command: SessionCommand) -> ExitCode {
    let (gate, output) = match &command {
        SessionCommand::List(options) => (options.gate.gate(), options.output),
        SessionCommand::Revoke(options) => (options.gate.gate(), options.output),
    };
    let gate = match gate {
        Ok(gate) => gate,
        Err(code) => return code,
    };
    ended(told(&gate, command, output).await)
}

async fn told(gate: &Gate, command: SessionCommand, output: Output) -> Result<String, Error> {
    let client = Client::new(gate)?;
    let (json, text) = match command {
        SessionCommand::List(_) => {
            let views = client.sessions().await?;
            (json!(views), render(&views))
        }
        SessionCommand::Revoke(options) => {
            let revoke = Revoke {
                session: options.session,
                subject: options.subject,
                issuer: options.issuer,
                reason: options.reason,
            };
            let done = client.revoke_sessions(&revoke).await?;
            (json!(done), "revoked".to_owned())
        }
    };
    Ok(match output {
        Output::Json => format!("{json:#}"),
        Output::Text => text,
    })
}

fn render(views: &SessionViews) -> String {
    if views.sessions.is_empty() {
        return "nobody has a session".to_owned();
    }
    let mut text = String::new();
    for view in &views.sessions {
        let ends = view.ends.strftime("%Y-%m-%d %H:%M:%SZ");
        let who = format!("{} ({}), until {ends}", view.who, view.subject);
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{}  {}", view.session, printable(&who));
    }
    text
}
