//! `syncgate preflight`.

use std::process::ExitCode;

use clap::Args;
use jiff::SignedDuration;

use super::{GateOptions, NO, Output, complain, say};
use crate::clock::Clock;
use crate::names::{EnvironmentName, Suite};
use crate::preflight::cli::{self, Options};
use crate::preflight::interface::{Asked, MAX_EXPECTED_SECONDS};

/// What this teaches at its end.
const EXAMPLES: &str = "\
Before the tests, in the Job that runs them:

  syncgate preflight --gate https://gate.example.com --token-file /var/run/secrets/syncgate/token \\
      --app checkout-staging --suite integration --expected 15m --endpoint checkout-api

The checks:
  credential  the gate knows the caller; a token that has expired, is not valid yet (a skewed clock) or
              is for another audience (another gate) ends here
  lifetime    the token lives as long as the run takes, which is --expected, or what the suite took before;
              a token that the kubelet projects into a pod is renewed by itself
  clock       this machine's clock is within 30 seconds of the gate's
  report      the caller may report for the application, and for which commits that would be now
  endpoint    each endpoint lets the caller in, and answers

Exit codes: 0 nothing stands in the way, 1 a check failed or the gate refused, 2 wrong usage,
69 the gate cannot be reached.";

/// What the tests are about to do.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct PreflightOptions {
    #[command(flatten)]
    gate: GateOptions,
    /// The application that will be tested
    #[arg(long)]
    app: String,
    /// The namespace of the Application object, if it is not Argo CD's own
    #[arg(long, value_name = "NAMESPACE")]
    app_namespace: Option<String>,
    /// The environment; must be the one that the gate knows
    #[arg(long)]
    environment: Option<EnvironmentName>,
    /// The suite
    #[arg(long, default_value = "integration")]
    suite: Suite,
    /// How long the run is expected to take (`15m`, `1h 30m`); as long as before if not given
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    expected: Option<u64>,
    /// An endpoint that the tests will use, as the gate's configuration names it; once for each
    #[arg(long = "endpoint", value_name = "NAME")]
    endpoints: Vec<String>,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Runs it.
pub(super) async fn run(options: PreflightOptions) -> ExitCode {
    let asked = Asked {
        application: options.app,
        application_namespace: options.app_namespace,
        environment: options.environment,
        suite: options.suite,
        expected_seconds: options.expected,
        endpoints: options.endpoints,
        now: Clock::system().now(),
    };
    if let Err(error) = asked.check() {
        return complain(2, &error.to_string());
    }
    let gate = match options.gate.gate() {
        Ok(gate) => gate,
        Err(code) => return code,
    };
    let options = Options {
        gate,
        asked,
        output: options.output.into(),
    };
    let mut out = Vec::new();
    let outcome = cli::run(options, &mut out).await;
    if !out.is_empty() {
        say(&String::from_utf8_lossy(&out));
    }
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NO),
        Err(error) => complain(error.exit_status(), &crate::telemetry::chain(&error)),
    }
}

/// The whole seconds of a duration as people write it.
fn seconds(text: &str) -> Result<u64, String> {
    let length: SignedDuration = text
        .parse()
        .map_err(|_| "is not a duration such as `90s` or `1h 30m`".to_owned())?;
    let seconds = u64::try_from(length.as_secs()).unwrap_or(0);
    if (1..=MAX_EXPECTED_SECONDS).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("must be between a second and a week".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_people_do() {
        assert_eq!(seconds("15m"), Ok(900));
        assert_eq!(seconds("1h 30m"), Ok(5_400));
        assert_eq!(seconds("168h"), Ok(MAX_EXPECTED_SECONDS));
        for wrong in ["", "15", "soon", "-5m", "0s", "169h", "200000000h"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
