//! Says that an operation has no decision: in the record, in a count, and to receivers.
//!
//! The identifier of an alarm is made from the operation, so that a crash between its entry and the
//! judgement in the store leaves one entry and one alarm, not two.

use jiff::Timestamp;
use serde_json::json;

use super::ran::Ran;
use crate::app::App;
use crate::argocd::operation::Effect;
use crate::json::set;
use crate::names::DecisionId;
use crate::notify::{Kind, News};
use crate::record::{self, Door, Opening, Word};
use crate::store::NewNotice;

/// What the record calls an operation without a decision.
pub(super) const UNEXPLAINED: &str = "Operation.Unexplained";
/// What the record calls the operations that began before the first look.
pub(super) const BASELINE: &str = "Operation.Baseline";

/// The most operations that one entry lists.
const LISTED: usize = 500;

/// An alarm that is on record.
pub(super) struct Alarm {
    pub(super) decision: DecisionId,
    /// The messages to send.
    pub(super) notices: Vec<NewNotice>,
}

/// Records and counts an alarm about `ran`.
///
/// # Errors
/// [`record::Error`]; it is not on record then.
pub(super) async fn raise(
    app: &App,
    ran: &Ran,
    environment: &str,
    why: &str,
) -> Result<Alarm, record::Error> {
    let (decision, at) = (identifier(ran), app.clock.now());
    let application = &ran.object.application;
    let mut facts = ran.facts();
    set(&mut facts, "/why", json!(why));
    set(&mut facts, "/environment", json!(environment));
    let mut entry = opening(decision, at, UNEXPLAINED, Word::Alarm);
    entry.applications = vec![application.clone()];
    entry.request = facts.clone();
    if app.recorder.note(entry).await? {
        let started_at = ran.started_at;
        tracing::error!(
            %decision, %application, environment, %started_at, why,
            initiated_by = ran.initiated_by, reconstructed = ran.reconstructed,
            "an operation that no decision explains"
        );
        metrics::counter!(
            "syncgate_unexplained_operations_total",
            "environment" => environment.to_owned(),
        )
        .increment(1);
    }
    let news = News {
        kind: Kind::OperationUnexplained,
        id: decision.to_string(),
        at,
        application: application.clone(),
        environments: vec![environment.to_owned()],
        commits: ran.commits(),
        text: format!("an operation of {application} that no decision explains: {why}"),
        see: app.link(decision),
        facts,
    };
    let notices = news.notices(app.config.url.as_str(), &app.config.receivers);
    Ok(Alarm { decision, notices })
}

/// Records which operations began before the first look.
///
/// # Errors
/// [`record::Error`].
pub(super) async fn record_baseline(app: &App, found: &[Ran]) -> Result<(), record::Error> {
    for some in found.chunks(LISTED) {
        let at = app.clock.now();
        let mut entry = opening(DecisionId::new(at), at, BASELINE, Word::Note);
        entry.applications = some
            .iter()
            .map(|ran| ran.object.application.clone())
            .collect();
        let operation = |ran: &Ran| {
            json!({
                "application": ran.object.application,
                "uid": ran.object.uid,
                "started_at": ran.started_at.to_string(),
                "commits": ran.commits(),
                "phase": ran.phase,
            })
        };
        entry.request = json!({ "operations": some.iter().map(operation).collect::<Vec<_>>() });
        app.recorder.note(entry).await?;
    }
    Ok(())
}

/// The same for the same operation, whenever it is asked.
fn identifier(ran: &Ran) -> DecisionId {
    let named = json!([ran.object.uid, ran.started_at.to_string()]);
    DecisionId::of_seen(ran.started_at, &named.to_string())
}

fn opening(decision: DecisionId, at: Timestamp, operation: &str, word: Word) -> Opening {
    let effect = Effect::Deploy.word();
    Opening::new(decision, at, Door::Controller, operation, effect, word)
}
