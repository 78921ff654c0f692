//! `syncgate token`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{GateAddress, GateOptions, NO, Output, complain, say};
use crate::aws::{self, PROOF_TYPE, Wanted, Workload};
use crate::clock::Clock;
use crate::evidence::client::{self, Client, Gate, Token};
use crate::identity::aws::StsUrl;
use crate::telemetry::chain;

/// The type of a token that is exchanged (RFC 8693 section 3).
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

pub(super) const EXAMPLES: &str = "\
Examples:
  export SYNCGATE_URL=https://gate.example.com

  # For the argocd command, in a job that has a role of AWS
  export ARGOCD_AUTH_TOKEN=$(syncgate token aws)
  argocd app sync checkout-prod --server gate.example.com

  # For a pod, by its projected token
  syncgate token exchange --token-file /var/run/secrets/syncgate/token

  # By a profile of the shared configuration; with a role that is assumed first
  syncgate token aws --profile shop
  syncgate token aws --role-arn arn:aws:iam::123456789012:role/deployer";

const AWS: &str = "\
What it does:
  It gets a challenge from the gate, signs `sts:GetCallerIdentity` for this gate and this challenge
  (Signature Version 4), and hands that in. The gate sends it to AWS STS, which says who signed. The
  proof is good for one use within minutes, and no secret leaves this machine.

Which credentials: those of --profile alone if it is given, else the first of these
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
  the profile (AWS_PROFILE, else `default`): keys, a role, SSO, credential_process
  a web identity (AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, as in EKS)
  the role of the container (ECS, EKS Pod Identity), the role of the machine (EC2)

Who it is then: the role, whatever its session is called. The gate's configuration gives it roles by
  [[role]] aws = [\"arn:aws:iam::123456789012:role/deployer\"]

Exit codes: 0 the token is on standard output, 1 no credentials, or the gate refused, 2 wrong usage,
69 the gate cannot be reached.";

/// How to get a token of the gate's.
#[derive(Subcommand)]
pub enum TokenCommand {
    /// By the role or user of AWS that this is
    #[command(after_help = AWS)]
    Aws(Aws),
    /// By a token of a configured issuer: of a service account, a CI job or a person
    ///
    /// The gate's token lasts a quarter of an hour at most, and no longer than the one that it is given for; it
    /// can be revoked by itself.
    Exchange(Exchange),
}

/// Which token.
#[derive(Args)]
pub struct Exchange {
    #[command(flatten)]
    gate: GateOptions,
    /// The form of the answer: the token alone, or all that the gate says of it
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Which role or user of AWS.
#[derive(Args)]
pub struct Aws {
    #[command(flatten)]
    gate: GateAddress,
    /// What the gate calls itself, if it is reached by another name
    #[arg(long, value_name = "URL")]
    audience: Option<url::Url>,
    /// The profile of the shared configuration of AWS
    #[arg(long)]
    profile: Option<String>,
    /// A role to assume first
    #[arg(long, value_name = "ARN")]
    role_arn: Option<String>,
    /// The endpoint of AWS STS to sign for; by default one of those that the gate asks
    #[arg(long, value_name = "URL", value_parser = StsUrl::parse)]
    sts: Option<StsUrl>,
    /// The form of the answer: the token alone, or all that the gate says of it
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Aws(#[from] aws::Error),
    #[error(transparent)]
    Gate(#[from] client::Error),
}

impl Error {
    fn exit_status(&self) -> u8 {
        match self {
            Self::Aws(aws::Error::OtherEndpoint { .. }) => 2,
            Self::Aws(_) => NO,
            Self::Gate(error) => error.exit_status(),
        }
    }
}

/// Runs it.
pub(super) async fn run(command: TokenCommand) -> ExitCode {
    let (output, token) = match command {
        TokenCommand::Aws(options) => match options.gate.url() {
            Ok(url) => (options.output, by_aws(&url, options).await),
            Err(code) => return code,
        },
        TokenCommand::Exchange(options) => match options.gate.gate() {
            Ok(gate) => (options.output, exchanged(&gate).await),
            Err(code) => return code,
        },
    };
    match token {
        Ok(token) => {
            match output {
                Output::Json => say(&format!("{:#}", json!(token))),
                Output::Text => say(&token.access_token),
            }
            ExitCode::SUCCESS
        }
        Err(error) => complain(error.exit_status(), &chain(&error)),
    }
}

async fn exchanged(gate: &Gate) -> Result<Token, Error> {
    let client = Client::anonymous(&gate.url, gate.ca_file.as_deref())?;
    Ok(client.exchange(&gate.token, JWT).await?)
}

async fn by_aws(url: &url::Url, options: Aws) -> Result<Token, Error> {
    let gate = Client::anonymous(url, options.gate.ca.as_deref())?;
    let wanted = Wanted {
        profile: options.profile,
        role: options.role_arn,
    };
    // First, since it may take a while, and a challenge does not last.
    let workload = Workload::find(wanted).await?;
    let challenge = gate.challenge().await?;
    aws::check_audience(&challenge, url, options.audience.as_ref())?;
    let endpoint = workload.endpoint(&challenge.aws_sts, options.sts)?;
    let proof = workload.prove(&challenge, &endpoint, Clock::system().now())?;
    Ok(gate.exchange(&proof, PROOF_TYPE).await?)
}
