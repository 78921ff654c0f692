//! What `syncgate preflight` does, after the command line has been read.
//!
//! In: options. Out: one line for each check, or a JSON document; and whether all is well. A gate that
//! does not take the credential is an answer, too: the one check that failed. Never: control characters
//! of an answer in the text.

use std::fmt::Write as _;
use std::io::{self, Write};

use http::StatusCode;
use serde_json::json;

use super::interface::{Answer, Asked, Check, Subject};
use crate::evidence::cli::{Error, Output};
use crate::evidence::client::{self, Client, Gate};

/// What to ask, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The gate.
    pub gate: Gate,
    /// The question.
    pub asked: Asked,
    /// How to show the answer.
    pub output: Output,
}

/// Asks the gate and shows the answer. Gives whether every check is well.
///
/// # Errors
/// [`Error`]: the gate cannot be reached, refuses the question, or `out` cannot be written.
pub async fn run(options: Options, out: &mut impl Write) -> Result<bool, Error> {
    let client = Client::new(&options.gate)?;
    let (ok, text) = match client.preflight(&options.asked).await {
        Ok(answer) => (answer.ok, told(&answer, options.output)?),
        Err(client::Error::Refused {
            status: StatusCode::UNAUTHORIZED,
            detail,
            ..
        }) => {
            let gate = options.gate.url.as_str().trim_end_matches('/');
            (false, refused(gate, &detail, options.output))
        }
        Err(error) => return Err(error.into()),
    };
    writeln!(out, "{}", text.trim_end())?;
    Ok(ok)
}

fn told(answer: &Answer, output: Output) -> io::Result<String> {
    if output == Output::Json {
        return Ok(serde_json::to_string_pretty(answer)?);
    }
    let mut text = format!(
        "{} (syncgate {})\n",
        shown(&answer.gate),
        shown(&answer.version)
    );
    lines(&mut text, &answer.checks);
    let failed = answer.checks.iter().filter(|check| !check.ok).count();
    let _ = match failed {
        0 => writeln!(text, "nothing stands in the way"),
        _ => writeln!(text, "{failed} of {} checks failed", answer.checks.len()),
    };
    Ok(text)
}

/// The answer of a gate that does not take the credential, as the check that failed.
fn refused(gate: &str, detail: &str, output: Output) -> String {
    let (found, mend) = split(detail);
    let mut check = Check::bad(Subject::Credential, found, mend.unwrap_or_default());
    check.mend = mend.map(str::to_owned);
    if output == Output::Json {
        return format!(
            "{:#}",
            json!({ "ok": false, "gate": gate, "checks": [check] })
        );
    }
    let mut text = format!("{}\n", shown(gate));
    lines(&mut text, &[check]);
    text.push_str("the gate does not take this credential; nothing else was looked at\n");
    text
}

/// What was found and what to do, of a refusal as the gate words it: `FOUND: MEND. decision ...`.
fn split(detail: &str) -> (&str, Option<&str>) {
    let sentence = detail
        .rsplit_once(". decision ")
        .map_or(detail, |(sentence, _)| sentence);
    match sentence.rsplit_once(": ") {
        Some((found, mend)) => (found, Some(mend)),
        None => (sentence, None),
    }
}

fn lines(text: &mut String, checks: &[Check]) {
    for check in checks {
        let word = if check.ok { "ok  " } else { "FAIL" };
        let (title, detail) = (shown(&check.title()), shown(&check.detail));
        let _ = write!(text, "{word}  {title}: {detail}");
        if let Some(mend) = &check.mend {
            let _ = write!(text, " -> {}", shown(mend));
        }
        text.push('\n');
    }
}

/// `text` on one line, without what could steer a terminal.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(600).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_credential_is_told_as_what_was_found_and_what_to_do() {
        let detail = "the token expired 14:02:07Z, 12 minutes ago: sign in again. decision \
                      01J0000000000000000000000A - see https://gate/syncgate/v1/log/01J";
        let text = refused("https://gate", detail, Output::Table);
        insta::assert_snapshot!(text, @"
        https://gate
        FAIL  credential: the token expired 14:02:07Z, 12 minutes ago -> sign in again
        the gate does not take this credential; nothing else was looked at
        ");
        let json: serde_json::Value =
            serde_json::from_str(&refused("https://gate", detail, Output::Json)).unwrap();
        assert_eq!(json["ok"], false);
        assert_eq!(json["checks"][0]["check"], "credential");
        assert_eq!(json["checks"][0]["mend"], "sign in again");
    }

    #[test]
    fn an_answer_cannot_steer_a_terminal() {
        let answer = Answer {
            ok: false,
            gate: "https://gate.example\u{1b}[2J".into(),
            version: "0.1.0".into(),
            now: "2026-11-23T12:00:00Z".parse().unwrap(),
            caller: "tests".into(),
            expires_at: "2026-11-23T13:00:00Z".parse().unwrap(),
            expected_seconds: None,
            checks: vec![
                Check::good(Subject::Clock, "the clocks\nagree"),
                Check::bad(Subject::Report, "no\r", "ask\u{7}"),
            ],
            decision: "01J".into(),
        };
        insta::assert_snapshot!(told(&answer, Output::Table).unwrap(), @"
        https://gate.example[2J (syncgate 0.1.0)
        ok    clock: the clocksagree
        FAIL  report: no -> ask
        1 of 2 checks failed
        ");
        let json = told(&answer, Output::Json).unwrap();
        let back: Answer = serde_json::from_str(&json).unwrap();
        assert_eq!(back, answer);
        assert!(!json.contains('\u{1b}'), "{json}");
    }
}
