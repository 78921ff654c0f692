//! Makes proofs of AWS identities: the other side of [`identity::aws`](crate::identity::aws).
//!
//! In: credentials, found as AWS's own tools find them, and what a gate wants a proof for. Out: the
//! text of a signed `sts:GetCallerIdentity` that nobody sends but that gate. Refused: a proof for
//! another gate than the one that is asked, which could hand it on to that one; an endpoint that the
//! gate does not name. Never: the credentials themselves, to anybody but AWS.

use std::collections::BTreeMap;
use std::time::SystemTime;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::json;
use url::Url;

use crate::evidence::client::Challenge;
use crate::identity::aws::{
    AUDIENCE_HEADER, BODY, BadStsUrl, CHALLENGE_HEADER, CONTENT_TYPE, StsUrl,
};

/// The `subject_token_type` of a proof.
pub const PROOF_TYPE: &str = "urn:syncgate:params:oauth:token-type:aws-sts-proof";

/// The region of the endpoint for all regions, and of endpoints whose name tells none.
const GLOBAL: Region = Region::from_static("us-east-1");
/// The name of the session of a role that is assumed here, as the record of AWS has it.
const SESSION: &str = "syncgate";

/// Why no proof can be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The gate calls itself something else.
    #[error(
        "the gate calls itself {audience}, and was asked as {asked}: name it so with --gate; or, if \
         you know that both are one gate, say --audience {audience}"
    )]
    Audience {
        /// What it calls itself.
        audience: String,
        /// What was asked.
        asked: Url,
    },
    /// No credentials.
    #[error(
        "no credentials of AWS can be had: sign in (`aws sso login`), name a --profile, or run where \
         a role is attached"
    )]
    Credentials(#[source] CredentialsError),
    /// The gate's endpoint is not one.
    #[error("the gate names an endpoint that is none")]
    Endpoint(#[source] BadStsUrl),
    /// The gate does not take them.
    #[error("this gate takes no identities of AWS: its configuration has no [aws]")]
    NotTaken,
    /// An endpoint that the gate does not ask.
    #[error("this gate does not ask {endpoint}: choose one of {known}")]
    OtherEndpoint {
        /// Which.
        endpoint: StsUrl,
        /// Those that it asks.
        known: String,
    },
    /// The request cannot be signed.
    #[error("the request cannot be signed")]
    Sign(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Who is to sign.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The profile of the shared configuration; the usual one if absent.
    pub profile: Option<String>,
    /// A role to assume first.
    pub role: Option<String>,
}

/// Credentials, and the region that goes with them.
#[derive(Debug)]
pub struct Workload {
    credentials: Credentials,
    region: Option<Region>,
}

impl Workload {
    /// The one that this process is: by the profile that `wanted` names, else by variables of the
    /// environment, the usual profile, a web identity, or the role of the container or machine, in that
    /// order; with a role that is assumed on top if `wanted` says so.
    ///
    /// # Errors
    /// [`Error::Credentials`] when there are none.
    pub async fn find(wanted: Wanted) -> Result<Self, Error> {
        let found = match wanted.profile {
            None => aws_config::load_defaults(BehaviorVersion::latest()).await,
            Some(profile) => of_profile(profile).await,
        };
        let credentials = match wanted.role {
            None => of_chain(&found).await,
            Some(role) => assumed(&found, role).await,
        };
        Ok(Self {
            credentials: credentials.map_err(Error::Credentials)?,
            region: found.region().cloned(),
        })
    }

    /// The endpoint to sign for: `chosen`, else the one of this workload's region among those that the
    /// gate asks, else the first of them.
    ///
    /// # Errors
    /// [`Error::NotTaken`], [`Error::OtherEndpoint`] or [`Error::Endpoint`].
    pub fn endpoint(&self, asks: &[String], chosen: Option<StsUrl>) -> Result<StsUrl, Error> {
        let asks: Result<Vec<StsUrl>, _> = asks.iter().map(|url| StsUrl::parse(url)).collect();
        let asks = asks.map_err(Error::Endpoint)?;
        match chosen {
            Some(endpoint) if asks.contains(&endpoint) => Ok(endpoint),
            Some(endpoint) if !asks.is_empty() => Err(Error::OtherEndpoint {
                endpoint,
                known: asks
                    .iter()
                    .map(StsUrl::as_str)
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
            _ => {
                let near = asks
                    .iter()
                    .find(|url| self.region.is_some() && region_of(url) == self.region);
                near.or(asks.first()).cloned().ok_or(Error::NotTaken)
            }
        }
    }

    /// The proof that spends `challenge`, signed for `endpoint` at `now`.
    ///
    /// # Errors
    /// [`Error::Sign`].
    pub fn prove(
        &self,
        challenge: &Challenge,
        endpoint: &StsUrl,
        now: Timestamp,
    ) -> Result<String, Error> {
        let region = region_of(endpoint).or_else(|| self.region.clone());
        let region = region.unwrap_or(GLOBAL);
        let authority = endpoint.authority();
        let mut headers = BTreeMap::from([
            ("host", authority.as_str()),
            ("content-type", CONTENT_TYPE),
            (AUDIENCE_HEADER, &challenge.audience),
            (CHALLENGE_HEADER, &challenge.challenge),
        ]);
        let identity = self.credentials.clone().into();
        let how = v4::SigningParams::builder()
            .identity(&identity)
            .region(region.as_ref())
            .name("sts")
            .time(SystemTime::from(now))
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| Error::Sign(error.into()))?
            .into();
        let sent = headers.iter().map(|(name, value)| (*name, *value));
        let body = SignableBody::Bytes(BODY.as_bytes());
        let signed = SignableRequest::new("POST", endpoint.as_str(), sent, body)
            .and_then(|request| sign(request, &how))
            .map_err(|error| Error::Sign(error.into()))?;
        headers.extend(signed.output().headers());
        let proof = json!({ "url": endpoint.as_str(), "body": BODY, "headers": headers });
        Ok(URL_SAFE_NO_PAD.encode(proof.to_string()))
    }
}

/// That `challenge` is of the gate at `asked`, or of the one that was said to be it. Otherwise whoever was
/// asked could have another gate's challenge signed, and sign in there.
///
/// # Errors
/// [`Error::Audience`].
pub fn check_audience(challenge: &Challenge, asked: &Url, said: Option<&Url>) -> Result<(), Error> {
    let audience = Url::parse(&challenge.audience);
    if audience.is_ok_and(|audience| audience == *said.unwrap_or(asked)) {
        return Ok(());
    }
    let printable = challenge.audience.chars().filter(|c| !c.is_control());
    Err(Error::Audience {
        audience: printable.collect(),
        asked: said.unwrap_or(asked).clone(),
    })
}

/// The profile alone: the usual order would take variables of the environment before it, and so sign as
/// somebody else than was asked for.
async fn of_profile(name: String) -> SdkConfig {
    let loader = aws_config::defaults(BehaviorVersion::latest());
    let found = loader.profile_name(&name).load().await;
    let how = ProviderConfig::default()
        .with_region(found.region().cloned())
        .with_behavior_version(Some(BehaviorVersion::latest()));
    let profile = ProfileFileCredentialsProvider::builder()
        .profile_name(name)
        .configure(&how)
        .build();
    let profile = SharedCredentialsProvider::new(profile);
    found.into_builder().credentials_provider(profile).build()
}

async fn of_chain(found: &SdkConfig) -> Result<Credentials, CredentialsError> {
    let chain = found.credentials_provider();
    let chain = chain.ok_or_else(|| CredentialsError::not_loaded("there is no source of them"))?;
    chain.provide_credentials().await
}

async fn assumed(found: &SdkConfig, role: String) -> Result<Credentials, CredentialsError> {
    let region = found.region().cloned().unwrap_or(GLOBAL);
    let provider = AssumeRoleProvider::builder(role)
        .session_name(SESSION)
        .configure(found)
        .region(region);
    provider.build().await.provide_credentials().await
}

/// The region of an endpoint, where its name tells: `sts.REGION.amazonaws.com`, also behind the name of a
/// VPC endpoint.
fn region_of(endpoint: &StsUrl) -> Option<Region> {
    let host = endpoint.as_url().host_str()?;
    let mut labels = host
        .split('.')
        .skip_while(|label| !matches!(*label, "sts" | "sts-fips"));
    match (labels.next(), labels.next()) {
        (Some("sts"), Some("amazonaws")) => Some(GLOBAL),
        (Some(_), Some(region)) if region.contains('-') => Some(Region::new(region.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
