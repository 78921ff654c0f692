//! For how long what a caller has opened may go on: no longer than their credential counts.
//!
//! In: a verified caller. Out: a future that ends when the credential has expired, or it, its session, its
//! subject or its issuer was revoked. Streams, terminals and websockets end with it; what is one message is
//! finished.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::app::App;
use crate::forward::Until;
use crate::identity::Caller;

/// When what `caller` opens now has to end. `noted` is told why, for the record.
pub(crate) fn of(app: &Arc<App>, caller: &Arc<Caller>, noted: Arc<OnceLock<String>>) -> Until {
    let (app, caller) = (Arc::clone(app), Arc::clone(caller));
    let mut changes = app.identity.sessions().changes();
    Box::pin(async move {
        loop {
            // First of all, since it may have been revoked while the call was being decided.
            if let Err(reason) = app.identity.sessions().holds(&caller).await {
                // What the caller was told before this, if anything, stays.
                let _ = noted.set(format!("it was ended: {}", reason.code()));
                return crate::respond::printable(&reason.to_string());
            }
            let left = caller.expires_at.duration_since(app.clock.now());
            let left = Duration::try_from(left).unwrap_or_default();
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                () = changes.next() => {}
            }
        }
    })
}
