//! `syncgate evidence withdraw`.

use std::io::Write;

use super::words::withdrawal_in_words;
use super::{Error, Outcome, Output, write_json};
use crate::evidence::client::{Client, Gate};
use crate::evidence::run::Withdraw;

/// Which run to withdraw, and why.
#[derive(Clone, Debug)]
pub struct WithdrawOptions {
    /// The gate.
    pub gate: Gate,
    /// The run.
    pub run: String,
    /// Why it is no evidence any more.
    pub reason: String,
    /// How to show the result.
    pub output: Output,
}

/// Withdraws one run. Again, it shows the first withdrawal.
///
/// # Errors
/// [`Error`]; the run stands as it did then.
pub async fn withdraw(
    options: WithdrawOptions,
    out: &mut (impl Write + Send),
) -> Result<Outcome, Error> {
    let withdraw = Withdraw {
        reason: options.reason,
    };
    let done = Client::new(&options.gate)?
        .withdraw(&options.run, &withdraw)
        .await?;
    match options.output {
        Output::Json => write_json(out, &done)?,
        Output::Table => {
            let words = withdrawal_in_words(&done.withdrawn);
            writeln!(out, "run {}: {words}", super::shown(&done.run))?;
            writeln!(out, "  its commits need a new run")?;
            writeln!(out, "  {}", super::shown(&done.url))?;
        }
    }
    Ok(Outcome::Done)
}
