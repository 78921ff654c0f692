//! What `syncgate evidence submit` does: reads files as one run, and sends that.
//!
//! In: files, and what they are about. Out: the gate's verdict. The whole is read and checked before
//! anything is sent; then attempts go out in batches. A gate that does not answer is asked again for a
//! while, with the same idempotency key and the same batches, so that nothing is stored twice and
//! nothing is left out. Never: a run that is finished before all of it was acknowledged.

use std::future::Future;
use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::{Error, Outcome, Output, finished_in_words, write_json};
use crate::clock::Clock;
use crate::digest;
use crate::evidence::client::{self, Client, Gate};
use crate::evidence::junit::Counts;
use crate::evidence::report::{Files, Report};
use crate::evidence::run::{Attempt, AttemptBatch, Finish, MAX_BATCH_ATTEMPTS, NewRun};
use crate::evidence::verdict::Verdict;
use crate::names::{EnvironmentName, Suite};

/// Bytes of attempts in one request, so that the whole stays under the limit of the interface.
const BATCH_BYTES: usize = 3 * 1024 * 1024;
/// How long one call may take before it counts as not answered, at least.
const LEAST_TIMEOUT: Duration = Duration::from_mins(1);
/// How long to wait between two tries, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// What to submit, and where.
#[derive(Clone, Debug)]
pub struct SubmitOptions {
    /// The gate.
    pub gate: Gate,
    /// The files.
    pub files: Files,
    /// The Application that was tested.
    pub application: String,
    /// Its namespace; absent means Argo CD's own.
    pub application_namespace: Option<String>,
    /// Where it is; must agree with what the gate knows.
    pub environment: Option<EnvironmentName>,
    /// Which suite ran.
    pub suite: Suite,
    /// The commits that were tested; must agree with what the gate knows.
    pub commits: Vec<String>,
    /// Whether the tests ran from a dirty working tree, if that is known.
    pub dirty: Option<bool>,
    /// The exit status of the tool, where it is known: some say there what their files do not.
    pub exit_status: Option<i32>,
    /// What this submission is called, so that it can be taken up again by another call.
    pub key: Option<String>,
    /// How long to go on asking a gate that does not answer.
    pub patience: Duration,
    /// How to show the result.
    pub output: Output,
}

/// Submits files as one run.
///
/// # Errors
/// [`Error`]; nothing counts then, since a run counts only once it is finished.
pub async fn submit(
    options: SubmitOptions,
    clock: &Clock,
    out: &mut (impl Write + Send),
) -> Result<Outcome, Error> {
    let now = clock.now();
    let client = Client::new(&options.gate)?;
    let (mut report, content) = read(options.files.clone(), now).await?;
    let attestation = report.attestation.take();
    let claimed = attestation.as_ref().map(|it| it.commits.as_slice());
    let new = run_of(&options, &report, claimed.unwrap_or_default());
    let key = key_of(&options, &content, now);
    let bar = bar(
        report.attempts.len() as u64,
        "{bar:30} {pos}/{len} attempts sent {eta} {msg}",
    );
    let patience = Patience {
        gate: options.gate.url.to_string(),
        time: options.patience,
        bar: bar.clone(),
    };
    let opened = patience.ask(|| client.open(&new, &key)).await?;
    let attempts = report.attempts.len() as u64;
    let mut batches = 0;
    for batch in batches_of(report.attempts) {
        let count = batch.len() as u64;
        let batch = AttemptBatch {
            sequence: batches,
            attempts: batch,
        };
        patience.ask(|| client.add(&opened.run, &batch)).await?;
        batches += 1;
        bar.inc(count);
    }
    let status = options.exit_status.filter(|status| *status != 0);
    let finish = Finish {
        exit_status: status.unwrap_or(report.exit_status),
        finished_at: report.finished_at,
        batches,
        attempts,
        interrupted: report.interrupted,
        attestation: attestation.map(|it| it.envelope),
    };
    let finished = patience.ask(|| client.finish(&opened.run, &finish)).await?;
    bar.finish_and_clear();
    match options.output {
        Output::Json => write_json(out, &finished)?,
        Output::Table => write!(out, "{}", finished_in_words(&finished))?,
    }
    Ok(match finished.verdict {
        Verdict::Passed => Outcome::Passed,
        Verdict::Failed | Verdict::Refused => Outcome::NotPassed,
    })
}

/// The run, about the commits that were given, else about those that are `claimed`.
fn run_of(options: &SubmitOptions, report: &Report, claimed: &[String]) -> NewRun {
    let commits = match options.commits.as_slice() {
        [] => claimed,
        given => given,
    };
    NewRun {
        application: options.application.clone(),
        application_namespace: options.application_namespace.clone(),
        environment: options.environment.clone(),
        suite: options.suite.clone(),
        commits: Some(commits.to_vec()).filter(|commits| !commits.is_empty()),
        dirty: options.dirty,
        collected: report.collected.clone(),
        tool: report.tool.clone(),
        options: told(options),
        started_at: report.started_at,
    }
}

/// The idempotency key: another one for each call, unless the submission has a name. Other files or
/// another status under the same name are another run. `content` is a digest of the files.
fn key_of(options: &SubmitOptions, content: &str, now: jiff::Timestamp) -> String {
    let Some(name) = &options.key else {
        return crate::names::DecisionId::new(now).to_string();
    };
    let whole = format!("{content}\n{:?}", told(options));
    let digest = digest::sha256_hex(whole.as_bytes());
    format!("{name}.{}", digest.get(..32).unwrap_or_default())
}

/// Reads all files, with a bar; gives a digest of their bytes, too.
async fn read(files: Files, now: jiff::Timestamp) -> Result<(Report, String), Error> {
    let bar = bar(files.bytes(), "{bar:30} {bytes}/{total_bytes} read {eta}");
    let shown = bar.clone();
    let reading = tokio::task::spawn_blocking(move || {
        Report::read(&files, now, &mut |bytes| shown.set_position(bytes))
    });
    let read = reading.await.map_err(std::io::Error::other)?;
    bar.finish_and_clear();
    Ok(read?)
}

/// Options that made the run say something else than its files alone, for people who look at it.
fn told(options: &SubmitOptions) -> Vec<String> {
    let is_loose = matches!(
        options.files,
        Files::Junit {
            counts: Counts::Loose,
            ..
        }
    );
    let status = options.exit_status;
    let status = status.map(|status| format!("--exit-status {status}"));
    let loose = is_loose.then(|| "--loose-counts".to_owned());
    loose.into_iter().chain(status).collect()
}

/// Cuts attempts into batches that the interface takes, the same for the same attempts.
fn batches_of(attempts: Vec<Attempt>) -> Vec<Vec<Attempt>> {
    let mut batches = Vec::new();
    let mut batch: Vec<Attempt> = Vec::new();
    let mut bytes = 0;
    for attempt in attempts {
        // Control characters grow to six bytes in JSON, at most; 256 are for the other fields.
        let message = attempt.message.as_ref().map_or(0, String::len);
        let size = 6 * (message + attempt.test.len()) + 256;
        if batch.len() == MAX_BATCH_ATTEMPTS || bytes + size > BATCH_BYTES && !batch.is_empty() {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += size;
        batch.push(attempt);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

/// Asks again while the gate is away, or says that it cannot take a report on yet.
struct Patience {
    gate: String,
    time: Duration,
    bar: ProgressBar,
}

impl Patience {
    /// Does `call` until there is an answer that stands, for as long as the gate may be away. Every call
    /// must be one that may be repeated.
    async fn ask<T, F>(&self, call: impl Fn() -> F) -> Result<T, client::Error>
    where
        F: Future<Output = Result<T, client::Error>>,
    {
        let begun = Instant::now();
        let deadline = begun + self.time;
        let (mut pause, longest) = PAUSES;
        loop {
            let timeout = deadline.max(Instant::now() + LEAST_TIMEOUT);
            let answer = tokio::time::timeout_at(timeout, call()).await;
            let error = match answer {
                Ok(Err(error)) if error.may_pass() => error,
                Ok(answer) => {
                    self.bar.set_message("");
                    return answer;
                }
                Err(elapsed) => client::Error::Unreachable {
                    url: self.gate.clone(),
                    source: elapsed.into(),
                },
            };
            let now = Instant::now();
            if now >= deadline {
                return Err(error);
            }
            self.tell(&error, begun + self.time - now, pause);
            tokio::time::sleep_until(deadline.min(now + pause)).await;
            pause = longest.min(pause * 2);
        }
    }

    /// On the bar, or in one line where there is none.
    fn tell(&self, error: &client::Error, left: Duration, pause: Duration) {
        let why = crate::telemetry::chain(error);
        let left = left.as_secs();
        if !self.bar.is_hidden() {
            let trouble = match error {
                client::Error::Refused { detail, .. } => detail,
                _ => "no answer",
            };
            self.bar
                .set_message(format!("- {trouble}; trying for {left} s more"));
        } else if pause == PAUSES.0 {
            let mut err = std::io::stderr().lock();
            let _ = writeln!(err, "syncgate: {why}; trying for {left} s more");
        }
    }
}

/// A bar on standard error; nothing where that is no terminal.
fn bar(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests;
