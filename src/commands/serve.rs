//! `syncgate serve` and `syncgate demo`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::{CONFIGURATION, NO, complain, say};
use crate::app::App;
use crate::clock::Clock;
use crate::config::{Callers, Config};
use crate::demo;
use crate::hold;
use crate::hold::interface::Coming;
use crate::issuer;
use crate::listener::Stop;
use crate::serve::{self, Bound};
use crate::telemetry::{self, LogFormat};

/// How to run the gate.
#[derive(Args)]
pub struct ServeOptions {
    /// The configuration (TOML)
    #[arg(long, env = "SYNCGATE_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Only check the configuration and the policies, and show when each environment is frozen next
    #[arg(long)]
    check: bool,
    /// The form of log lines
    #[arg(long, value_enum, default_value_t = Log::Json)]
    log: Log,
    /// Which log lines: a level, or levels by module (`info,syncgate=debug`)
    #[arg(
        long,
        env = "SYNCGATE_LOG",
        default_value = "info",
        value_name = "FILTER"
    )]
    log_filter: String,
}

/// The form of log lines.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Log {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// How to tell the story.
#[derive(Args)]
pub struct DemoOptions {
    /// End after the story; the exit code is 0 only if every step was as told
    #[arg(long)]
    exit: bool,
    /// Where the demo's gate listens
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
}

/// Runs the gate until a signal, or checks its configuration.
pub(super) async fn serve(options: ServeOptions) -> ExitCode {
    let config = match Config::load(&options.config) {
        Ok(config) => config,
        Err(problems) => return complain(CONFIGURATION, &problems.to_string()),
    };
    if options.check {
        return check(&config);
    }
    let format = if options.log == Log::Json {
        LogFormat::Json
    } else {
        LogFormat::Text
    };
    if let Err(error) = telemetry::log_to_stderr(&options.log_filter, format) {
        return complain(CONFIGURATION, &telemetry::chain(&error));
    }
    tracing::info!("{}", callers(&config));
    let stop = Stop::default();
    let app = match App::start(config, Clock::system(), stop.clone()) {
        Ok(app) => app,
        Err(error) => return complain(error.exit_code(), &telemetry::chain(&error)),
    };
    let bound = match serve::bind(Arc::clone(&app)).await {
        Ok(bound) => bound,
        Err(error) => return complain(NO, &telemetry::chain(&error)),
    };
    announce(&bound);
    serve::until_stopped(app).await;
    ExitCode::SUCCESS
}

fn announce(bound: &Bound) {
    say(&format!("syncgate listening on {}", bound.public));
    if let Some(admin) = &bound.admin {
        say(&format!("admin on {admin}"));
    }
    if let Some(admission) = &bound.admission {
        say(&format!("admission on {admission}"));
    }
}

fn check(config: &Config) -> ExitCode {
    let report = crate::policy::check(&config.policies);
    if report.ok {
        say("the configuration and the policies are in order");
        say(&callers(config));
        return freezes(config);
    }
    complain(
        CONFIGURATION,
        &format!("the policies are not in order:\n{report}"),
    )
}

/// As whom calls of callers reach Argo CD.
fn callers(config: &Config) -> String {
    match config.upstream.callers {
        Callers::Account => "callers reach Argo CD as the account of upstream.token".to_owned(),
        Callers::Named => format!(
            "callers reach Argo CD as themselves: its oidc.config must have the issuer {} and the \
             clientID {}",
            config.argocd_issuer(),
            issuer::CLIENT_ID
        ),
    }
}

/// Shows when each environment is frozen next.
fn freezes(config: &Config) -> ExitCode {
    let now = Clock::system().now();
    for environment in &config.environments {
        let name = &environment.name;
        match Coming::of(&config.freezes, name, now) {
            Ok(coming) => {
                for coming in coming {
                    say(&format!("{name}: {}", hold::cli::freeze(&coming)));
                }
            }
            Err(error) => return complain(CONFIGURATION, &error.to_string()),
        }
    }
    ExitCode::SUCCESS
}

/// Tells the story; stays up afterwards unless told to exit.
pub(super) async fn demo(options: DemoOptions) -> ExitCode {
    match demo::run(options.listen, options.exit, &mut |line| say(line)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(NO, &format!("{error:#}")),
    }
}
