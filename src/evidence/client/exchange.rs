//! The other side of `/syncgate/v1/token`: a credential goes in, a token of the gate's comes out (RFC 8693).
//!
//! In: a credential of another kind. Out: a token to call the gate with. Refused, beside what every
//! question refuses: a token of a type that a bearer cannot use. A credential is handed in once: it
//! may be spent by then.

use std::path::Path;

use http::Method;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use super::{
    Bytes, Client, Error, HttpClient, Reply, TokioExecutor, Url, check_url, outbound, read_answer,
};

/// The grant of RFC 8693 section 2.1.
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// The media type of what an OAuth endpoint is asked (RFC 6749 section 4.1.3).
const FORM: &str = "application/x-www-form-urlencoded";

/// What a proof must be made for.
#[derive(Clone, Debug, Deserialize)]
pub struct Challenge {
    /// What the proof spends.
    pub challenge: String,
    /// For how many seconds it may be spent.
    pub expires_in: u64,
    /// The gate, as it calls itself.
    pub audience: String,
    /// The endpoints of AWS STS that it asks; none where no role of AWS may call.
    #[serde(default)]
    pub aws_sts: Vec<String>,
}

/// A token of the gate's (RFC 8693 section 2.2.1).
#[derive(Clone, Deserialize, Serialize)]
pub struct Token {
    /// The token.
    pub access_token: String,
    /// What it is.
    pub issued_token_type: String,
    /// How it is used: `Bearer`.
    pub token_type: String,
    /// For how many seconds it is good.
    pub expires_in: u64,
}

/// By hand, so that the token stays out of logs.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

/// A refusal of an OAuth endpoint (RFC 6749 section 5.2).
#[derive(Deserialize)]
struct OAuthError {
    error: String,
    error_description: Option<String>,
}

impl Client {
    /// A client of the gate at `url` that shows no credential, trusting the authorities in `ca_file`
    /// alone, or the system's. Connects later.
    ///
    /// # Errors
    /// [`Error::BadUrl`], or what is wrong with the certificates.
    pub fn anonymous(url: &Url, ca_file: Option<&Path>) -> Result<Self, Error> {
        check_url(url)?;
        let tls = outbound::client_config(url, ca_file)?;
        Ok(Self {
            http: HttpClient::builder(TokioExecutor::new()).build(outbound::http1(tls)),
            base: url.as_str().trim_end_matches('/').to_owned(),
            authorization: None,
        })
    }

    /// Something new to make a proof for.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn challenge(&self) -> Result<Challenge, Error> {
        let path = "/syncgate/v1/token/challenge";
        self.ask(&Method::POST, path, Bytes::new(), None).await
    }

    /// The gate's token for the credential `subject_token` of the type `subject_token_type` (a URI).
    /// Asked once.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn exchange(
        &self,
        subject_token: &str,
        subject_token_type: &str,
    ) -> Result<Token, Error> {
        let url = format!("{}/syncgate/v1/token", self.base);
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", GRANT)
            .append_pair("subject_token", subject_token)
            .append_pair("subject_token_type", subject_token_type);
        let form = (FORM, form.finish().into());
        let reply = self.ask_once(&Method::POST, &url, form, None).await?;
        read(&url, &reply)
    }
}

/// The token in `reply`, which must be one that can stand behind `Bearer`.
fn read(url: &str, reply: &Reply) -> Result<Token, Error> {
    if let Some(refused) = refusal(reply) {
        return Err(refused);
    }
    let token: Token = read_answer(url, reply)?;
    let text = &token.access_token;
    let is_text = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if token.token_type.eq_ignore_ascii_case("bearer") && is_text {
        return Ok(token);
    }
    Err(Error::BadAnswer {
        url: url.to_owned(),
        source: serde_json::Error::custom("it is not a token for `Bearer`"),
    })
}

/// The refusal of an OAuth endpoint, where `reply` is one.
fn refusal(reply: &Reply) -> Option<Error> {
    if reply.status.is_success() {
        return None;
    }
    let said: OAuthError = serde_json::from_slice(&reply.body).ok()?;
    let detail = said.error_description.unwrap_or_else(|| said.error.clone());
    Some(Error::Refused {
        status: reply.status,
        passes: said.error == "temporarily_unavailable" || reply.comes_later,
        code: Some(said.error),
        // It goes to a terminal.
        detail: detail.chars().filter(|c| !c.is_control()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn told(status: StatusCode, comes_later: bool, body: &str) -> Result<Token, Error> {
        let body = Bytes::from(body.to_owned());
        read(
            "u",
            &Reply {
                status,
                comes_later,
                body,
            },
        )
    }

    fn good(token: &str, token_type: &str) -> String {
        let token = Token {
            access_token: token.into(),
            issued_token_type: "urn:ietf:params:oauth:token-type:access_token".into(),
            token_type: token_type.into(),
            expires_in: 900,
        };
        assert!(
            !format!("{token:?}").contains(&token.access_token) || token.access_token.is_empty()
        );
        serde_json::to_string(&token).unwrap()
    }

    #[test]
    fn only_a_token_that_a_bearer_can_show_is_taken() {
        let taken = told(StatusCode::OK, false, &good("a.b.c", "Bearer")).unwrap();
        assert_eq!(
            (taken.access_token.as_str(), taken.expires_in),
            ("a.b.c", 900)
        );
        for (token, token_type) in [
            ("a.b.c", "DPoP"),
            ("a.b.c", "N_A"),
            ("", "Bearer"),
            ("a b", "Bearer"),
            ("a\u{1b}[2Jb", "Bearer"),
        ] {
            let error = told(StatusCode::OK, false, &good(token, token_type)).unwrap_err();
            assert!(matches!(error, Error::BadAnswer { .. }), "{error}");
        }
        assert!(told(StatusCode::OK, false, r#"{"access_token":"x"}"#).is_err());
    }

    #[test]
    fn a_refusal_is_told_as_oauth_has_it_or_as_any_other() {
        let refused =
            |comes_later, body: &str| match told(StatusCode::BAD_REQUEST, comes_later, body)
                .unwrap_err()
            {
                Error::Refused {
                    code,
                    detail,
                    passes,
                    ..
                } => (code, detail, passes),
                other => panic!("{other}"),
            };
        let code = |code: &str| Some(code.to_owned());
        assert_eq!(
            refused(
                false,
                r#"{"error":"invalid_grant","error_description":"too old\u001b[2J"}"#
            ),
            (code("invalid_grant"), "too old[2J".to_owned(), false)
        );
        assert_eq!(
            refused(false, r#"{"error":"invalid_request"}"#),
            (code("invalid_request"), "invalid_request".to_owned(), false)
        );
        assert_eq!(
            refused(
                false,
                r#"{"error":"temporarily_unavailable","error_description":"later"}"#
            ),
            (code("temporarily_unavailable"), "later".to_owned(), true)
        );
        assert_eq!(
            refused(
                false,
                r#"{"code":"unknown-method","detail":"no such method"}"#
            ),
            (code("unknown-method"), "no such method".to_owned(), false)
        );
    }
}
