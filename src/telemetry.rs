//! What operators see: log lines, metrics, and causes in one line.

use std::error::Error;
use std::fmt::Write as _;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::TryInitError;

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Why logs or metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The filter is not one.
    #[error("`{filter}` is not a log filter such as `info` or `info,syncgate=debug`")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// Logs go somewhere already.
    #[error("logging is set up already")]
    Log(#[source] TryInitError),
    /// Metrics go somewhere already.
    #[error("metrics cannot be set up")]
    Metrics(#[source] BuildError),
}

/// Sends log lines that pass `filter` to standard error, as `format`. Once per process.
///
/// # Errors
/// [`SetupError::Filter`] and [`SetupError::Log`].
pub fn log_to_stderr(filter: &str, format: LogFormat) -> Result<(), SetupError> {
    use tracing_subscriber::util::SubscriberInitExt as _;
    let parsed = EnvFilter::try_new(filter).map_err(|source| SetupError::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
        LogFormat::Text => lines.finish().try_init(),
    }
    .map_err(SetupError::Log)
}

/// Collects metrics for Prometheus; the handle renders them. Once per process.
///
/// # Errors
/// [`SetupError::Metrics`].
pub fn collect_metrics() -> Result<PrometheusHandle, SetupError> {
    PrometheusBuilder::new()
        .set_buckets(SECONDS)
        .map_err(SetupError::Metrics)?
        .install_recorder()
        .map_err(SetupError::Metrics)
        .inspect(|_| describe())
}

/// What each metric says, for whoever reads them.
fn describe() {
    for (name, text) in [
        (
            "syncgate_connections_shed_total",
            "Connections closed at once since as many as may be were open",
        ),
        (
            "syncgate_jwks_refresh_total",
            "Attempts to refresh an issuer's keys, by issuer and result (changed, unchanged, failed)",
        ),
        (
            "syncgate_policy_reload_total",
            "Edits of the policies, by result (swapped, or kept: the edit was not taken)",
        ),
        (
            "syncgate_record_lost_total",
            "Closing entries of the log of decisions that could not be handed over",
        ),
        (
            "syncgate_requests_total",
            "Requests, by operation, effect, outcome and code",
        ),
        (
            "syncgate_store_lost_writes_total",
            "Writes that nobody waited for and that failed, by action",
        ),
        (
            "syncgate_notices_total",
            "Attempts to send a message to a receiver, by result (taken, failed, given-up)",
        ),
        (
            "syncgate_rollbacks_total",
            "Rollbacks, by what became of them (proposed, running, verified, superseded, stuck)",
        ),
        (
            "syncgate_unexplained_operations_total",
            "Operations of Argo CD that no decision explains, by environment",
        ),
    ] {
        describe_counter!(name, text);
    }
    describe_gauges();
    describe_histograms();
}

fn describe_histograms() {
    for (name, text) in [
        (
            "syncgate_decision_seconds",
            "From the request's head to an answer or refusal of the gate's own",
        ),
        (
            "syncgate_endpoint_seconds",
            "From the forward to the begin of an answer of an endpoint under test, by outcome",
        ),
        (
            "syncgate_record_wait_seconds",
            "How long requests waited for their opening entry to be kept",
        ),
        (
            "syncgate_stream_seconds",
            "From the forward to the end of the upstream's answer",
        ),
        (
            "syncgate_upstream_seconds",
            "From the forward to the begin of the upstream's answer, by outcome",
        ),
    ] {
        describe_histogram!(name, Unit::Seconds, text);
    }
}

fn describe_gauges() {
    for (name, text) in [
        (
            "syncgate_break_glass_open",
            "Emergencies whose tests are owed",
        ),
        ("syncgate_rollbacks_running", "Rollbacks that go on"),
    ] {
        describe_gauge!(name, text);
    }
}

/// Buckets of all histograms, which all count seconds: from a decision in memory to a long sync.
const SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0,
    30.0, 300.0,
];

/// `error` with all its causes in one line, for logs and records: `cannot listen: address in use`.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        // Writing to a `String` cannot fail.
        let _ = write!(line, ": {cause}");
        next = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The names of metrics in the source files below `folder`.
    fn names(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                names(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let texts = text.split('"').filter(|text| {
                    text.starts_with("syncgate_")
                        && (text.ends_with("_seconds") || text.ends_with("_total"))
                });
                found.extend(texts.map(str::to_owned));
            }
        }
    }

    #[test]
    fn every_metric_has_a_description() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let mut emitted = BTreeSet::new();
        names(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut emitted,
        );
        assert!(emitted.contains("syncgate_requests_total"), "{emitted:?}");
        metrics::with_local_recorder(&recorder, || {
            describe();
            for name in emitted.clone() {
                if name.ends_with("_total") {
                    metrics::counter!(name).increment(1);
                } else {
                    metrics::histogram!(name).record(0.1);
                }
            }
        });
        let rendered = handle.render();
        for name in emitted {
            assert!(rendered.contains(&format!("# HELP {name} ")), "{name}");
        }
    }

    #[test]
    fn a_chain_names_every_cause_once() {
        let source = EnvFilter::try_new("=?!").unwrap_err();
        let cause = source.to_string();
        let error = SetupError::Filter {
            filter: "=?!".into(),
            source,
        };
        let line = chain(&error);
        assert!(line.starts_with("`=?!` is not a log filter"), "{line}");
        assert_eq!(line.matches(&cause).count(), 1, "{line}");
    }
}
