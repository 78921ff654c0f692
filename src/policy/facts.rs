//! A question as Cedar reads it: entities, request and context.
//!
//! Everything is described once, as [`Facts`], and written in two forms: as Cedar's own values, to
//! decide, and as JSON, to record. So what was recorded is what was decided about.

use std::sync::LazyLock;

use cedar_policy::{
    Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression as Expression,
};
use serde_json::{Map, Value, json};

use super::question::{
    ApplicationFacts, Context, Deploying, EndpointFacts, FindingWord, Question, Resource,
    SyncOptions,
};
use crate::identity::Subject;
use crate::identity::ci::CiJob;

/// The entity types of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Action,
    Application,
    ArgoCd,
    Controller,
    Endpoint,
    Environment,
    Gate,
    Person,
    Role,
    Workload,
}

impl Kind {
    pub(super) fn type_name(self) -> &'static EntityTypeName {
        static NAMES: LazyLock<[EntityTypeName; 10]> = LazyLock::new(|| {
            #[expect(clippy::expect_used, reason = "constants, every one used by each test")]
            [
                "Action",
                "Application",
                "ArgoCd",
                "Controller",
                "Endpoint",
                "Environment",
                "Gate",
                "Person",
                "Role",
                "Workload",
            ]
            .map(|name| format!("Syncgate::{name}").parse().expect("a type name"))
        });
        let [
            action,
            application,
            argocd,
            controller,
            endpoint,
            environment,
            gate,
            person,
            role,
            workload,
        ] = &*NAMES;
        match self {
            Self::Action => action,
            Self::Application => application,
            Self::ArgoCd => argocd,
            Self::Controller => controller,
            Self::Endpoint => endpoint,
            Self::Environment => environment,
            Self::Gate => gate,
            Self::Person => person,
            Self::Role => role,
            Self::Workload => workload,
        }
    }

    /// The entity of this type with this id.
    pub(super) fn uid(self, id: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(self.type_name().clone(), EntityId::new(id))
    }
}

/// A value of an attribute, before it takes a form.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fact {
    Entities(Vec<EntityUid>),
    Entity(EntityUid),
    Flag(bool),
    Number(i64),
    Record(Vec<(&'static str, Fact)>),
    Text(String),
    Texts(Vec<String>),
}

/// One entity, before it takes a form.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Thing {
    uid: EntityUid,
    attributes: Vec<(&'static str, Fact)>,
    parents: Vec<EntityUid>,
    tags: Vec<(String, String)>,
}

/// One question, before it takes a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) action: EntityUid,
    principal: Thing,
    resource: Thing,
    context: Vec<(&'static str, Fact)>,
}

/// The question cannot be put in Cedar's form.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unaskable {
    #[error("the context cannot be written")]
    Context(#[source] Box<cedar_policy::ContextCreationError>),
    #[error("an entity cannot be written")]
    Entity(#[source] Box<cedar_policy::EntityAttrEvaluationError>),
    #[error("a value cannot be written")]
    Value(#[source] Box<cedar_policy::ExpressionConstructionError>),
}

impl Facts {
    /// Describes `question`.
    pub(super) fn of(question: &Question<'_>) -> Self {
        Self {
            action: Kind::Action.uid(question.action),
            principal: principal(question),
            resource: resource(question.resource),
            context: context(question),
        }
    }

    /// The same question with another finding.
    pub(super) fn with_finding(&self, finding: FindingWord) -> Self {
        let mut copy = self.clone();
        for (name, fact) in &mut copy.context {
            if *name == "finding" {
                *fact = Fact::Text(finding.word().into());
            }
        }
        copy
    }

    /// The same question where nothing holds the environment.
    pub(super) fn released(&self) -> Self {
        let mut copy = self.clone();
        for (name, fact) in &mut copy.context {
            match *name {
                "freezes" => *fact = Fact::Texts(Vec::new()),
                "stopped" => *fact = Fact::Flag(false),
                _ => {}
            }
        }
        copy
    }

    /// The same question by the same caller with these roles.
    pub(super) fn with_roles(&self, roles: &[EntityUid]) -> Self {
        let mut copy = self.clone();
        copy.principal.parents = roles.to_vec();
        copy
    }

    pub(super) fn principal(&self) -> &EntityUid {
        &self.principal.uid
    }

    pub(super) fn resource(&self) -> &EntityUid {
        &self.resource.uid
    }

    /// The caller and the resource, for Cedar.
    pub(super) fn entities(&self) -> Result<[Entity; 2], Unaskable> {
        Ok([self.principal.to_cedar()?, self.resource.to_cedar()?])
    }

    /// The context, for Cedar.
    pub(super) fn context(&self) -> Result<cedar_policy::Context, Unaskable> {
        let pairs: Vec<(String, Expression)> = self
            .context
            .iter()
            .map(|(name, fact)| Ok(((*name).to_owned(), fact.to_cedar()?)))
            .collect::<Result<_, Unaskable>>()?;
        cedar_policy::Context::from_pairs(pairs).map_err(|e| Unaskable::Context(Box::new(e)))
    }

    /// Request, entities and context as a case in the long form has them: what is needed to decide
    /// again.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "request": {
                "principal": self.principal.uid.to_string(),
                "action": self.action.to_string(),
                "resource": self.resource.uid.to_string(),
                "context": record_json(&self.context),
            },
            "entities": [self.principal.to_json(), self.resource.to_json()],
        })
    }
}

impl Thing {
    fn to_cedar(&self) -> Result<Entity, Unaskable> {
        let attributes: Vec<(String, Expression)> = self
            .attributes
            .iter()
            .map(|(name, fact)| Ok(((*name).to_owned(), fact.to_cedar()?)))
            .collect::<Result<_, Unaskable>>()?;
        let tags = self
            .tags
            .iter()
            .map(|(key, value)| (key.clone(), Expression::new_string(value.clone())));
        Entity::new_with_tags(
            self.uid.clone(),
            attributes,
            self.parents.iter().cloned(),
            tags,
        )
        .map_err(|e| Unaskable::Entity(Box::new(e)))
    }

    fn to_json(&self) -> Value {
        let mut out = json!({
            "uid": uid_json(&self.uid),
            "attrs": record_json(&self.attributes),
            "parents": self.parents.iter().map(uid_json).collect::<Value>(),
        });
        if let (false, Some(fields)) = (self.tags.is_empty(), out.as_object_mut()) {
            let tags: Map<String, Value> = self
                .tags
                .iter()
                .map(|(key, value)| (key.clone(), json!(value)))
                .collect();
            fields.insert("tags".into(), Value::Object(tags));
        }
        out
    }
}

impl Fact {
    fn to_cedar(&self) -> Result<Expression, Unaskable> {
        Ok(match self {
            Self::Entities(uids) => {
                Expression::new_set(uids.iter().cloned().map(Expression::new_entity_uid))
            }
            Self::Entity(uid) => Expression::new_entity_uid(uid.clone()),
            Self::Flag(flag) => Expression::new_bool(*flag),
            Self::Number(number) => Expression::new_long(*number),
            Self::Record(fields) => {
                let fields: Vec<(String, Expression)> = fields
                    .iter()
                    .map(|(name, fact)| Ok(((*name).to_owned(), fact.to_cedar()?)))
                    .collect::<Result<_, Unaskable>>()?;
                Expression::new_record(fields).map_err(|e| Unaskable::Value(Box::new(e)))?
            }
            Self::Text(text) => Expression::new_string(text.clone()),
            Self::Texts(texts) => {
                Expression::new_set(texts.iter().cloned().map(Expression::new_string))
            }
        })
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Entities(uids) => uids.iter().map(entity_json).collect(),
            Self::Entity(uid) => entity_json(uid),
            Self::Flag(flag) => json!(flag),
            Self::Number(number) => json!(number),
            Self::Record(fields) => record_json(fields),
            Self::Text(text) => json!(text),
            Self::Texts(texts) => json!(texts),
        }
    }
}

fn record_json(fields: &[(&'static str, Fact)]) -> Value {
    fields
        .iter()
        .map(|(name, fact)| ((*name).to_owned(), fact.to_json()))
        .collect()
}

fn uid_json(uid: &EntityUid) -> Value {
    json!({ "type": uid.type_name().to_string(), "id": uid.id().unescaped() })
}

fn entity_json(uid: &EntityUid) -> Value {
    json!({ "__entity": uid_json(uid) })
}

fn principal(question: &Question<'_>) -> Thing {
    let caller = question.caller;
    if caller.subject == Subject::Gate {
        return singleton(Kind::Controller.uid("syncgate"));
    }
    let groups = Fact::Texts(caller.groups.iter().cloned().collect());
    let mut attributes = vec![
        ("issuer", Fact::Text(caller.issuer.clone())),
        ("groups", groups),
    ];
    let tests = || tested(question.resource);
    let (kind, own) = match &caller.subject {
        Subject::AwsPrincipal {
            arn, account, name, ..
        } => workload(["aws", arn, account, name], None, tests()),
        Subject::CiJob(job) => {
            let names = [job.provider.word(), &job.subject, "", ""];
            workload(names, Some(job), tests())
        }
        Subject::Gate => (Kind::Controller, Vec::new()),
        Subject::KubernetesAccount {
            namespace, name, ..
        } => {
            let names = ["kubernetes", &caller.display(), namespace, name];
            workload(names, None, tests())
        }
        Subject::KubernetesUser { name } => person(name, ""),
        Subject::OidcUser { subject, email, .. } => {
            person(subject, email.as_deref().unwrap_or_default())
        }
    };
    attributes.extend(own);
    Thing {
        uid: kind.uid(&caller.unique()),
        attributes,
        parents: caller
            .roles
            .iter()
            .map(|role| Kind::Role.uid(role.as_str()))
            .collect(),
        tags: Vec::new(),
    }
}

fn person(subject: &str, email: &str) -> (Kind, Vec<(&'static str, Fact)>) {
    let attributes = [("subject", subject), ("email", email)];
    let attributes = attributes.map(|(name, text)| (name, Fact::Text(text.to_owned())));
    (Kind::Person, attributes.into())
}

fn workload(
    [kind, subject, namespace, name]: [&str; 4],
    job: Option<&CiJob>,
    tests: Vec<EntityUid>,
) -> (Kind, Vec<(&'static str, Fact)>) {
    let text = |text: &str| Fact::Text(text.to_owned());
    let mut attributes = vec![
        ("kind", text(kind)),
        ("subject", text(subject)),
        ("namespace", text(namespace)),
        ("name", text(name)),
        ("tests", Fact::Entities(tests)),
    ];
    attributes.extend(ci_job(job));
    (Kind::Workload, attributes)
}

/// What is said of jobs of CI; of nothing else, where there is none.
fn ci_job(job: Option<&CiJob>) -> [(&'static str, Fact); 8] {
    let text = |of: fn(&CiJob) -> Option<&String>| {
        Fact::Text(job.and_then(of).cloned().unwrap_or_default())
    };
    [
        ("repository", text(|job| Some(&job.repository))),
        ("repository_id", text(|job| Some(&job.repository_id))),
        ("ref", text(|job| job.git_ref.as_ref())),
        (
            "ref_protected",
            Fact::Flag(job.is_some_and(|job| job.ref_protected)),
        ),
        ("workflow", text(|job| job.workflow.as_ref())),
        ("ci_environment", text(|job| job.environment.as_ref())),
        ("event", text(|job| Some(&job.event))),
        ("run", text(|job| Some(&job.run))),
    ]
}

fn tested(resource: Resource<'_>) -> Vec<EntityUid> {
    match resource {
        Resource::Application(app) if app.tested_by_caller => vec![application_uid(app)],
        Resource::Application(_)
        | Resource::ArgoCd
        | Resource::Endpoint(_)
        | Resource::Environment(_)
        | Resource::Gate => Vec::new(),
    }
}

fn application_uid(app: &ApplicationFacts) -> EntityUid {
    Kind::Application.uid(&app.app.to_string())
}

fn resource(resource: Resource<'_>) -> Thing {
    match resource {
        Resource::Application(app) => application(app),
        Resource::ArgoCd => singleton(Kind::ArgoCd.uid("argocd")),
        Resource::Endpoint(endpoint) => self::endpoint(endpoint),
        Resource::Environment(name) => singleton(Kind::Environment.uid(name)),
        Resource::Gate => singleton(Kind::Gate.uid("syncgate")),
    }
}

fn endpoint(endpoint: &EndpointFacts) -> Thing {
    let environment = Kind::Environment.uid(&endpoint.environment);
    Thing {
        uid: Kind::Endpoint.uid(&endpoint.name),
        attributes: vec![
            ("environment", Fact::Entity(environment)),
            ("name", Fact::Text(endpoint.name.clone())),
        ],
        parents: Vec::new(),
        tags: Vec::new(),
    }
}

fn singleton(uid: EntityUid) -> Thing {
    Thing {
        uid,
        attributes: Vec::new(),
        parents: Vec::new(),
        tags: Vec::new(),
    }
}

fn application(app: &ApplicationFacts) -> Thing {
    let text = |text: &str| Fact::Text(text.to_owned());
    Thing {
        uid: application_uid(app),
        attributes: vec![
            (
                "environment",
                Fact::Entity(Kind::Environment.uid(&app.environment)),
            ),
            ("name", text(&app.app.name)),
            (
                "namespace",
                text(app.app.namespace.as_deref().unwrap_or_default()),
            ),
            ("uid", text(app.uid.as_deref().unwrap_or_default())),
            ("project", text(&app.project)),
            ("component", text(&app.component)),
            ("cluster", text(&app.cluster)),
            ("destination_namespace", text(&app.destination_namespace)),
            ("auto_sync", Fact::Flag(app.auto_sync)),
        ],
        parents: Vec::new(),
        tags: app
            .labels
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    }
}

fn context(question: &Question<'_>) -> Vec<(&'static str, Fact)> {
    let context: &Context = &question.context;
    let scheme = match &question.caller.subject {
        Subject::AwsPrincipal { .. } => "aws",
        Subject::CiJob(_) => "ci",
        Subject::Gate => "gate",
        Subject::KubernetesAccount { .. } | Subject::KubernetesUser { .. } => "kubernetes",
        Subject::OidcUser { .. } => "oidc",
    };
    let mut fields = vec![
        ("finding", Fact::Text(context.finding.word().into())),
        ("now", Fact::Number(context.now.as_second())),
        ("bound", Fact::Flag(question.caller.sign_in.bound)),
        ("scheme", Fact::Text(scheme.into())),
        ("wire", Fact::Text(context.wire.into())),
        ("mode", Fact::Text(context.mode.word().into())),
    ];
    fields.extend(context.sync.map(|sync| ("sync", options(sync))));
    fields.extend(context.deploy.iter().flat_map(deploying));
    if let Resource::Endpoint(endpoint) = question.resource {
        fields.push(("method", Fact::Text(endpoint.method.clone())));
        fields.push(("path", Fact::Text(endpoint.path.clone())));
    }
    fields
}

fn deploying(deploy: &Deploying) -> [(&'static str, Fact); 5] {
    let freezes = deploy.freezes.iter().cloned().collect();
    [
        ("moves", Fact::Text(deploy.moves.word().into())),
        ("freezes", Fact::Texts(freezes)),
        ("stopped", Fact::Flag(deploy.stopped)),
        ("break_glass", Fact::Text(deploy.break_glass.word().into())),
        ("rolled_back", Fact::Flag(deploy.rolled_back)),
    ]
}

fn options(sync: SyncOptions) -> Fact {
    Fact::Record(vec![
        ("apply", Fact::Flag(sync.apply)),
        ("dry_run", Fact::Flag(sync.dry_run)),
        ("partial", Fact::Flag(sync.partial)),
        ("prune", Fact::Flag(sync.prune)),
        ("force", Fact::Flag(sync.force)),
        ("replace", Fact::Flag(sync.replace)),
        ("local", Fact::Flag(sync.local)),
    ])
}
