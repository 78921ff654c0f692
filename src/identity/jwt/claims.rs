//! Claims of a token whose signature was verified.
//!
//! In: the payload. Out: the registered claims, checked (RFC 7519 section 4.1), and the others by
//! type: a claim of another type than asked for is an error, never absent.

use std::collections::BTreeSet;
use std::ops::Range;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use crate::identity::reason::{ClaimFault, Quoted, Reason, Scheme};

/// How far `nbf` and `iat` may be ahead of our clock. `exp` gets no such grace: what ends, ends.
pub const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// The longest text a claim may have.
const TEXT_LIMIT: usize = 512;

/// The most elements that a list of groups or audiences may have.
const LIST_LIMIT: usize = 2_000;

/// The claims of a verified token.
pub struct Claims {
    issuer: String,
    claims: Map<String, Value>,
}

impl Claims {
    /// Only [`super::UnverifiedToken::verify`] makes them.
    pub(super) fn new(issuer: String, claims: Map<String, Value>) -> Self {
        Self { issuer, claims }
    }

    /// The issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The time in which the token counts, if `now` is in it: from the later of `nbf` and `iat`
    /// (less [`LEEWAY`]) to `exp`, which must be there.
    ///
    /// # Errors
    /// [`Reason::Expired`], [`Reason::NotYetValid`], or [`Reason::Claim`].
    pub fn window(&self, now: Timestamp, scheme: Scheme) -> Result<Range<Timestamp>, Reason> {
        let at = self.time("exp")?.ok_or_else(|| self.missing("exp"))?;
        if at <= now {
            return Err(Reason::Expired { scheme, at, now });
        }
        let times = [self.time("nbf")?, self.time("iat")?];
        let Some(from) = times.into_iter().flatten().max() else {
            return Ok(Timestamp::MIN..at);
        };
        let start = from.saturating_sub(LEEWAY).unwrap_or(Timestamp::MIN);
        if now < start {
            return Err(Reason::NotYetValid { from, now });
        }
        Ok(start..at)
    }

    /// When the token was issued (`iat`), if it says so.
    ///
    /// # Errors
    /// [`Reason::Claim`].
    pub fn issued_at(&self) -> Result<Option<Timestamp>, Reason> {
        self.time("iat")
    }

    /// Checks how long the token lives in all, from `iat` to `exp`, both of which must be there.
    ///
    /// # Errors
    /// [`Reason::Lifetime`] if that is more than `longest`, or [`Reason::Claim`].
    pub fn lives_at_most(&self, longest: SignedDuration) -> Result<(), Reason> {
        let from = self.time("iat")?.ok_or_else(|| self.missing("iat"))?;
        let to = self.time("exp")?.ok_or_else(|| self.missing("exp"))?;
        let lifetime = to.duration_since(from);
        if lifetime > longest {
            return Err(Reason::Lifetime { lifetime, longest });
        }
        Ok(())
    }

    /// The audiences, of which at least one must be in `wanted`.
    ///
    /// # Errors
    /// [`Reason::Audience`], or [`Reason::Claim`] if there is none.
    pub fn audiences(
        &self,
        wanted: &BTreeSet<String>,
        scheme: Scheme,
    ) -> Result<BTreeSet<String>, Reason> {
        let found = self.texts("aud")?.ok_or_else(|| self.missing("aud"))?;
        if found.is_disjoint(wanted) {
            return Err(Reason::Audience {
                scheme,
                found: Quoted::list(&found),
                wanted: Quoted::list(wanted),
            });
        }
        Ok(found)
    }

    /// The subject, which must be there.
    ///
    /// # Errors
    /// [`Reason::Claim`].
    pub fn subject(&self) -> Result<&str, Reason> {
        self.text("sub")?.ok_or_else(|| self.missing("sub"))
    }

    /// The claim `name` as text without control characters, not empty; `None` if it is not there.
    ///
    /// # Errors
    /// [`Reason::Claim`].
    pub fn text(&self, name: &str) -> Result<Option<&str>, Reason> {
        let Some(value) = self.claims.get(name) else {
            return Ok(None);
        };
        text_of(value)
            .map(Some)
            .map_err(|fault| self.fault(name, fault))
    }

    /// The claim `name`, one text or a list of them; `None` if it is not there.
    ///
    /// # Errors
    /// [`Reason::Claim`], also if one of them is not a text.
    pub fn texts(&self, name: &str) -> Result<Option<BTreeSet<String>>, Reason> {
        let texts = match self.claims.get(name) {
            None => return Ok(None),
            Some(Value::Array(items)) if items.len() > LIST_LIMIT => Err(ClaimFault::TooLong),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| text_of(item).map(str::to_owned))
                .collect(),
            Some(value) => text_of(value).map(|text| BTreeSet::from([text.to_owned()])),
        };
        texts.map(Some).map_err(|fault| self.fault(name, fault))
    }

    /// The claim `name` as it is.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }

    /// The reason for refusing the claim `name`.
    #[must_use]
    pub fn fault(&self, name: &str, fault: ClaimFault) -> Reason {
        Reason::Claim {
            issuer: Quoted::new(&self.issuer),
            claim: Quoted::new(name),
            fault,
        }
    }

    fn missing(&self, name: &str) -> Reason {
        self.fault(name, ClaimFault::Missing)
    }

    /// A `NumericDate` (RFC 7519 section 2): seconds, a fraction is cut off.
    fn time(&self, name: &str) -> Result<Option<Timestamp>, Reason> {
        let Some(value) = self.claims.get(name) else {
            return Ok(None);
        };
        let wrong = || self.fault(name, ClaimFault::WrongType);
        let seconds = match (value.as_i64(), value.as_f64()) {
            (Some(whole), _) => whole,
            (None, Some(fraction)) => whole_seconds(fraction).ok_or_else(wrong)?,
            (None, None) => return Err(wrong()),
        };
        Timestamp::from_second(seconds)
            .map(Some)
            .map_err(|_| wrong())
    }
}

/// `fraction` without what follows the point, if that is a time that [`Timestamp`] can hold.
fn whole_seconds(fraction: f64) -> Option<i64> {
    let bound = 1e12;
    if !(-bound..=bound).contains(&fraction) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the bound is far inside what an i64 holds, and the fraction is to be cut off"
    )]
    Some(fraction.trunc() as i64)
}

/// A text that is not empty, not too long, and has no control characters, be they ASCII, Unicode's
/// own, or those that turn the direction of writing (which make one name look like another).
pub(in crate::identity) fn text_of(value: &Value) -> Result<&str, ClaimFault> {
    let text = value.as_str().ok_or(ClaimFault::WrongType)?;
    match text {
        "" => Err(ClaimFault::Empty),
        _ if text.len() > TEXT_LIMIT => Err(ClaimFault::TooLong),
        _ if text.chars().any(is_hidden) => Err(ClaimFault::Unclean),
        _ => Ok(text),
    }
}

/// Whether `c` changes what is seen without being seen.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}
