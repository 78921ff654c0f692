//! What operators see: log lines, metrics, and causes in one line.

use std::error::Error;
use std::fmt::Write as _;

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
    use super::*;

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
