//! Deploys that are no sync: what they make of an application, and whether that moves what runs.
//!
//! A change is decided on the application as it is *and* as it would be: whoever may change a
//! staging application must not make a prod application of it. What moves what runs, or arms Argo CD
//! to move it, is blocked where tests are required, since its commits are checked nowhere; what only
//! disturbs (delete, terminate, restart, scale) is a matter of policy.

use serde_json::{Value, json};

use super::{Planned, about, ask, refused, requires_tests, tests_anywhere, unchecked};
use crate::app::App;
use crate::argocd::client::{self, Refresh};
use crate::argocd::operation::Operation;
use crate::argocd::request::{AppTarget, Body, Call, ResourceChange};
use crate::gate::Finding;
use crate::identity::Caller;
use crate::json;
use crate::policy::SyncOptions;
use crate::respond::Rejection;

/// Actions on resources that only disturb. Others (a Rollout's `resume` and `promote-full`, actions
/// of one's own) move what runs.
const DISTURBING: [&str; 6] = ["abort", "pause", "restart", "scale", "suspend", "terminate"];

/// Plans `call` on `target`.
///
/// # Errors
/// [`Rejection`]: no such application, Argo CD cannot be asked, an operation is under way.
pub(super) async fn plan(
    app: &App,
    caller: &Caller,
    call: &Call,
    target: &AppTarget,
) -> Result<Vec<Planned>, Rejection> {
    let live = match app
        .argocd
        .application(&target.app, None, Refresh::None)
        .await
    {
        Ok(live) => Some(live),
        Err(client::Error::NoSuchApplication { .. })
            if call.operation == Operation::ApplicationCreate =>
        {
            None
        }
        Err(error) => return Err(refused(&target.app, &error)),
    };
    let writes = matches!(
        call.operation,
        Operation::ApplicationCreate
            | Operation::ApplicationUpdate
            | Operation::ApplicationUpdateSpec
    );
    if writes {
        return write(app, caller, call, target, live.as_ref());
    }
    // Named with a project, Argo CD answers only where it agrees.
    let live = match (live, &target.project) {
        (Some(live), None) => live,
        _ => ask(app, target, Refresh::None).await?,
    };
    let mut planned = about(app, caller, &live)?;
    planned.finding = moves(call).map(|why| {
        let anywhere = call.operation == Operation::ApplicationPatch && tests_anywhere(app);
        if anywhere || requires_tests(app, &planned.facts) {
            unchecked(why)
        } else {
            Finding::Exempt
        }
    });
    planned.sync = SyncOptions::belong_to(call.operation.name()).then(SyncOptions::default);
    Ok(vec![planned])
}

/// Why a change that is no write of the whole object moves what runs; `None` if it only disturbs.
fn moves(call: &Call) -> Option<&'static str> {
    match call.operation {
        Operation::ApplicationRollback => Some(
            "a rollback cannot be checked yet; sync the earlier commit: argocd app sync NAME --revision SHA",
        ),
        Operation::ApplicationPatch => {
            Some("a patch cannot be checked yet; use argocd app set, then argocd app sync")
        }
        Operation::ApplicationPatchResource => {
            Some("a patch of a resource rolls out what is in no commit; change it in Git and sync")
        }
        Operation::ApplicationRunResourceAction | Operation::ApplicationRunResourceActionV2 => {
            let action = action(call);
            let disturbs = action.is_some_and(|action| DISTURBING.contains(&action));
            (!disturbs).then_some("this action moves what runs and cannot be checked yet")
        }
        _ => None,
    }
}

/// The name of the action that a resource call runs.
fn action(call: &Call) -> Option<&str> {
    match &call.body {
        Body::Resource(resource) => match &resource.change {
            ResourceChange::Action { name, .. } => Some(name),
            ResourceChange::Delete | ResourceChange::Patch(_) => None,
        },
        _ => None,
    }
}

/// `Create`, `Update` and `UpdateSpec`.
fn write(
    app: &App,
    caller: &Caller,
    call: &Call,
    target: &AppTarget,
    live: Option<&Value>,
) -> Result<Vec<Planned>, Rejection> {
    let written = written(call).ok_or_else(|| Rejection::BadRequest {
        sentence: "the application in the request cannot be read".to_owned(),
    })?;
    let mut after = about(app, caller, &merged(&written, target, live))?;
    let Some(live) = live else {
        after.finding = objection(app, &written, None, &after)?;
        return Ok(vec![after]);
    };
    let mut before = about(app, caller, live)?;
    let finding = objection(app, &written, Some((live, &before)), &after)?;
    before.finding.clone_from(&finding);
    after.finding = finding;
    let same = before.facts == after.facts;
    Ok(if same {
        vec![before]
    } else {
        vec![before, after]
    })
}

/// Why a write cannot be let through without evidence.
///
/// # Errors
/// [`Rejection::Conflict`] when it moves the destination under a running operation, which would roll
/// out there.
fn objection(
    app: &App,
    written: &Written,
    before: Option<(&Value, &Planned)>,
    after: &Planned,
) -> Result<Option<Finding>, Rejection> {
    let required = requires_tests(app, &after.facts)
        || before.is_some_and(|(_, b)| requires_tests(app, &b.facts));
    let moved = before.is_some_and(|(_, before)| {
        let place = |planned: &Planned| {
            let facts = &planned.facts;
            (
                facts.environment.clone(),
                facts.project.clone(),
                facts.cluster.clone(),
                facts.destination_namespace.clone(),
                facts.component.clone(),
            )
        };
        place(before) != place(after)
    });
    if moved && before.is_some_and(|(live, _)| under_way(live)) {
        return Err(Rejection::Conflict {
            sentence: format!(
                "{} has an operation under way; wait for its end",
                after.facts.app.name
            ),
            next: None,
        });
    }
    let hydrates = written.hydrates && tests_anywhere(app);
    Ok(if hydrates {
        Some(unchecked(
            "a source hydrator writes commits of its own and cannot be checked yet",
        ))
    } else if written.arms {
        let why =
            "automated sync would roll out commits without a check; it needs the admission door";
        Some(if required {
            unchecked(why)
        } else {
            Finding::Exempt
        })
    } else if moved && required {
        Some(unchecked(
            "a move to another environment, project or destination cannot be checked yet",
        ))
    } else {
        None
    })
}

fn under_way(live: &Value) -> bool {
    let running = ["Running", "Terminating"];
    !json::at(live, "/operation").is_null()
        || running.contains(&json::text(live, "/status/operationState/phase"))
}

/// What a write says about where an application belongs.
struct Written {
    /// Labels, where the write replaces them.
    labels: Option<Value>,
    project: Value,
    destination: Value,
    hydrates: bool,
    arms: bool,
}

/// The application as it would be.
fn merged(written: &Written, target: &AppTarget, live: Option<&Value>) -> Value {
    let mut after = live.cloned().unwrap_or_else(|| {
        json!({
            "metadata": {
                "name": target.app.name,
                "namespace": target.app.namespace.as_deref().unwrap_or_default(),
            },
            "spec": {},
        })
    });
    if let Some(labels) = &written.labels {
        json::set(&mut after, "/metadata/labels", labels.clone());
    }
    json::set(&mut after, "/spec/project", written.project.clone());
    json::set(&mut after, "/spec/destination", written.destination.clone());
    after
}

/// What the call writes.
fn written(call: &Call) -> Option<Written> {
    let Body::Application(body) = &call.body else {
        return None;
    };
    let spec_only = call.operation == Operation::ApplicationUpdateSpec;
    let at = |place| json::at(&body.application, place);
    let automated = at("/spec/syncPolicy/automated");
    Some(Written {
        labels: (!spec_only).then(|| at("/metadata/labels").clone()),
        project: at("/spec/project").clone(),
        destination: at("/spec/destination").clone(),
        hydrates: !at("/spec/sourceHydrator").is_null(),
        // Absent `enabled` means enabled.
        arms: !automated.is_null() && *json::at(automated, "/enabled") != Value::Bool(false),
    })
}

/// Whether `call` acts on an `argoproj.io` object through the resource calls of an application: on
/// another application than the one it names, past every check of that one.
#[must_use]
pub fn reaches_argo_objects(call: &Call) -> bool {
    let resource_call = matches!(
        call.operation,
        Operation::ApplicationPatchResource
            | Operation::ApplicationDeleteResource
            | Operation::ApplicationRunResourceAction
            | Operation::ApplicationRunResourceActionV2
    );
    // SECURITY: path, query and JSON are our own canonical form and protobuf text is plain UTF-8,
    // so the group cannot be spelled in another way. Text that merely mentions it is refused too.
    let mentions = |bytes: &[u8]| {
        bytes
            .windows(ARGO_GROUP.len())
            .any(|window| window.eq_ignore_ascii_case(ARGO_GROUP))
    };
    resource_call
        && (mentions(call.forward_path.as_bytes())
            || call.forward_body().map_or(true, |body| mentions(&body)))
}

const ARGO_GROUP: &[u8] = b"argoproj.io";
