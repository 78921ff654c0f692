//! The answers of Argo CD's API that the gate gives or changes itself.
//!
//! In: facts of the gate, and for the settings the upstream's answer. Out: the bytes of the answer on
//! the wire of the call: the protobuf message (not framed) for gRPC and gRPC-Web, JSON for REST.
//! Pure. Never: anything of the upstream's own sign-in, or the name of the gate's account there.

use prost::Message;
use serde_json::{Map, Value, json};

use super::classify::Wire;
use super::proto::{
    CanIResponse, DexConfig, GetUserInfoResponse, OidcConfig, Settings, VersionMessage,
};
use super::protobuf;
use crate::identity::Caller;

/// Why an answer of the upstream cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not the JSON of settings.
    #[error("the upstream's settings are not a JSON object")]
    Json,
    /// It is not the message of settings.
    #[error(transparent)]
    Protobuf(#[from] protobuf::Error),
}

/// How the argocd CLI and the web UI sign in at the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// The gate's own address.
    pub url: String,
    /// What people call the provider.
    pub name: String,
    /// The issuer, which the CLI asks directly.
    pub issuer: String,
    /// The client of the web UI.
    pub client_id: String,
    /// The client of the CLI.
    pub cli_client_id: String,
    /// The scopes to ask for; empty means the CLI's own choice.
    pub scopes: Vec<String>,
    /// Whether the web UI uses PKCE.
    pub enable_pkce: bool,
}

/// The version alone, as the anonymous get it. The CLI asks for it before every command.
#[must_use]
pub fn version(wire: Wire, version: &str) -> Vec<u8> {
    let message = VersionMessage {
        version: Some(version.to_owned()),
    };
    encode(wire, &message, || json!({ "Version": version }))
}

/// Who the caller is for the gate; `None` for the anonymous.
#[must_use]
pub fn user_info(wire: Wire, caller: Option<&Caller>) -> Vec<u8> {
    let Some(caller) = caller else {
        return encode(wire, &GetUserInfoResponse::default(), || json!({}));
    };
    let groups: Vec<String> = caller.groups.iter().cloned().collect();
    let message = GetUserInfoResponse {
        logged_in: Some(true),
        username: Some(caller.display()),
        iss: Some(caller.issuer.clone()),
        groups,
    };
    encode(wire, &message, || {
        json!({
            "loggedIn": true,
            "username": caller.display(),
            "iss": caller.issuer,
            "groups": caller.groups,
        })
    })
}

/// Whether the caller may do what was asked about.
#[must_use]
pub fn can_i(wire: Wire, allowed: bool) -> Vec<u8> {
    let value = if allowed { "yes" } else { "no" };
    let message = CanIResponse {
        value: Some(value.to_owned()),
    };
    encode(wire, &message, || json!({ "value": value }))
}

/// The upstream's settings with the gate's sign-in laid over them: its address, its provider, no Dex,
/// no login by password. All else stays, byte for byte in protobuf.
///
/// # Errors
/// [`Error`] when `upstream` is not an answer on this wire.
pub fn settings(wire: Wire, upstream: &[u8], sign_in: &SignIn) -> Result<Vec<u8>, Error> {
    match wire {
        Wire::Grpc | Wire::GrpcWeb => settings_message(upstream, sign_in),
        Wire::Rest | Wire::RestStream => settings_json(upstream, sign_in),
    }
}

fn settings_message(upstream: &[u8], sign_in: &SignIn) -> Result<Vec<u8>, Error> {
    let ours = Settings {
        url: Some(sign_in.url.clone()),
        dex_config: None::<DexConfig>,
        oidc_config: Some(OidcConfig {
            name: Some(sign_in.name.clone()),
            issuer: Some(sign_in.issuer.clone()),
            client_id: Some(sign_in.client_id.clone()),
            cli_client_id: Some(sign_in.cli_client_id.clone()),
            scopes: sign_in.scopes.clone(),
            enable_pkce_authentication: Some(sign_in.enable_pkce),
        }),
        user_logins_disabled: Some(true),
    };
    // `Settings` has exactly the fields that are laid over.
    let laid_over = |number| super::proto::has_field("Settings", number);
    let mut out = protobuf::without(upstream, laid_over)?;
    out.extend(ours.encode_to_vec());
    Ok(out)
}

fn settings_json(upstream: &[u8], sign_in: &SignIn) -> Result<Vec<u8>, Error> {
    let mut settings: Map<String, Value> =
        serde_json::from_slice(upstream).map_err(|_| Error::Json)?;
    settings.remove("dexConfig");
    settings.insert("url".into(), json!(sign_in.url));
    settings.insert("userLoginsDisabled".into(), json!(true));
    settings.insert(
        "oidcConfig".into(),
        json!({
            "name": sign_in.name,
            "issuer": sign_in.issuer,
            "clientID": sign_in.client_id,
            "cliClientID": sign_in.cli_client_id,
            "scopes": sign_in.scopes,
            "enablePKCEAuthentication": sign_in.enable_pkce,
        }),
    );
    Ok(Value::Object(settings).to_string().into_bytes())
}

fn encode(wire: Wire, message: &impl Message, json: impl FnOnce() -> Value) -> Vec<u8> {
    match wire {
        Wire::Grpc | Wire::GrpcWeb => message.encode_to_vec(),
        Wire::Rest | Wire::RestStream => json().to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests;
