//! `GET /syncgate/v1/runs/{run}/attestation`: what somebody signed about a run.
//!
//! In: the run. Out: the DSSE envelope that it was finished with, byte for byte as it was sent. Whoever
//! may not read the run is told that there is none.

use http::{Response, StatusCode};

use super::{readable, report_refused};
use crate::app::App;
use crate::body::Body;
use crate::draft::Draft;
use crate::identity::Caller;
use crate::record::Word;
use crate::respond::{Rejection, ok_json};

/// Shows the envelope of `run` to `caller`, if they may read the run.
pub(super) async fn show(
    app: &App,
    draft: &mut Draft,
    caller: &Caller,
    run: &str,
) -> Result<Response<Body>, Rejection> {
    let (id, _) = readable(app, draft, caller, run).await?;
    let envelope = app.runs.attestation(id).await;
    let envelope = envelope.map_err(|error| report_refused(&error))?;
    let envelope = envelope.ok_or_else(|| Rejection::NotFound {
        sentence: "the run was finished without an attestation".to_owned(),
    })?;
    let response = ok_json(StatusCode::OK, envelope.into_bytes(), draft.decision());
    draft.record(app, Word::Permit, response).await
}
