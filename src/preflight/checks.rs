//! What can be told from the credential and the clocks alone. Pure.

use jiff::{SignedDuration, Timestamp};

use super::interface::{Check, Subject};
use crate::identity::{self, Caller};

/// How far the caller's clock may be from the gate's. Tokens are judged by the gate's.
const SKEW: SignedDuration = SignedDuration::from_secs(30);
/// How long a credential must outlive the run, so that its end can still be reported.
const RESERVE: SignedDuration = SignedDuration::from_secs(60);

/// Who the caller is, by which scheme, and until when.
pub(super) fn credential(caller: &Caller, now: Timestamp) -> Check {
    let scheme = match caller.subject {
        identity::Subject::CiJob(_) => "a CI job's token",
        identity::Subject::AwsPrincipal { .. } => "a signed request to AWS STS",
        identity::Subject::Gate => "this gate",
        identity::Subject::KubernetesAccount { .. } => "a service-account token",
        identity::Subject::KubernetesUser { .. } => "the cluster",
        identity::Subject::OidcUser { .. } => "an ID token",
    };
    let detail = format!(
        "signed in as {} by {scheme} of {}, which ends {} (in {})",
        caller.display(),
        caller.issuer,
        moment(caller.expires_at),
        span(caller.expires_at.duration_since(now)),
    );
    Check::good(Subject::Credential, detail)
}

/// Whether the credential lives as long as a run of `expected` seconds takes.
pub(super) fn lifetime(caller: &Caller, expected: Option<u64>, now: Timestamp) -> Check {
    let left = caller.expires_at.duration_since(now);
    let takes = i64::try_from(expected.unwrap_or(0)).unwrap_or(i64::MAX);
    let needed = SignedDuration::from_secs(takes).saturating_add(RESERVE);
    let run = match expected {
        Some(_) => format!(
            "the run is expected to take {}",
            span(SignedDuration::from_secs(takes))
        ),
        None => "nobody has said how long the run takes, and no earlier one that passed is known"
            .to_owned(),
    };
    let lives = format!("the token lives for another {}", span(left));
    if left >= needed {
        return Check::good(Subject::Lifetime, format!("{lives}; {run}"));
    }
    if is_renewed(caller) {
        let detail = format!("{lives}; {run}; the kubelet replaces it before it ends");
        let mut check = Check::good(Subject::Lifetime, detail);
        check.mend = Some("read the token file again for each request".to_owned());
        return check;
    }
    let mend = format!(
        "get a token that lives for {} or longer, or split the suite",
        span(needed)
    );
    Check::bad(Subject::Lifetime, format!("{lives}, but {run}"), mend)
}

/// Whether something replaces the credential before it ends: the kubelet does so with the tokens that
/// it projects into pods, and those are bound to their pod.
fn is_renewed(caller: &Caller) -> bool {
    matches!(
        caller.subject,
        identity::Subject::KubernetesAccount { pod: Some(_), .. }
    )
}

/// Whether the caller's clock, which told `theirs`, agrees with `ours`.
pub(super) fn clock(theirs: Timestamp, ours: Timestamp) -> Check {
    let ahead = theirs.duration_since(ours);
    let (seconds, way) = (
        ahead.as_secs().unsigned_abs(),
        if ahead.is_negative() {
            "behind"
        } else {
            "ahead of"
        },
    );
    let detail = format!("the caller's clock is {seconds} seconds {way} the gate's");
    if ahead.abs() <= SKEW {
        let detail = if seconds == 0 {
            "the clocks agree".to_owned()
        } else {
            detail
        };
        return Check::good(Subject::Clock, detail);
    }
    let mend = "set the clock of the caller's machine (NTP), or the gate's: tokens are judged by the gate's";
    Check::bad(Subject::Clock, detail, mend)
}

/// A time in UTC, to the second.
fn moment(at: Timestamp) -> String {
    format!("{}", at.strftime("%Y-%m-%d %H:%M:%SZ"))
}

/// A length of time as people write it: `45 s`, `15 min`, `2 h 5 min`, `3 d`.
fn span(length: SignedDuration) -> String {
    let seconds = length.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{minutes} min"),
        7_200..172_800 if minutes % 60 > 0 => format!("{hours} h {} min", minutes % 60),
        7_200..172_800 => format!("{hours} h"),
        _ => format!("{days} d"),
    }
}

#[cfg(test)]
mod tests;
