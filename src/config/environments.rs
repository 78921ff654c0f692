//! Environments: which applications belong to each, what is promoted, and what it requires.

use std::collections::BTreeMap;

use super::reader::{Problems, Table};
use crate::evidence::dsse::Signer;
use crate::evidence::verdict::LeastShare;
use crate::gate::{MatchBy, Requirement};
use crate::names::{AppRef, Component, EnvironmentName, SignerName, Suite};
use crate::pattern::Pattern;
use crate::policy::{AMBIGUOUS, Mode, UNASSIGNED};

/// Names that policies use for applications in no environment, or in several.
const RESERVED: [&str; 2] = [UNASSIGNED, AMBIGUOUS];

/// The fields that may differ between environments unless the file says otherwise. Image and
/// parameter overrides are never among them.
const DEFAULT_VARIES: [&str; 5] = [
    "path",
    "helm.valueFiles",
    "kustomize.namespace",
    "kustomize.namePrefix",
    "kustomize.nameSuffix",
];

/// Fields that change what runs and so may never vary.
const NEVER_VARIES: [&str; 9] = [
    "repoURL",
    "targetRevision",
    "chart",
    "helm.parameters",
    "helm.values",
    "helm.valuesObject",
    "helm.fileParameters",
    "kustomize.images",
    "plugin",
];

/// One environment.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Its name, as policies know it.
    pub name: EnvironmentName,
    /// What a refusal does here.
    pub mode: Mode,
    /// Which applications belong to it.
    pub applications: Applications,
    /// How an application's component is found.
    pub component: ComponentRule,
    /// Dotted paths in an Argo CD source that may differ between environments.
    pub varies: Vec<String>,
    /// What must have passed before a deploy; empty requires nothing.
    pub requires: Vec<Requirement>,
}

/// A rule that an application fits when every given part fits; a part that is empty fits all.
#[derive(Clone, Debug, Default)]
pub struct Applications {
    /// Patterns of the application's name, by [`fits`]; one must fit.
    pub names: Vec<Pattern>,
    /// Patterns of the application's project; one must fit.
    pub projects: Vec<Pattern>,
    /// Patterns of the destination cluster's name or URL; one must fit.
    pub clusters: Vec<Pattern>,
    /// Patterns of the destination namespace; one must fit.
    pub namespaces: Vec<Pattern>,
    /// Labels that the application must carry, all of them.
    pub labels: Vec<(String, String)>,
}

/// What of an application the rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Traits<'a> {
    /// Its name; without a namespace where that is Argo CD's own.
    pub application: &'a AppRef,
    /// Its Argo CD project.
    pub project: &'a str,
    /// The destination cluster, by name or URL.
    pub cluster: &'a str,
    /// The destination namespace.
    pub namespace: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
}

/// Whether `application` fits `pattern`: `NAME` for Argo CD's own namespace, `NAMESPACE/NAME` for
/// others, so that nobody gets a name's rights by taking it elsewhere.
#[must_use]
pub fn fits(pattern: &Pattern, application: &AppRef) -> bool {
    match (pattern.as_str().split_once('/'), &application.namespace) {
        (None, None) => pattern.matches(&application.name),
        (Some((namespaces, names)), Some(namespace)) => {
            Pattern::new(namespaces).matches(namespace)
                && Pattern::new(names).matches(&application.name)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

impl Applications {
    /// Whether the application with these traits fits.
    #[must_use]
    pub fn matches(&self, traits: Traits<'_>) -> bool {
        let any = |patterns: &[Pattern], text: &str| {
            patterns.is_empty() || patterns.iter().any(|p| p.matches(text))
        };
        let named = |pattern: &Pattern| fits(pattern, traits.application);
        (self.names.is_empty() || self.names.iter().any(named))
            && any(&self.projects, traits.project)
            && any(&self.clusters, traits.cluster)
            && any(&self.namespaces, traits.namespace)
            && self
                .labels
                .iter()
                .all(|(key, value)| traits.labels.get(key) == Some(value))
    }

    fn is_empty(&self) -> bool {
        self.names.is_empty()
            && self.projects.is_empty()
            && self.clusters.is_empty()
            && self.namespaces.is_empty()
            && self.labels.is_empty()
    }
}

/// How an application's component is found.
#[derive(Clone, Debug)]
pub enum ComponentRule {
    /// The value of this label.
    Label(String),
    /// What stands between prefix and suffix of the name: `{component}-staging`.
    Name {
        /// Before the component.
        prefix: String,
        /// Behind it.
        suffix: String,
    },
}

impl ComponentRule {
    /// The component, if the application has one by this rule.
    #[must_use]
    pub fn component(&self, traits: Traits<'_>) -> Option<Component> {
        let text = match self {
            Self::Label(label) => traits.labels.get(label)?.as_str(),
            Self::Name { prefix, suffix } => traits
                .application
                .name
                .strip_prefix(prefix.as_str())?
                .strip_suffix(suffix.as_str())?,
        };
        Component::parse(text).ok()
    }
}

/// To which environment an application belongs.
#[derive(Clone, Copy, Debug)]
pub enum Assignment<'a> {
    /// To two or more, so to none that it could be deployed in.
    Ambiguous(&'a Environment, &'a Environment),
    /// To exactly this one.
    One(&'a Environment),
    /// To none.
    Unassigned,
}

impl<'a> Assignment<'a> {
    /// Finds the environment of the application with these traits.
    #[must_use]
    pub fn of(environments: &'a [Environment], traits: Traits<'_>) -> Self {
        let mut fitting = environments
            .iter()
            .filter(|e| e.applications.matches(traits));
        match (fitting.next(), fitting.next()) {
            (None, _) => Self::Unassigned,
            (Some(one), None) => Self::One(one),
            (Some(first), Some(second)) => Self::Ambiguous(first, second),
        }
    }

    /// The name that policies see.
    #[must_use]
    pub fn name(&self) -> &'a str {
        match self {
            Self::Ambiguous(..) => AMBIGUOUS,
            Self::One(environment) => environment.name.as_str(),
            Self::Unassigned => UNASSIGNED,
        }
    }
}

/// Reads `[[environment]]`.
pub(super) fn read(
    root: &mut Table,
    signers: &[Signer],
    problems: &mut Problems,
) -> Vec<Environment> {
    let mut out: Vec<Environment> = Vec::new();
    let mut named = Vec::new();
    for mut table in root.tables("environment", problems) {
        let key = table.key("name");
        let requires = requirements(&mut table, signers, problems, &mut named);
        let Some(environment) = environment(table, requires, problems) else {
            continue;
        };
        if RESERVED.contains(&environment.name.as_str()) {
            problems.add(
                &key,
                format!(
                    "`{}` is reserved for applications in no or several environments",
                    environment.name
                ),
            );
        }
        if out.iter().any(|other| other.name == environment.name) {
            problems.add(&key, format!("`{}` is declared twice", environment.name));
        }
        out.push(environment);
    }
    told_apart_by_destination(&out, problems);
    for (key, name) in named {
        if !out.iter().any(|environment| environment.name == name) {
            problems.add(key, format!("`{name}` is not an environment of this file"));
        }
    }
    out
}

/// An environment that requires nothing must say where its applications go: told apart by names or
/// labels alone, an application with such a name could be deployed to where tests are required.
fn told_apart_by_destination(environments: &[Environment], problems: &mut Problems) {
    if environments
        .iter()
        .all(|environment| environment.requires.is_empty())
    {
        return;
    }
    for (index, environment) in environments.iter().enumerate() {
        let rule = &environment.applications;
        if environment.requires.is_empty() && rule.clusters.is_empty() && rule.namespaces.is_empty()
        {
            problems.add(
                format!("environment[{index}].applications"),
                "must name clusters or namespaces, since this environment requires nothing and another \
                 requires tests: whoever deploys here could deploy there",
            );
        }
    }
}

fn environment(
    mut table: Table,
    requires: Vec<Requirement>,
    problems: &mut Problems,
) -> Option<Environment> {
    let name = table.required_parsed("name", problems, |text| EnvironmentName::parse(text));
    let mode = table.required_parsed("mode", problems, |text| match text {
        "enforce" => Ok(Mode::Enforce),
        "observe" => Ok(Mode::Observe),
        other => Err(format!(
            "`{other}` is not a mode; use `enforce` or `observe`"
        )),
    });
    let applications = applications(&mut table, problems);
    let component = table.required_parsed("component", problems, component_rule);
    let varies = if table.has("varies") {
        table.texts("varies", problems)
    } else {
        DEFAULT_VARIES.map(String::from).to_vec()
    };
    for field in &varies {
        if NEVER_VARIES.iter().any(|never| covers(field, never)) {
            problems.add(
                table.key("varies"),
                format!("`{field}` changes what runs, so it may never vary"),
            );
        }
    }
    table.finish(problems);
    Some(Environment {
        name: name?,
        mode: mode?,
        applications,
        component: component?,
        varies,
        requires,
    })
}

/// Whether leaving out `field` would leave out (part of) `never`.
fn covers(field: &str, never: &str) -> bool {
    field == never
        || field
            .strip_prefix(never)
            .is_some_and(|rest| rest.starts_with('.'))
        || never
            .strip_prefix(field)
            .is_some_and(|rest| rest.starts_with('.'))
}

fn applications(table: &mut Table, problems: &mut Problems) -> Applications {
    let key = table.key("applications");
    let mut rule = table.required_table("applications", problems);
    let patterns = |texts: Vec<String>| texts.into_iter().map(Pattern::new).collect::<Vec<_>>();
    let applications = Applications {
        names: patterns(rule.texts("names", problems)),
        projects: patterns(rule.texts("projects", problems)),
        clusters: patterns(rule.texts("clusters", problems)),
        namespaces: patterns(rule.texts("namespaces", problems)),
        labels: rule.pairs("labels", problems),
    };
    rule.finish(problems);
    if applications.is_empty() {
        problems.add(key, "fits every application; name at least one of names, projects, clusters, namespaces, labels");
    }
    applications
}

fn component_rule(text: &str) -> Result<ComponentRule, String> {
    if let Some(label) = text.strip_prefix("label:") {
        return Ok(ComponentRule::Label(label.trim().to_owned()));
    }
    match text.split_once("{component}") {
        Some((prefix, suffix)) => Ok(ComponentRule::Name {
            prefix: prefix.to_owned(),
            suffix: suffix.to_owned(),
        }),
        None => Err(format!(
            "`{text}` is neither `label:NAME` nor a name with `{{component}}` in it"
        )),
    }
}

/// The names at `signed_by`, each of which must be a signer of the file. An empty list would ask for
/// nothing, where somebody meant to ask for something.
fn signed_by(rule: &mut Table, signers: &[Signer], problems: &mut Problems) -> Vec<SignerName> {
    let key = rule.key("signed_by");
    let is_given = rule.has("signed_by");
    let mut names = Vec::new();
    for text in rule.texts("signed_by", problems) {
        match signers.iter().find(|signer| signer.name.as_str() == text) {
            Some(signer) => names.push(signer.name.clone()),
            None => problems.add(&key, format!("`{text}` is not a [[signer]] of this file")),
        }
    }
    if is_given && names.is_empty() {
        problems.add(key, "names no signer; leave it out to ask for no signature");
    }
    names
}

fn requirements(
    table: &mut Table,
    signers: &[Signer],
    problems: &mut Problems,
    environments: &mut Vec<(String, EnvironmentName)>,
) -> Vec<Requirement> {
    let mut out = Vec::new();
    for mut rule in table.tables("requires", problems) {
        let suite = rule.required_parsed("suite", problems, |text| Suite::parse(text));
        let key = rule.key("environment");
        let environment =
            rule.required_parsed("environment", problems, |text| EnvironmentName::parse(text));
        let max_age = rule.duration("max_age", problems);
        let least_share = rule.percent("least_share", problems);
        let signed_by = signed_by(&mut rule, signers, problems);
        let match_by = rule.parsed("match", problems, |text| match text {
            "commit" => Ok(MatchBy::Commit),
            other => Err(format!("`{other}` is not a way to match; use `commit`")),
        });
        rule.finish(problems);
        if let Some(environment) = &environment {
            environments.push((key, environment.clone()));
        }
        if let (Some(suite), Some(environment)) = (suite, environment) {
            let match_by = match_by.unwrap_or(MatchBy::Commit);
            let least_share = least_share.map_or_else(LeastShare::default, LeastShare::percent);
            out.push(Requirement {
                suite,
                environment,
                max_age,
                least_share,
                match_by,
                signed_by,
            });
        }
    }
    out
}
