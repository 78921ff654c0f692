//! Deploys that are no sync: what they make of an application, and whether that moves what runs.
//!
//! A change is decided on the application as it is *and* as it would be: whoever may change a
//! staging application must not make a prod application of it. What moves what runs, or arms Argo CD
//! to move it, is blocked where tests are required, since its commits are checked nowhere; what only
//! disturbs (delete, terminate, restart, scale) is a matter of policy.

use serde_json::{Value, json};

use super::{Planned, about, ask, refused, requires_tests, tests_anywhere, unchecked};
use crate::app::App;
use crate::argocd::classify::Wire;
use crate::argocd::client::{self, Refresh};
use crate::argocd::operation::Operation;
use crate::argocd::request::{AppTarget, Call};
use crate::argocd::{framing, proto, protobuf};
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
            let disturbs = action
                .as_deref()
                .is_some_and(|action| DISTURBING.contains(&action));
            (!disturbs).then_some("this action moves what runs and cannot be checked yet")
        }
        _ => None,
    }
}

/// The name of the action that a resource call runs.
fn action(call: &Call) -> Option<String> {
    let body = call.forward_body().ok()?;
    match call.wire {
        Wire::Grpc | Wire::GrpcWeb => {
            let message = framing::read_message(&body, framing::MAX_MESSAGE_BYTES).ok()?;
            protobuf::text_at(message, [7]).ok()?.map(str::to_owned)
        }
        Wire::Rest | Wire::RestStream => match serde_json::from_slice(&body).ok()? {
            Value::String(action) => Some(action),
            body => Some(json::text(&body, "/action").to_owned()),
        },
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
        after.finding = objection(app, call, &written, None, &after)?;
        return Ok(vec![after]);
    };
    let mut before = about(app, caller, live)?;
    let finding = objection(app, call, &written, Some((live, &before)), &after)?;
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
    call: &Call,
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
    } else if call.arms_auto_sync() == Some(true) {
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

/// Reads what the call writes, from the very bytes that would be sent on.
fn written(call: &Call) -> Option<Written> {
    let body = call.forward_body().ok()?;
    let spec_only = call.operation == Operation::ApplicationUpdateSpec;
    match call.wire {
        Wire::Grpc | Wire::GrpcWeb => {
            let message = framing::read_message(&body, framing::MAX_MESSAGE_BYTES).ok()?;
            if spec_only {
                of_spec_message(protobuf::bytes_at(message, [2]).ok()??, None)
            } else {
                let application = protobuf::bytes_at(message, [1]).ok()??;
                let spec = protobuf::bytes_at(application, [2])
                    .ok()?
                    .unwrap_or_default();
                of_spec_message(spec, Some(application))
            }
        }
        Wire::Rest | Wire::RestStream => {
            let body: Value = serde_json::from_slice(&body).ok()?;
            let spec = if spec_only {
                &body
            } else {
                json::at(&body, "/spec")
            };
            Some(Written {
                labels: (!spec_only).then(|| json::at(&body, "/metadata/labels").clone()),
                project: json::at(spec, "/project").clone(),
                destination: json::at(spec, "/destination").clone(),
                hydrates: !json::at(spec, "/sourceHydrator").is_null(),
            })
        }
    }
}

fn of_spec_message(spec: &[u8], application: Option<&[u8]>) -> Option<Written> {
    use prost::Message as _;
    let labels = match application {
        None => None,
        Some(application) => {
            let application = proto::Application::decode(application).ok()?;
            Some(json!(application.metadata.unwrap_or_default().labels))
        }
    };
    // `spec.sourceHydrator` is field 9.
    let hydrates = protobuf::bytes_at(spec, [9]).ok()?.is_some();
    let spec = proto::ApplicationSpec::decode(spec).ok()?;
    let destination = spec.destination.unwrap_or_default();
    Some(Written {
        labels,
        project: json!(spec.project),
        destination: json!({
            "server": destination.server,
            "namespace": destination.namespace,
            "name": destination.name,
        }),
        hydrates,
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
