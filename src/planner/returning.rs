//! What a rollback does to one application: it rolls out what ran there before, with its parameters and its hooks.
//!
//! What lies in it is not looked at: it was when this was rolled out first, and what Argo CD writes because of it is
//! asked about at the admission door.

use serde_json::Value;

use super::about::{about, environment};
use super::pin::{Commits, pin};
use super::{Plan, Planned, Ran, look_up, unplaced, unread};
use crate::app::App;
use crate::argocd::change::Change;
use crate::deployed;
use crate::gate::{Finding, Place};
use crate::identity::Caller;
use crate::intent::{self, Start};
use crate::names::Component;
use crate::policy::SyncOptions;
use crate::respond::Rejection;
use crate::rollout::ROLLBACK;

/// Plans that `live` is taken to `ran` (sources and revisions, as an entry of its history has them) by `operation`.
///
/// # Errors
/// [`Rejection`]: Argo CD or the store cannot be asked.
pub async fn returning(
    app: &App,
    caller: &Caller,
    live: &Value,
    ran: &Value,
    with_operation: &Value,
) -> Result<Plan, Rejection> {
    let mut planned = about(app, caller, ROLLBACK, live)?;
    planned.changes = vec![Change::Rollback];
    let start = Start::of_operation(with_operation).ok_or(Rejection::Internal)?;
    planned.sync = Some(SyncOptions {
        prune: start.prune,
        force: start.force,
        replace: start.replace,
        ..SyncOptions::default()
    });
    planned.finding = Some(found(app, &mut planned, live, ran).await?);
    planned.writes.push(intent::start_digest(&start));
    Ok(Plan {
        action: ROLLBACK,
        applications: vec![planned],
        ..Plan::default()
    })
}

async fn found(
    app: &App,
    planned: &mut Planned,
    live: &Value,
    ran: &Value,
) -> Result<Finding, Rejection> {
    let placed = environment(app, &planned.facts);
    let component = Component::parse(planned.facts.component.clone());
    let (Some(environment), Ok(component)) = (placed, component) else {
        return Ok(Finding::Blocked {
            gaps: vec![unplaced(&planned.facts)],
        });
    };
    let place = Place {
        environment: &environment.name,
        component: &component,
        varies: &environment.varies,
        admission: app.has_admission_door(),
    };
    let plan = match pin(app, live, Commits::Recorded(ran), place).await? {
        Ok(plan) => plan,
        Err(gaps) => return Ok(Finding::Blocked { gaps }),
    };
    let incumbent = deployed::is_incumbent(&app.store, &plan).await;
    let incumbent = incumbent.map_err(|error| unread(&error))?;
    planned.ran = Ran::of(Some(live), &plan, incumbent);
    let finding = look_up(app, &plan, environment, incumbent).await?;
    planned.plan = Some(plan);
    Ok(finding)
}
