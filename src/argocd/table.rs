//! What is known of each operation: its names on every wire, its effect, where it keeps the name of
//! its application, and what the gate does with it.
//!
//! In: an [`Operation`], a gRPC path, or the segments of a REST path. Out: the [`Row`]. What is not
//! in the table does not exist for the gate.

mod rows;

use std::collections::HashMap;
use std::sync::LazyLock;

use http::Method;
use serde::Serialize;

use super::change::Needs;
use super::operation::{Effect, Operation};
pub(crate) use rows::ROWS;

/// What is known of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which operation.
    pub operation: Operation,
    /// Service and method as policies call them: `ApplicationService.Sync`.
    pub name: &'static str,
    /// The gRPC path: `/application.ApplicationService/Sync`.
    pub grpc: &'static str,
    /// Its REST bindings; `PodLogs` has two, all others one.
    pub rest: &'static [Rest],
    /// Who streams.
    pub kind: Kind,
    /// What it does to the world.
    pub effect: Effect,
    /// Where the request names its application, for the operations on one application.
    pub application: Option<AppFields>,
    /// What must be there before it goes through.
    pub needs: Needs,
    /// What the gate does with it.
    pub handling: Handling,
}

/// One binding of an operation to a REST path, as grpc-gateway has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rest {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: &'static str,
    /// The path; `{field}` is one segment, `{field=**}` all that remain.
    pub template: &'static str,
    /// What the body is: the whole message (`*`), one field of it, or nothing.
    pub body: Option<&'static str>,
    /// Whether an earlier binding takes the same path, so that REST never reaches this one
    /// (grpc-gateway serves the first registered).
    pub shadowed: bool,
}

/// Who streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The client sends many messages, the server one.
    ClientStream,
    /// The client sends one message, the server many.
    ServerStream,
    /// One message each way.
    Unary,
}

/// What the gate does with an operation once the caller may have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// The gate answers itself, wholly or by changing the upstream's answer.
    Answer(Answer),
    /// The upstream's answer carries many applications, projects or the like, and is filtered to
    /// what the caller may read.
    Filter,
    /// The upstream answers.
    Forward,
    /// Refused always; the text says what to do instead (ASCII, one line).
    Refuse(&'static str),
}

/// Which answer of the gate's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `yes` or `no`, from our policies.
    CanI,
    /// The upstream's settings with our sign-in laid over them.
    Settings,
    /// Who the caller is for us.
    UserInfo,
    /// The upstream's version; for the anonymous only the version text.
    Version,
}

/// Where a request names its application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppFields {
    /// The application's name.
    pub name: Field,
    /// The namespace of the Application object.
    pub namespace: Field,
    /// The project that the caller says it is in.
    pub project: Option<Field>,
    /// Whether a request without a name is whole: then it is about many applications.
    pub optional: bool,
}

/// A field of a request message, by its names (dotted) and by its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The JSON names from the request message down: `application.metadata.name`.
    pub path: &'static str,
    numbers: [u32; 3],
}

impl Field {
    /// A field by its dotted names and as many numbers; zeros fill up.
    pub(crate) const fn new(path: &'static str, numbers: [u32; 3]) -> Self {
        Self { path, numbers }
    }

    /// The field numbers from the request message down.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + Clone + use<> {
        // No protobuf field has the number 0: it fills up the shorter paths.
        self.numbers.into_iter().take_while(|n| *n != 0)
    }
}

/// `Create`: all is in the Application that is the body.
const BODY_APPLICATION: AppFields = AppFields {
    name: Field::new("application.metadata.name", [1, 1, 1]),
    namespace: Field::new("application.metadata.namespace", [1, 1, 3]),
    project: Some(Field::new("application.spec.project", [1, 2, 3])),
    optional: false,
};

/// `Update`: the Application is the body, the project it is in now stands beside it.
const UPDATED_APPLICATION: AppFields = AppFields {
    project: Some(Field::new("project", [3, 0, 0])),
    ..BODY_APPLICATION
};

/// `GetManifestsWithFiles`: in the first message of the stream.
const FIRST_CHUNK: AppFields = AppFields {
    name: Field::new("query.name", [1, 1, 0]),
    namespace: Field::new("query.appNamespace", [1, 3, 0]),
    project: Some(Field::new("query.project", [1, 4, 0])),
    optional: false,
};

/// `ListLinks`: here the namespace of the application is called `namespace`.
const LINKS: AppFields = AppFields {
    name: Field::new("name", [1, 0, 0]),
    namespace: Field::new("namespace", [3, 0, 0]),
    project: Some(Field::new("project", [4, 0, 0])),
    optional: false,
};

/// `List` and `Watch`: perhaps one application; `projects` there only selects.
const SELECTED: AppFields = AppFields {
    name: Field::new("name", [1, 0, 0]),
    namespace: Field::new("appNamespace", [7, 0, 0]),
    project: None,
    optional: true,
};

impl Row {
    const fn of(
        operation: Operation,
        name: &'static str,
        grpc: &'static str,
        effect: Effect,
    ) -> Self {
        Self {
            operation,
            name,
            grpc,
            rest: &[],
            kind: Kind::Unary,
            effect,
            application: None,
            needs: Needs::Policy,
            handling: Handling::Forward,
        }
    }

    const fn rest(mut self, rest: &'static [Rest]) -> Self {
        self.rest = rest;
        self
    }

    const fn client_stream(mut self) -> Self {
        self.kind = Kind::ClientStream;
        self
    }

    const fn server_stream(mut self) -> Self {
        self.kind = Kind::ServerStream;
        self
    }

    const fn application(mut self, fields: AppFields) -> Self {
        self.application = Some(fields);
        self
    }

    /// The usual case: the name is field 1, `appNamespace` and `project` have these numbers.
    const fn app(self, name: &'static str, namespace: u32, project: u32) -> Self {
        self.application(AppFields {
            name: Field::new(name, [1, 0, 0]),
            namespace: Field::new("appNamespace", [namespace, 0, 0]),
            project: Some(Field::new("project", [project, 0, 0])),
            optional: false,
        })
    }

    /// What it needs is told by what the request changes.
    const fn by_change(mut self) -> Self {
        self.needs = Needs::ByChange;
        self
    }

    const fn filter(mut self) -> Self {
        self.handling = Handling::Filter;
        self
    }

    const fn answer(mut self, answer: Answer) -> Self {
        self.handling = Handling::Answer(answer);
        self
    }

    const fn refuse(mut self, instead: &'static str) -> Self {
        self.needs = Needs::Refused;
        self.handling = Handling::Refuse(instead);
        self
    }
}

const fn binding(method: &'static str, template: &'static str) -> Rest {
    Rest {
        method,
        template,
        body: None,
        shadowed: false,
    }
}

const fn delete(template: &'static str) -> Rest {
    binding("DELETE", template)
}

const fn get(template: &'static str) -> Rest {
    binding("GET", template)
}

const fn patch(template: &'static str) -> Rest {
    binding("PATCH", template)
}

const fn post(template: &'static str) -> Rest {
    binding("POST", template)
}

const fn put(template: &'static str) -> Rest {
    binding("PUT", template)
}

impl Rest {
    const fn body(mut self, field: &'static str) -> Self {
        self.body = Some(field);
        self
    }

    const fn shadowed(mut self) -> Self {
        self.shadowed = true;
        self
    }

    /// The segments of the template.
    pub(crate) fn segments(&self) -> impl Iterator<Item = Segment> {
        self.template.split('/').skip(1).map(Segment::of)
    }
}

/// One segment of a REST template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// This text.
    Literal(&'static str),
    /// One segment, which is the value of this field.
    One(&'static str),
    /// All that remains, which is the value of this field.
    Rest(&'static str),
}

impl Segment {
    fn of(text: &'static str) -> Self {
        match text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
            None => Self::Literal(text),
            Some(inner) => match inner.strip_suffix("=**") {
                None => Self::One(inner),
                Some(field) => Self::Rest(field),
            },
        }
    }
}

// INVARIANT: the place of a row is the number of its operation; the build fails otherwise.
const _: () = {
    let mut place = 0;
    while place < ROWS.len() {
        #[expect(
            clippy::indexing_slicing,
            reason = "checked by the loop, at build time"
        )]
        let number = ROWS[place].operation as usize;
        assert!(number == place, "the rows are not in the order of the enum");
        place += 1;
    }
};

/// What the table says about `operation`.
pub(crate) fn row(operation: Operation) -> &'static Row {
    #[expect(
        clippy::indexing_slicing,
        reason = "every operation has a row; the assertion above holds at build time"
    )]
    &ROWS[operation as usize]
}

/// The operation with exactly this gRPC path.
pub(crate) fn by_grpc_path(path: &str) -> Option<Operation> {
    static PATHS: LazyLock<HashMap<&'static str, Operation>> =
        LazyLock::new(|| ROWS.iter().map(|row| (row.grpc, row.operation)).collect());
    PATHS.get(path).copied()
}

/// What a REST request was matched with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Matched<'a> {
    pub(crate) row: &'static Row,
    pub(crate) rest: &'static Rest,
    /// The fields that the path sets; the segments of a `**` stay apart.
    pub(crate) fields: Vec<(&'static str, &'a [String])>,
}

/// The operation that REST reaches by `method` and the decoded `segments` of a path.
pub(crate) fn by_rest<'a>(method: &Method, segments: &'a [String]) -> Option<Matched<'a>> {
    ROWS.iter()
        .flat_map(|row| row.rest.iter().map(move |rest| (row, rest)))
        .filter(|(_, rest)| !rest.shadowed && method.as_str() == rest.method)
        .find_map(|(row, rest)| {
            Some(Matched {
                row,
                rest,
                fields: match_template(rest, segments)?,
            })
        })
}

/// Whether any method takes these segments: tells a wrong method from a wrong path.
pub(crate) fn is_rest_path(segments: &[String]) -> bool {
    ROWS.iter()
        .flat_map(|row| row.rest)
        .any(|rest| match_template(rest, segments).is_some())
}

fn match_template<'a>(
    rest: &Rest,
    segments: &'a [String],
) -> Option<Vec<(&'static str, &'a [String])>> {
    let mut fields = Vec::new();
    let mut left = segments;
    for segment in rest.segments() {
        match segment {
            Segment::Literal(text) => {
                let (first, others) = left.split_first()?;
                if first != text {
                    return None;
                }
                left = others;
            }
            Segment::One(field) => {
                let (one, others) = left.split_at_checked(1)?;
                fields.push((field, one));
                left = others;
            }
            Segment::Rest(field) => {
                fields.push((field, left));
                left = &[];
            }
        }
    }
    left.is_empty().then_some(fields)
}

#[cfg(test)]
mod tests;
