//! A proof: one signed `sts:GetCallerIdentity`, taken apart.
//!
//! In: base64url of `{"url", "body", "headers"}`. Out: the parts of a request of which nothing is left
//! to the caller but the values that the signature needs. Refused: whatever is not on the list below,
//! by name. Not checked: the signature, which only STS can, over exactly these parts.
//!
//! The age is ours to check: STS takes a signature for 15 minutes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::url::StsUrl;
use super::{AUDIENCE_HEADER, CHALLENGE_HEADER, Fault, HeaderFault};
use crate::digest;
use crate::identity::reason::{Quoted, Reason};
use crate::json::{self, JsonError};

/// The one body that a proof may have.
pub const BODY: &str = "Action=GetCallerIdentity&Version=2011-06-15";
/// The type of the body.
pub const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";

/// Bytes of a proof, at most: session tokens are long.
const MAX_TEXT: usize = 8 * 1024;
/// How old a proof may be.
const MAX_AGE: SignedDuration = SignedDuration::from_mins(5);
/// How far the clock of whoever made it may be ahead of ours.
const MAX_AHEAD: SignedDuration = SignedDuration::from_secs(60);
/// Characters of a challenge, at most.
const MAX_CHALLENGE: usize = 512;

/// Every header that a proof may have, and whether it must. What could change the meaning of the
/// request or the form of the answer is not among them: `accept`, `x-amz-target`,
/// `x-http-method-override`.
const HEADERS: [(&str, bool); 9] = [
    (AUTHORIZATION, true),
    (LENGTH, false),
    (TYPE, true),
    (HOST, true),
    (HASH, false),
    (DATE, true),
    (TOKEN, false),
    (AUDIENCE_HEADER, true),
    (CHALLENGE_HEADER, true),
];
const AUTHORIZATION: &str = "authorization";
const LENGTH: &str = "content-length";
const TYPE: &str = "content-type";
const HOST: &str = "host";
const HASH: &str = "x-amz-content-sha256";
const DATE: &str = "x-amz-date";
const TOKEN: &str = "x-amz-security-token";

/// Not among the signed headers: the signature itself, and what the body's length makes anyway.
const UNSIGNED: [&str; 2] = [AUTHORIZATION, LENGTH];

/// What proofs must be for.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The endpoints to which the gate sends proofs.
    pub endpoints: Vec<StsUrl>,
    /// This gate, as the signed header [`AUDIENCE_HEADER`] must name it.
    pub audience: String,
}

/// A proof that has its form, is for this gate, and is fresh. Whether the signature holds, only STS
/// can tell.
pub struct Proof {
    pub(super) endpoint: StsUrl,
    pub(super) headers: HeaderMap,
    challenge: String,
}

/// By hand: what it holds is a credential until its challenge is spent.
impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof")
            .field("endpoint", &self.endpoint.as_str())
            .finish_non_exhaustive()
    }
}

impl Proof {
    /// Takes `text` apart, at `now`. Asks nobody.
    ///
    /// # Errors
    /// [`Reason::Aws`] with the first [`Fault`], for everything that is not exactly a fresh, signed
    /// `GetCallerIdentity` to one of the endpoints of `rules`, for its audience.
    pub fn parse(text: &str, rules: &Rules, now: Timestamp) -> Result<Self, Reason> {
        Ok(read(text, rules, now)?)
    }

    /// The challenge that was signed. Whoever takes the proof spends it before asking STS, so that
    /// nobody else who has seen the proof can hand it in again.
    #[must_use]
    pub fn challenge(&self) -> &str {
        &self.challenge
    }
}

fn read(text: &str, rules: &Rules, now: Timestamp) -> Result<Proof, Fault> {
    let object = object(text)?;
    let (url, body, sent) = members(&object)?;
    let endpoint = rules.endpoints.iter().find(|known| known.as_str() == url);
    let endpoint = endpoint.ok_or_else(|| Fault::Url {
        found: Quoted::new(url),
        known: Quoted::list(rules.endpoints.iter().map(StsUrl::as_str)),
    })?;
    if body != BODY {
        return Err(Fault::Body);
    }
    let sent = Sent::of(sent)?;
    sent.check_values(endpoint)?;
    let authorization = Authorization::parse(sent.value(AUTHORIZATION)?)?;
    sent.check_signed(&authorization.signed)?;
    if sent.value(AUDIENCE_HEADER)? != rules.audience {
        return Err(Fault::Audience {
            found: Quoted::new(sent.value(AUDIENCE_HEADER)?),
            wanted: Quoted::new(&rules.audience),
        });
    }
    check_date(sent.value(DATE)?, authorization.date, now)?;
    Ok(Proof {
        endpoint: endpoint.clone(),
        headers: sent.request_headers()?,
        challenge: sent.value(CHALLENGE_HEADER)?.to_owned(),
    })
}

fn object(text: &str) -> Result<Map<String, Value>, Fault> {
    if text.len() > MAX_TEXT {
        return Err(Fault::TooLarge {
            bytes: text.len(),
            limit: MAX_TEXT,
        });
    }
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|error| Fault::Encoding {
            detail: error.to_string(),
        })?;
    json::object(&bytes).map_err(|error| match error {
        JsonError::Repeated(key) => Fault::Repeated {
            key: Quoted::new(&key),
        },
        error => Fault::Encoding {
            detail: error.to_string(),
        },
    })
}

/// The three members, which must be all.
fn members(object: &Map<String, Value>) -> Result<(&str, &str, &Map<String, Value>), Fault> {
    match (
        object.len(),
        object.get("url"),
        object.get("body"),
        object.get("headers"),
    ) {
        (3, Some(Value::String(url)), Some(Value::String(body)), Some(Value::Object(headers))) => {
            Ok((url, body, headers))
        }
        _ => Err(Fault::Members),
    }
}

/// The headers of a proof, by their names in lower case.
struct Sent<'a>(BTreeMap<&'static str, &'a str>);

impl<'a> Sent<'a> {
    fn of(headers: &'a Map<String, Value>) -> Result<Self, Fault> {
        let mut sent = BTreeMap::new();
        for (name, value) in headers {
            let known = HEADERS
                .iter()
                .find(|(known, _)| name.eq_ignore_ascii_case(known));
            let (known, _) = known.ok_or_else(|| fault(name, HeaderFault::NotAllowed))?;
            let Value::String(value) = value else {
                return Err(Fault::Members);
            };
            if sent.insert(*known, value.as_str()).is_some() {
                return Err(fault(known, HeaderFault::Repeated));
            }
        }
        let missing = HEADERS
            .iter()
            .find(|(name, must)| *must && !sent.contains_key(name));
        match missing {
            Some((name, _)) => Err(fault(name, HeaderFault::Missing)),
            None => Ok(Self(sent)),
        }
    }

    fn value(&self, name: &'static str) -> Result<&'a str, Fault> {
        let value = self.0.get(name).copied();
        value.ok_or_else(|| fault(name, HeaderFault::Missing))
    }

    /// Each value is the only one that it can be, or of its form.
    fn check_values(&self, endpoint: &StsUrl) -> Result<(), Fault> {
        for (name, value) in &self.0 {
            let is_good = match *name {
                HOST => *value == endpoint.authority(),
                TYPE => {
                    *value == CONTENT_TYPE
                        || value.strip_prefix(CONTENT_TYPE) == Some("; charset=utf-8")
                }
                LENGTH => *value == BODY.len().to_string(),
                HASH => *value == *BODY_HASH,
                CHALLENGE_HEADER => {
                    (1..=MAX_CHALLENGE).contains(&value.len()) && value.bytes().all(is_unreserved)
                }
                TOKEN => !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic()),
                // Each is compared, or taken apart, by itself.
                _ => true,
            };
            if !is_good {
                return Err(fault(name, HeaderFault::Value));
            }
        }
        Ok(())
    }

    /// What is sent is signed, and what is signed is sent.
    fn check_signed(&self, signed: &[&str]) -> Result<(), Fault> {
        let unsent = signed.iter().find(|name| !self.0.contains_key(**name));
        if let Some(name) = unsent {
            return Err(fault(name, HeaderFault::Unsent));
        }
        let mut names = self.0.keys();
        match names.find(|name| !signed.contains(name) && !UNSIGNED.contains(name)) {
            Some(name) => Err(fault(name, HeaderFault::Unsigned)),
            None => Ok(()),
        }
    }

    /// As they are sent on; the length is made from the body.
    fn request_headers(&self) -> Result<HeaderMap, Fault> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.0 {
            if *name == LENGTH {
                continue;
            }
            let mut value =
                HeaderValue::from_str(value).map_err(|_| fault(name, HeaderFault::Value))?;
            value.set_sensitive(matches!(*name, AUTHORIZATION | TOKEN));
            headers.insert(HeaderName::from_static(name), value);
        }
        Ok(headers)
    }
}

/// `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/sts/aws4_request, SignedHeaders=a;b, Signature=HEX`.
struct Authorization<'a> {
    date: &'a str,
    signed: Vec<&'a str>,
}

impl<'a> Authorization<'a> {
    fn parse(text: &'a str) -> Result<Self, Fault> {
        let bad = |what| Fault::Authorization { what };
        let rest = text.strip_prefix("AWS4-HMAC-SHA256 Credential=");
        let rest = rest.ok_or_else(|| bad("does not begin with `AWS4-HMAC-SHA256 Credential=`"))?;
        let parts: Vec<&str> = rest.split(", ").collect();
        let [credential, signed, signature] = *parts.as_slice() else {
            return Err(bad(
                "does not have the parts Credential, SignedHeaders and Signature",
            ));
        };
        let credential: Vec<&str> = credential.split('/').collect();
        let [key, date, region, "sts", "aws4_request"] = *credential.as_slice() else {
            return Err(bad(
                "has a Credential that is not `KEY/DATE/REGION/sts/aws4_request`",
            ));
        };
        let is_key = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
        if !(16..=128).contains(&key.len()) || !key.bytes().all(is_key) {
            return Err(bad("has a Credential without an access key"));
        }
        let is_region = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=32).contains(&region.len()) || !region.bytes().all(is_region) {
            return Err(bad("has a Credential without a region"));
        }
        let signed: Option<Vec<&str>> = signed
            .strip_prefix("SignedHeaders=")
            .map(|names| names.split(';').collect());
        let signed = signed.ok_or_else(|| bad("has no SignedHeaders"))?;
        if !signed.is_sorted_by(|one, next| one < next) {
            return Err(bad("has SignedHeaders that are not in order, each once"));
        }
        let signature = signature.strip_prefix("Signature=").unwrap_or_default();
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if signature.len() != 64 || !signature.bytes().all(is_hex) {
            return Err(bad("has no Signature of 64 hexadecimal digits"));
        }
        Ok(Self { date, signed })
    }
}

/// That the request is dated in the last five minutes, and its credential on the same day.
fn check_date(date: &str, of_credential: &str, now: Timestamp) -> Result<(), Fault> {
    let at = moment(date).ok_or_else(|| fault(DATE, HeaderFault::Value))?;
    if date
        .strip_prefix(of_credential)
        .is_none_or(|rest| !rest.starts_with('T'))
    {
        return Err(Fault::Authorization {
            what: "has a Credential of another day than `x-amz-date`",
        });
    }
    let age = now.duration_since(at);
    if age > MAX_AGE {
        return Err(Fault::Old { at, now });
    }
    if age < -MAX_AHEAD {
        return Err(Fault::Ahead { at, now });
    }
    Ok(())
}

/// `YYYYMMDDTHHMMSSZ`, and no other way to write it.
fn moment(date: &str) -> Option<Timestamp> {
    const FORM: &str = "%Y%m%dT%H%M%SZ";
    let at = DateTime::strptime(FORM, date).ok()?;
    let at = at.to_zoned(TimeZone::UTC).ok()?;
    (at.strftime(FORM).to_string() == date).then(|| at.timestamp())
}

/// What a URL may hold anywhere (RFC 3986 section 2.3).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn fault(name: &str, fault: HeaderFault) -> Fault {
    Fault::Header {
        name: Quoted::new(name),
        fault,
    }
}

/// The only `x-amz-content-sha256` that fits the only body.
static BODY_HASH: LazyLock<String> = LazyLock::new(|| digest::sha256_hex(BODY.as_bytes()));
