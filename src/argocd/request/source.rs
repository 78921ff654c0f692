//! Where the fields of a request are: in protobuf, or in path, query and JSON body.

use bytes::Bytes;
use serde_json::Value;

use super::checked::{self, Checked};
use super::{
    AppTarget, Body, Error, Rollback, SyncRequest, application, is_object_name, patch, resource,
    set, shown,
};
use crate::argocd::classify::Classified;
use crate::argocd::operation::Operation;
use crate::argocd::table::{AppFields, Field, Kind};
use crate::argocd::{framing, json, proto, protobuf};
use crate::names::AppRef;

/// Where `ApplicationResourceRequest` names its resource.
const RESOURCE: [Field; 4] = [
    Field::new("group", [5, 0, 0]),
    Field::new("kind", [6, 0, 0]),
    Field::new("namespace", [2, 0, 0]),
    Field::new("resourceName", [3, 0, 0]),
];

/// `ApplicationQuery.refresh`: its mere presence asks for one.
pub(super) const REFRESH: Field = Field::new("refresh", [2, 0, 0]);

/// Where the fields of a request are.
pub(super) enum Source<'a> {
    /// In a protobuf message.
    Protobuf(&'a [u8]),
    /// In path, query and JSON body.
    Rest {
        classified: &'a Classified,
        /// The body, where the binding has one and it is not empty.
        body: Option<Value>,
    },
}

impl<'a> Source<'a> {
    pub(super) fn of(classified: &'a Classified, body: &'a [u8]) -> Result<Self, Error> {
        let limit = framing::MAX_MESSAGE_BYTES;
        let whole = checked::message_of(classified.operation).is_some();
        Ok(match (classified.rest, classified.operation.row().kind) {
            (None, Kind::ClientStream) => {
                let (first, mut rest) = framing::read_first_message(body, limit)?;
                while !rest.is_empty() {
                    (_, rest) = framing::read_first_message(rest, limit)?;
                }
                Self::Protobuf(first)
            }
            (None, Kind::ServerStream | Kind::Unary) => {
                Self::Protobuf(framing::read_message(body, limit)?)
            }
            (Some(rest), _) => Self::Rest {
                classified,
                body: match rest.body {
                    // Looked at key by key later, where names that are free are known.
                    Some(_) if !body.is_empty() && whole => Some(json::read_free(body)?),
                    Some(_) if !body.is_empty() => Some(json::read(body)?),
                    _ => None,
                },
            },
        })
    }

    /// What is read of `body`.
    pub(super) fn body(&self, operation: Operation, body: &Bytes) -> Result<Body, Error> {
        let Some(message) = checked::message_of(operation) else {
            return Ok(match operation {
                Operation::ApplicationSync => Body::Sync(Box::new(self.sync()?)),
                Operation::AccountCanI => Body::CanI(self.can_i()?),
                _ => {
                    self.require_part(operation)?;
                    Body::Other(self.verbatim(body))
                }
            });
        };
        let request = Checked::read(self, operation, message)?;
        match operation {
            Operation::ApplicationCreate
            | Operation::ApplicationUpdate
            | Operation::ApplicationUpdateSpec => application::read(request, operation),
            Operation::ApplicationDeleteResource
            | Operation::ApplicationPatchResource
            | Operation::ApplicationRunResourceAction
            | Operation::ApplicationRunResourceActionV2 => resource::read(request, operation),
            Operation::ApplicationPatch => patch::read(request),
            Operation::ApplicationRollback => rollback(request),
            Operation::ApplicationSetCreate | Operation::ApplicationSetGenerate => {
                set::read(request, operation)
            }
            Operation::ApplicationSetDelete => set::delete(request),
            _ => Ok(Body::Other(request.forward)),
        }
    }

    /// argocd-server unescapes a text in a part of these messages before it looks whether the part is there, and
    /// dies of it, for everybody. REST names the part in the path.
    fn require_part(&self, operation: Operation) -> Result<(), Error> {
        let part = match operation {
            Operation::RepositoryGetAppDetails => "source",
            Operation::RepositoryUpdate
            | Operation::RepositoryUpdateRepository
            | Operation::RepositoryUpdateWriteRepository => "repo",
            _ => return Ok(()),
        };
        match self {
            Self::Protobuf(message) if protobuf::bytes_at(message, [1])?.is_none() => {
                Err(Error::Missing(part))
            }
            Self::Protobuf(_) | Self::Rest { .. } => Ok(()),
        }
    }

    /// The body to send on for calls that are not written anew. JSON is: keys in order, each once.
    fn verbatim(&self, body: &Bytes) -> Bytes {
        match self {
            Self::Protobuf(_) => body.clone(),
            Self::Rest { body: None, .. } => Bytes::new(),
            Self::Rest {
                body: Some(value), ..
            } => value.to_string().into(),
        }
    }

    /// The application that `fields` name.
    pub(super) fn app(&self, fields: &AppFields) -> Result<Option<AppTarget>, Error> {
        let name = self.name(&fields.name)?;
        let Some(name) = name else {
            return if fields.optional {
                Ok(None)
            } else {
                Err(Error::Missing(fields.name.path))
            };
        };
        let namespace = self.name(&fields.namespace)?;
        let project = match &fields.project {
            Some(field) => self.name(field)?,
            None => None,
        };
        Ok(Some(AppTarget {
            app: AppRef { namespace, name },
            project,
        }))
    }

    /// The name of a Kubernetes object in `field`; an empty one is none.
    fn name(&self, field: &Field) -> Result<Option<String>, Error> {
        match self.text(field)? {
            None => Ok(None),
            Some(text) if text.is_empty() => Ok(None),
            Some(text) if is_object_name(&text) => Ok(Some(text)),
            Some(text) => Err(Error::Name {
                field: field.path,
                value: shown(&text),
            }),
        }
    }

    /// The text in `field`, from where the upstream takes it.
    fn text(&self, field: &Field) -> Result<Option<String>, Error> {
        let (classified, body) = match self {
            Self::Protobuf(message) => {
                return Ok(protobuf::text_at(message, field.numbers())?.map(str::to_owned));
            }
            Self::Rest { classified, body } => (classified, body),
        };
        let in_body = match place_in_body(classified, field.path) {
            Some(place) => text_in(body.as_ref(), place, field.path)?,
            None => None,
        };
        let Some(in_path) = classified.path_param(field.path) else {
            return match place_in_body(classified, field.path) {
                Some(_) => Ok(in_body),
                None => Ok(classified.query.one(field.path)?.map(str::to_owned)),
            };
        };
        match in_body {
            Some(text) if !text.is_empty() && text != in_path => Err(Error::Disagree {
                field: field.path,
                path: shown(in_path),
                body: shown(&text),
            }),
            _ => Ok(Some(in_path.to_owned())),
        }
    }

    /// The application that a read of one resource reads.
    pub(super) fn child(&self, operation: Operation) -> Result<Option<AppRef>, Error> {
        let reads_one = matches!(
            operation,
            Operation::ApplicationGetResource
                | Operation::ApplicationListResourceActions
                | Operation::ApplicationListResourceLinks
        );
        if !reads_one {
            return Ok(None);
        }
        let mut texts = Vec::new();
        for field in &RESOURCE {
            texts.push(self.text(field)?.unwrap_or_default());
        }
        let [group, kind, namespace, name] = <[String; 4]>::try_from(texts).unwrap_or_default();
        let is_application =
            group.eq_ignore_ascii_case("argoproj.io") && kind.eq_ignore_ascii_case("Application");
        Ok(is_application.then(|| AppRef {
            namespace: Some(namespace).filter(|namespace| !namespace.is_empty()),
            name,
        }))
    }

    /// Whether `field`, which no path has, is there at all.
    pub(super) fn has(&self, field: &Field) -> Result<bool, Error> {
        Ok(self.text(field)?.is_some())
    }

    fn sync(&self) -> Result<SyncRequest, Error> {
        match self {
            Self::Protobuf(message) => SyncRequest::from_grpc_message(message),
            Self::Rest { classified, body } => {
                let name = classified.path_param("name").unwrap_or_default();
                SyncRequest::from_json(name, body.clone())
            }
        }
    }

    fn can_i(&self) -> Result<proto::CanIRequest, Error> {
        match self {
            Self::Protobuf(message) => Ok(proto::decode_strict("CanIRequest", message)?),
            Self::Rest { classified, .. } => {
                let field = |name| classified.path_param(name).map(str::to_owned);
                Ok(proto::CanIRequest {
                    resource: field("resource"),
                    action: field("action"),
                    subresource: field("subresource"),
                })
            }
        }
    }
}

fn rollback(request: Checked) -> Result<Body, Error> {
    let id = request.value("id").and_then(Value::as_i64);
    Ok(Body::Rollback(Rollback {
        id: id.ok_or(Error::Missing("id"))?,
        dry_run: request.flag("dryRun"),
        prune: request.flag("prune"),
        forward: request.forward,
    }))
}

/// Where in the body the upstream looks for a field, if it does. An empty place is the body itself.
fn place_in_body(classified: &Classified, field: &'static str) -> Option<&'static str> {
    match classified.rest?.body? {
        "*" => Some(field),
        part => field.strip_prefix(part)?.strip_prefix('.'),
    }
}

fn text_in(
    body: Option<&Value>,
    place: &str,
    field: &'static str,
) -> Result<Option<String>, Error> {
    match body.and_then(|value| json::at(value, place)) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(Error::Name {
            field,
            value: shown(&other.to_string()),
        }),
    }
}
