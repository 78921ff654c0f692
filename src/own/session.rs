//! `/syncgate/v1/sessions`: who is signed in, and taking that back.
//!
//! In: a session, a subject or an issuer, and a reason. Out: that nothing of it counts any more, streams that
//! are open included. To look and to revoke are actions of their own. Never: a token, nor anything from which
//! one could be made.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::json;

use super::{Failed, answer, ask, internal, invalid, recorded};
use crate::app::App;
use crate::body::Body;
use crate::draft::Draft;
use crate::evidence::run;
use crate::freeze;
use crate::identity::Caller;
use crate::identity::interface::{Revoke, RevokedSession, SessionView, SessionViews};
use crate::names::DecisionId;
use crate::policy::Resource;
use crate::respond::Rejection;
use crate::store::{self, Revoked, RevokedFor};

/// The sessions that go on.
pub(super) async fn list(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
) -> Result<Response<Body>, Rejection> {
    ask(app, draft, caller, "Session.read", Resource::Gate)?;
    let rows = app.store.sessions(app.clock.now(), store::MAX_ROWS).await;
    let rows = rows.map_err(|error| internal(&error))?;
    let mut sessions = Vec::new();
    for row in rows {
        // A subject or an issuer that was revoked has none, whatever the row says.
        if app
            .identity
            .sessions()
            .not_revoked(&row.caller)
            .await
            .is_ok()
        {
            sessions.push(SessionView::from(row));
        }
    }
    answer(app, draft, StatusCode::OK, &SessionViews { sessions }).await
}

/// What is to be revoked.
enum Target {
    All(RevokedFor),
    One(DecisionId),
}

/// Revokes for `caller`, if the policies let them.
pub(super) async fn revoke(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    body: &Bytes,
) -> Result<Response<Body>, Rejection> {
    let asked: Revoke = run::read(body).map_err(|error| invalid(&error))?;
    let reason = freeze::reason(&asked.reason).map_err(|error| Rejection::BadRequest {
        sentence: format!("`reason` {error}"),
    })?;
    let target = target(app, &asked)?;
    draft.facts(
        Vec::new(),
        json!({
            "session": asked.session, "subject": asked.subject, "issuer": asked.issuer,
            "reason": reason,
        }),
    );
    ask(app, draft, caller, "Session.revoke", Resource::Gate)?;
    let revoked = Revoked {
        by: caller.display(),
        at: app.clock.now(),
        reason,
        decision: draft.decision(),
    };
    let work = async {
        let sessions = app.identity.sessions();
        let done = match target {
            Target::One(session) => sessions.revoke(session, revoked).await,
            Target::All(of) => sessions.revoke_all(of, revoked).await.map(|()| true),
        };
        let done = done.map_err(|error| match error {
            store::Error::Behind { .. } => Rejection::RecordBehind,
            other => internal(&other),
        })?;
        if !done {
            let sentence = "there is no such session, or it was revoked before".to_owned();
            return Err(Failed::from(Rejection::NotFound { sentence }));
        }
        tracing::info!(by = caller.display(), "credentials revoked");
        Ok(RevokedSession { revoked: true })
    };
    recorded(app, draft, StatusCode::OK, work).await
}

/// What is to be revoked. A name that nobody has would be revoked in vain, and unnoticed.
fn target(app: &App, asked: &Revoke) -> Result<Target, Rejection> {
    let bad = |sentence: &str| Rejection::BadRequest {
        sentence: sentence.to_owned(),
    };
    match (&asked.session, &asked.subject, &asked.issuer) {
        (Some(session), None, None) => {
            let id = ulid::Ulid::from_string(session);
            let id = id.map_err(|_| bad("`session` is not the id of a session"))?;
            Ok(Target::One(DecisionId(id)))
        }
        (None, Some(subject), None) => {
            let issuer = subject.split_once('#').map(|(issuer, _)| issuer);
            if !issuer.is_some_and(|issuer| app.identity.trusts(issuer)) {
                return Err(bad(
                    "`subject` is not ISSUER#SUBJECT of an issuer of this gate; the log has those of callers",
                ));
            }
            Ok(Target::All(RevokedFor::Subject(subject.clone())))
        }
        (None, None, Some(issuer)) if app.identity.trusts(issuer) => {
            Ok(Target::All(RevokedFor::Issuer(issuer.clone())))
        }
        (None, None, Some(_)) => Err(bad("`issuer` is not one of this gate, byte by byte")),
        _ => Err(bad("give one of `session`, `subject` and `issuer`")),
    }
}
