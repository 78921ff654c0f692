//! `syncgate doctor`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{CONFIGURATION, NO, Output, say};
use crate::doctor::{self, Finding, State};

/// Exit code: something does not answer (`EX_UNAVAILABLE` of sysexits.h).
const UNREACHABLE: u8 = 69;

/// What this teaches at its end.
const EXAMPLES: &str = "\
Where the gate runs, with its configuration and its secrets; the gate itself need not run:

  syncgate doctor --config syncgate.toml

The checks:
  configuration  the file, and what it names
  policies       they parse, and pass their cases
  certificate    those of the listeners, with their keys
  keys           those of each issuer can be read
  argocd         it answers, its version is known, and it takes the gate's token
  callers        Argo CD's settings fit `callers` of [upstream]
  past-the-gate  nobody signs in at Argo CD itself, and its links lead to the gate
  admission      what stops automatic syncs, sets and kubectl

What cannot be seen from here is said, with where to look, and is no failure.

Exit codes: 0 nothing is wrong; of what is wrong the first decides: 1 something is not as it must be,
64 a mistake in the configuration or the policies, 69 something cannot be reached.";

/// Which installation.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct DoctorOptions {
    /// The configuration (TOML)
    #[arg(long, env = "SYNCGATE_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Runs it.
pub(super) async fn run(options: DoctorOptions) -> ExitCode {
    let findings = doctor::examine(&options.config).await;
    say(&told(&findings, options.output));
    exit_code(&findings)
}

fn exit_code(findings: &[Finding]) -> ExitCode {
    match findings.iter().find(|finding| !finding.passes()) {
        None => ExitCode::SUCCESS,
        Some(first) => match first.state {
            State::Misconfigured => ExitCode::from(CONFIGURATION),
            State::Unreachable => ExitCode::from(UNREACHABLE),
            State::Unseen | State::Well | State::Wrong => ExitCode::from(NO),
        },
    }
}

fn told(findings: &[Finding], output: Output) -> String {
    let failed = findings.iter().filter(|finding| !finding.passes()).count();
    if output == Output::Json {
        return format!("{:#}", json!({ "ok": failed == 0, "findings": findings }));
    }
    let mut text = String::new();
    for finding in findings {
        let word = match finding.state {
            State::Well => "ok  ",
            State::Unseen => "?   ",
            State::Misconfigured | State::Unreachable | State::Wrong => "FAIL",
        };
        let _ = write!(text, "{word}  {}: {}", finding.check, shown(&finding.found));
        if let Some(mend) = &finding.mend {
            let _ = write!(text, " -> {}", shown(mend));
        }
        text.push('\n');
    }
    let _ = match failed {
        0 => write!(text, "nothing is wrong that can be seen from here"),
        _ => write!(
            text,
            "{failed} of {} are not as they must be",
            findings.len()
        ),
    };
    text
}

/// `text` on one line, without what could steer a terminal.
fn shown(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .take(1000)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(state: State) -> Finding {
        Finding {
            check: "argocd",
            state,
            found: "what\nwas \u{1b}[2Jseen".to_owned(),
            mend: (state != State::Well).then(|| "do this".to_owned()),
        }
    }

    #[test]
    fn each_finding_is_one_line_and_cannot_steer_a_terminal() {
        let findings = [State::Well, State::Unseen, State::Wrong].map(finding);
        insta::assert_snapshot!(told(&findings, Output::Text), @"
        ok    argocd: what was [2Jseen
        ?     argocd: what was [2Jseen -> do this
        FAIL  argocd: what was [2Jseen -> do this
        1 of 3 are not as they must be
        ");
        let json: serde_json::Value = serde_json::from_str(&told(&findings, Output::Json)).unwrap();
        assert_eq!(json["ok"], false);
        assert_eq!(json["findings"][1]["state"], "unseen");
    }

    #[test]
    fn the_first_failure_decides_how_it_ends() {
        use State::{Misconfigured, Unreachable, Unseen, Well, Wrong};
        for (states, code) in [
            (&[Well, Unseen][..], 0),
            (&[Well, Wrong, Unreachable], 1),
            (&[Misconfigured], 64),
            (&[Unseen, Unreachable, Wrong], 69),
        ] {
            let findings: Vec<Finding> = states.iter().copied().map(finding).collect();
            assert_eq!(exit_code(&findings), ExitCode::from(code), "{states:?}");
        }
    }
}
