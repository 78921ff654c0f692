//! People, by `OpenID` Connect ID tokens (`OpenID` Connect Core 1.0 section 3.1.3.7).
//!
//! In: the verified claims of a configured issuer's token. Out: the person and their groups.
//! Refused: tokens for other clients, and those that are not ID tokens though signed by the same
//! key: access, refresh, logout and event tokens, and those of CI jobs; and tokens whose groups are elsewhere.

use std::collections::BTreeSet;
use std::ops::Range;

use jiff::Timestamp;
use serde_json::Value;

use super::Subject;
use super::ci;
use super::config::OidcIssuer;
use super::jwt::{Claims, text_of};
use super::reason::{ClaimFault, Quoted, Reason, Scheme};

/// How tokens of one issuer are read.
#[derive(Debug)]
pub(super) struct Oidc {
    /// The two clients and the further audiences.
    audiences: BTreeSet<String>,
    groups_claim: String,
}

impl Oidc {
    /// The rules of `issuer`.
    pub(super) fn new(issuer: &OidcIssuer) -> Self {
        let clients = [&issuer.client_ids.cli]
            .into_iter()
            .chain(&issuer.client_ids.ui);
        Self {
            audiences: clients.chain(&issuer.audiences).cloned().collect(),
            groups_claim: issuer.groups_claim.clone(),
        }
    }

    /// The person that `claims` name, their groups, and when the token counts.
    pub(super) fn read(
        &self,
        claims: &Claims,
        now: Timestamp,
    ) -> Result<(Subject, BTreeSet<String>, Range<Timestamp>), Reason> {
        let window = claims.window(now, Scheme::Oidc)?;
        self.check_audience(claims)?;
        check_purpose(claims)?;
        let subject = Subject::OidcUser {
            subject: claims.subject()?.to_owned(),
            email: email(claims)?,
            name: display_name(claims)?,
        };
        self.check_groups_are_here(claims)?;
        let groups = claims.texts(&self.groups_claim)?.unwrap_or_default();
        Ok((subject, groups, window))
    }

    /// Refuses a token that says that its groups are elsewhere (`OpenID` Connect Core 1.0 section 5.6.2), as Entra ID
    /// does for who is in more than 200: read as no groups, it would take from people what they may do without a word
    /// about the reason, and a policy that forbids something to a group would not see it.
    fn check_groups_are_here(&self, claims: &Claims) -> Result<(), Reason> {
        let elsewhere = match claims.value("_claim_names") {
            None => false,
            Some(Value::Object(names)) => names.contains_key(&self.groups_claim),
            Some(_) => return Err(claims.fault("_claim_names", ClaimFault::WrongType)),
        };
        // What Entra ID says instead in a token that a browser gets by a redirect.
        let left_out = self.groups_claim == "groups" && flag(claims, "hasgroups")? == Some(true);
        if elsewhere || left_out {
            return Err(Reason::GroupsElsewhere {
                issuer: Quoted::new(claims.issuer()),
            });
        }
        Ok(())
    }

    /// At least one audience is ours; and `azp`, which must be there when there are several and
    /// counts whenever it is there, is ours too.
    fn check_audience(&self, claims: &Claims) -> Result<(), Reason> {
        let found = claims.audiences(&self.audiences, Scheme::Oidc)?;
        match claims.text("azp")? {
            None if found.len() > 1 => Err(claims.fault("azp", ClaimFault::Missing)),
            Some(party) if !self.audiences.contains(party) => Err(Reason::AuthorizedParty {
                party: Quoted::new(party),
            }),
            _ => Ok(()),
        }
    }
}

/// An ID token of a person. A job of CI chooses the audience of its token, and some issuers (GitLab) are
/// those of people too: what is a person's by its groups must not be had by a job. Keycloak marks its tokens by a claim `typ` (`ID`, `Bearer`, `Refresh`); event and
/// logout tokens have `events` (RFC 8417 section 2.2, `OpenID` Connect Back-Channel Logout 2.4).
fn check_purpose(claims: &Claims) -> Result<(), Reason> {
    if claims.value("events").is_some() {
        return Err(Reason::Type {
            found: Quoted::new("events"),
        });
    }
    if let Some(mark) = ci::MARKS.into_iter().find(|m| claims.value(m).is_some()) {
        return Err(Reason::Type {
            found: Quoted::new(mark),
        });
    }
    match claims.text("typ")? {
        None | Some("ID") => Ok(()),
        Some(other) => Err(Reason::Type {
            found: Quoted::new(other),
        }),
    }
}

/// The `name` claim, for people to read only: nobody is kept out for a name that is empty, or has
/// joiners in it as some scripts need, but it is not shown then.
fn display_name(claims: &Claims) -> Result<Option<String>, Reason> {
    match claims.value("name").map(text_of) {
        Some(Ok(name)) => Ok(Some(name.to_owned())),
        Some(Err(ClaimFault::WrongType)) => Err(claims.fault("name", ClaimFault::WrongType)),
        None | Some(Err(_)) => Ok(None),
    }
}

/// The `email` claim, unless the issuer says that it is not verified. One that is not plainly one
/// address is a reason to refuse the token: `a@evil.example@corp.example` has fooled others.
fn email(claims: &Claims) -> Result<Option<String>, Reason> {
    let Some(email) = claims.text("email")? else {
        return Ok(None);
    };
    if !is_plain_address(email) {
        return Err(claims.fault("email", ClaimFault::Unclean));
    }
    let verified = match flag(claims, "email_verified")? {
        Some(verified) => verified,
        // Entra ID, which names the tenant, has another flag for it, and only if it is asked for. Without it the
        // address is whatever somebody has entered.
        None => match domain_verified(claims)? {
            Some(verified) => verified,
            None => claims.value("tid").is_none(),
        },
    };
    Ok(verified.then(|| email.to_owned()))
}

/// A flag, which some providers write as text.
fn flag(claims: &Claims, name: &str) -> Result<Option<bool>, Reason> {
    match claims.value(name) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(Value::String(text)) if text == "true" => Ok(Some(true)),
        Some(Value::String(text)) if text == "false" => Ok(Some(false)),
        Some(_) => Err(claims.fault(name, ClaimFault::WrongType)),
    }
}

/// Entra ID's flag for the domain of `email`, of which it writes 1 and 0 too.
fn domain_verified(claims: &Claims) -> Result<Option<bool>, Reason> {
    let name = "xms_edov";
    match claims.value(name) {
        Some(Value::String(text)) if text == "1" => Ok(Some(true)),
        Some(Value::String(text)) if text == "0" => Ok(Some(false)),
        Some(Value::Number(number)) => match number.as_u64() {
            Some(1) => Ok(Some(true)),
            Some(0) => Ok(Some(false)),
            _ => Err(claims.fault(name, ClaimFault::WrongType)),
        },
        _ => flag(claims, name),
    }
}

/// One `@` with something on either side, and only visible ASCII: letters of other scripts look
/// like those of other people.
fn is_plain_address(email: &str) -> bool {
    let visible = email
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b"\"(),:;<>[\\]".contains(&b));
    visible
        && email.split_once('@').is_some_and(|(local, host)| {
            !local.is_empty() && !host.is_empty() && !host.contains('@')
        })
}
