//! Jobs of CI, by the ID tokens that GitHub Actions and GitLab CI issue to them.
//!
//! In: the verified claims of a configured issuer's token. Out: the [`CiJob`]: repository, ref,
//! workflow, environment and event, in one form for both. Refused: tokens for another audience, or for
//! several, since each of those who get one could use it here; those that live too long; and those
//! without a claim that roles are given by. Never: a fact read out of `sub`, whose form is the
//! repository's to choose; and no branch for the job of a pull or merge request, whose token may name
//! one that its author does not write to.

use std::collections::BTreeSet;
use std::ops::Range;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Subject;
use super::config::CiIssuer;
use super::jwt::Claims;
use super::reason::{ClaimFault, Quoted, Reason, Scheme};
use crate::pattern::Pattern;

/// Claims that only tokens of CI jobs have: each of these issuers may sign people's ID tokens too, and a
/// job chooses its audience.
pub(super) const MARKS: [&str; 4] = [
    "ci_config_ref_uri",
    "job_workflow_ref",
    "pipeline_id",
    "workflow_ref",
];

/// Who runs the jobs of an issuer: it decides which claims its tokens have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CiProvider {
    /// GitHub Actions.
    GitHub,
    /// GitLab CI.
    GitLab,
}

impl CiProvider {
    /// The provider that configuration calls `word`; `None` for all others.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::GitHub, Self::GitLab]
            .into_iter()
            .find(|provider| provider.word() == word)
    }

    /// Its name in configuration and policies.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
        }
    }

    /// The issuer of the public service; installations of one's own have others.
    #[must_use]
    pub fn public_issuer(self) -> &'static str {
        match self {
            Self::GitHub => "https://token.actions.githubusercontent.com",
            Self::GitLab => "https://gitlab.com",
        }
    }
}

/// One job of CI, as its issuer describes it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CiJob {
    /// Who ran it.
    pub provider: CiProvider,
    /// The exact `sub`.
    pub subject: String,
    /// The repository whose code it ran: `OWNER/NAME`, or `GROUP/.../PROJECT`.
    pub repository: String,
    /// The number of that repository, which a new one of the same name does not have.
    pub repository_id: String,
    /// The full name of the ref (`refs/heads/main`, `refs/tags/v1`, `refs/pull/7/merge`). None where a
    /// pull or merge request started the job and the token names a branch instead.
    pub git_ref: Option<String>,
    /// Whether the ref is a protected one. Not where there is none.
    pub ref_protected: bool,
    /// The file that defines the job, with the ref that it was taken from. For GitHub that is
    /// `job_workflow_ref`: of a job in a reusable workflow it names the file whose steps hold the token,
    /// not the one that called it; `workflow_ref` only where the first is missing. For GitLab
    /// `ci_config_ref_uri`, which it leaves out where the definition is in no repository.
    pub workflow: Option<String>,
    /// The environment of the CI system that the job deploys to.
    pub environment: Option<String>,
    /// What started it: `push`, `schedule`, `pull_request`, `merge_request_event`.
    pub event: String,
    /// The number of the run or pipeline, for the record.
    pub run: String,
}

/// How tokens of one issuer are read.
#[derive(Debug)]
pub(super) struct Ci {
    provider: CiProvider,
    audiences: BTreeSet<String>,
    longest_life: SignedDuration,
}

impl Ci {
    /// The rules of `issuer`.
    pub(super) fn new(issuer: &CiIssuer) -> Self {
        Self {
            provider: issuer.provider,
            audiences: BTreeSet::from([issuer.audience.clone()]),
            longest_life: issuer.longest_life,
        }
    }

    /// The job that `claims` describe, no groups, and when the token counts.
    pub(super) fn read(
        &self,
        claims: &Claims,
        now: Timestamp,
    ) -> Result<(Subject, BTreeSet<String>, Range<Timestamp>), Reason> {
        let window = claims.window(now, Scheme::Ci)?;
        let found = claims.audiences(&self.audiences, Scheme::Ci)?;
        if found != self.audiences {
            return Err(Reason::Audience {
                scheme: Scheme::Ci,
                found: Quoted::list(&found),
                wanted: Quoted::list(&self.audiences),
            });
        }
        claims.lives_at_most(self.longest_life)?;
        let job = match self.provider {
            CiProvider::GitHub => github(claims)?,
            CiProvider::GitLab => gitlab(claims)?,
        };
        Ok((Subject::CiJob(Box::new(job)), BTreeSet::new(), window))
    }
}

/// The job of a GitHub Actions token.
fn github(claims: &Claims) -> Result<CiJob, Reason> {
    let repository = path(claims, "repository")?;
    if repository.matches('/').count() != 1 {
        return Err(claims.fault("repository", ClaimFault::Unclean));
    }
    let event = required(claims, "event_name")?;
    let git_ref = full_ref(claims, "ref", &["refs/"])?;
    // `pull_request_target` runs for anybody's pull request, and says the branch that it goes into.
    let requested = event.starts_with("pull_request");
    let borrowed = requested && !git_ref.starts_with("refs/pull/");
    let workflow = match optional(claims, "job_workflow_ref")? {
        Some(workflow) => workflow,
        None => required(claims, "workflow_ref")?,
    };
    Ok(CiJob {
        provider: CiProvider::GitHub,
        subject: claims.subject()?.to_owned(),
        repository,
        repository_id: number(claims, "repository_id")?,
        ref_protected: flag(claims, "ref_protected")?.unwrap_or(false) && !requested,
        git_ref: Some(git_ref).filter(|_| !borrowed),
        workflow: Some(workflow),
        environment: optional(claims, "environment")?,
        event,
        run: required(claims, "run_id")?,
    })
}

/// The job of a GitLab CI token, of GitLab 16.0 or later.
fn gitlab(claims: &Claims) -> Result<CiJob, Reason> {
    let repository_id = number(claims, "project_id")?;
    let event = required(claims, "pipeline_source")?;
    // A pipeline of a merge request says the branch that comes in. Its child pipelines have another
    // source; if the branch is a fork's, the job runs in another project than the one that is named.
    let elsewhere = optional(claims, "job_project_id")?.is_some_and(|id| id != repository_id);
    let borrowed = elsewhere
        || ["merge_request_event", "external_pull_request_event"].contains(&event.as_str());
    let git_ref = full_ref(claims, "ref_path", &["refs/heads/", "refs/tags/"])?;
    let protected = flag(claims, "ref_protected")?;
    let protected = protected.ok_or_else(|| claims.fault("ref_protected", ClaimFault::Missing))?;
    Ok(CiJob {
        provider: CiProvider::GitLab,
        subject: claims.subject()?.to_owned(),
        repository: path(claims, "project_path")?,
        repository_id,
        git_ref: Some(git_ref).filter(|_| !borrowed),
        ref_protected: !borrowed && protected,
        workflow: optional(claims, "ci_config_ref_uri")?,
        environment: optional(claims, "environment")?,
        event,
        run: required(claims, "pipeline_id")?,
    })
}

fn required(claims: &Claims, name: &str) -> Result<String, Reason> {
    let text = claims.text(name)?;
    text.map(str::to_owned)
        .ok_or_else(|| claims.fault(name, ClaimFault::Missing))
}

/// The text `name`; GitLab writes `null` where it has nothing to say.
fn optional(claims: &Claims, name: &str) -> Result<Option<String>, Reason> {
    match claims.value(name) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => required(claims, name).map(Some),
    }
}

/// A flag, which both write as text.
fn flag(claims: &Claims, name: &str) -> Result<Option<bool>, Reason> {
    match claims.text(name)? {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(claims.fault(name, ClaimFault::Unclean)),
    }
}

/// The decimal number of a repository, which both write as text.
fn number(claims: &Claims, name: &str) -> Result<String, Reason> {
    let text = required(claims, name)?;
    if is_number(&text) {
        Ok(text)
    } else {
        Err(claims.fault(name, ClaimFault::Unclean))
    }
}

/// The path of a repository.
fn path(claims: &Claims, name: &str) -> Result<String, Reason> {
    let text = required(claims, name)?;
    if text.contains('/') && is_path(&text) {
        Ok(text)
    } else {
        Err(claims.fault(name, ClaimFault::Unclean))
    }
}

/// The full name of a ref, which begins with one of `prefixes` and goes on.
fn full_ref(claims: &Claims, name: &str, prefixes: &[&str]) -> Result<String, Reason> {
    let text = required(claims, name)?;
    let is_full = |prefix: &&str| {
        text.strip_prefix(*prefix)
            .is_some_and(|rest| !rest.is_empty())
    };
    if prefixes.iter().any(is_full) {
        Ok(text)
    } else {
        Err(claims.fault(name, ClaimFault::Unclean))
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Names of owners, groups and repositories: letters and digits of ASCII, `-`, `_` and `.`, so that none
/// looks like another.
fn is_path(text: &str) -> bool {
    text.split('/').all(|part| {
        !matches!(part, "" | "." | "..")
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    })
}

/// Which jobs an entry of the configuration is about. Every part that is given must fit; a job that says
/// nothing of a part fits no entry that names one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobMatch {
    /// The issuer, exactly as configured.
    pub issuer: String,
    /// The repository.
    pub repository: RepositoryMatch,
    /// The number of the repository.
    pub repository_id: Option<String>,
    /// The full name of the ref.
    pub git_ref: Option<Pattern>,
    /// The file that defines the job.
    pub workflow: Option<Pattern>,
    /// The environment of the CI system.
    pub environment: Option<Pattern>,
    /// What started the job.
    pub event: Option<Pattern>,
}

impl JobMatch {
    /// Whether `job` of `issuer` is one of them.
    #[must_use]
    pub fn fits(&self, issuer: &str, job: &CiJob) -> bool {
        let Self {
            issuer: known,
            repository,
            repository_id,
            git_ref,
            workflow,
            environment,
            event,
        } = self;
        let fits = |wanted: &Option<Pattern>, found: Option<&String>| {
            let wanted = wanted.as_ref();
            wanted.is_none_or(|wanted| found.is_some_and(|found| wanted.matches(found)))
        };
        known == issuer
            && repository.fits(&job.repository)
            && repository_id
                .as_ref()
                .is_none_or(|id| *id == job.repository_id)
            && fits(git_ref, job.git_ref.as_ref())
            && fits(workflow, job.workflow.as_ref())
            && fits(environment, job.environment.as_ref())
            && fits(event, Some(&job.event))
    }
}

/// Which repositories an entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepositoryMatch {
    /// All of one owner or group (`acme/*`), subgroups too.
    Below(String),
    /// The one with this path.
    Exactly(String),
}

/// Text that names no repositories.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not `OWNER/NAME` (for GitLab the path of the project), or `OWNER/*` for all of an owner"
)]
pub struct BadRepository(String);

impl RepositoryMatch {
    /// The repositories that `text` names.
    ///
    /// # Errors
    /// [`BadRepository`] if it has another form; a pattern such as `acme/shop-*` is one of nobody, and `*` is
    /// one of everybody who has an account there.
    pub fn parse(text: &str) -> Result<Self, BadRepository> {
        match text.strip_suffix("/*") {
            Some(owner) if is_path(owner) => Ok(Self::Below(owner.to_owned())),
            None if text.contains('/') && is_path(text) => Ok(Self::Exactly(text.to_owned())),
            _ => Err(BadRepository(text.to_owned())),
        }
    }

    fn fits(&self, repository: &str) -> bool {
        match self {
            Self::Below(owner) => repository
                .strip_prefix(owner)
                .is_some_and(|rest| rest.starts_with('/')),
            Self::Exactly(exact) => exact == repository,
        }
    }
}

/// Checks the number of a repository as configuration writes it.
///
/// # Errors
/// A sentence, if it is none.
pub fn repository_id(text: &str) -> Result<String, String> {
    if is_number(text) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is not the number of a repository, as text"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://token.actions.githubusercontent.com";

    fn job() -> CiJob {
        CiJob {
            provider: CiProvider::GitHub,
            subject: "repo:acme/shop:ref:refs/heads/main".into(),
            repository: "acme/shop".into(),
            repository_id: "74".into(),
            git_ref: Some("refs/heads/main".into()),
            ref_protected: true,
            workflow: Some("acme/shop/.github/workflows/test.yml@refs/heads/main".into()),
            environment: None,
            event: "push".into(),
            run: "1".into(),
        }
    }

    fn any(repository: &str) -> JobMatch {
        JobMatch {
            issuer: ISSUER.into(),
            repository: RepositoryMatch::parse(repository).unwrap(),
            repository_id: None,
            git_ref: None,
            workflow: None,
            environment: None,
            event: None,
        }
    }

    #[test]
    fn a_repository_fits_by_its_whole_path_or_its_owner() {
        for (entry, repository, expected) in [
            ("acme/shop", "acme/shop", true),
            ("acme/shop", "acme/shop2", false),
            ("acme/shop", "acme/Shop", false),
            ("acme/shop", "evil/acme/shop", false),
            ("acme/*", "acme/shop", true),
            ("acme/*", "acme/group/shop", true),
            ("acme/*", "acme-evil/shop", false),
            ("acme/*", "evil/acme/shop", false),
            ("acme/group/*", "acme/group/shop", true),
            ("acme/group/*", "acme/shop", false),
        ] {
            let job = CiJob {
                repository: repository.into(),
                ..job()
            };
            assert_eq!(
                any(entry).fits(ISSUER, &job),
                expected,
                "{entry} / {repository}"
            );
        }
    }

    #[test]
    fn what_would_fit_nobody_or_everybody_is_no_repository() {
        for text in [
            "",
            "*",
            "/*",
            "*/*",
            "shop",
            "acme/",
            "/shop",
            "acme/shop-*",
            "acme/*/x",
            "acme//x",
            "acme/sh op",
            "../*",
            "https://github.com/acme/shop",
        ] {
            assert_eq!(
                RepositoryMatch::parse(text).unwrap_err().to_string(),
                format!(
                    "`{text}` is not `OWNER/NAME` (for GitLab the path of the project), or \
                     `OWNER/*` for all of an owner"
                )
            );
        }
    }

    #[test]
    fn every_part_that_is_given_must_fit_and_the_issuer_always() {
        let pattern = |text: &str| Some(Pattern::new(text));
        let good = JobMatch {
            repository_id: Some("74".into()),
            git_ref: pattern("refs/heads/main"),
            workflow: pattern("acme/shop/.github/workflows/test.yml@refs/heads/*"),
            event: pattern("push"),
            ..any("acme/shop")
        };
        assert!(good.fits(ISSUER, &job()));
        assert!(!good.fits("https://token.actions.githubusercontent.com/acme", &job()));
        let breaks: [fn(&mut CiJob); 9] = [
            |job| job.repository = "acme/other".into(),
            // Deleted, and made anew under the same name.
            |job| job.repository_id = "75".into(),
            |job| job.git_ref = Some("refs/tags/main".into()),
            |job| job.git_ref = Some("refs/heads/main2".into()),
            |job| job.git_ref = None,
            |job| job.workflow = Some("acme/shop/.github/workflows/x.yml@refs/heads/main".into()),
            |job| job.workflow = None,
            |job| job.event = "pull_request".into(),
            |job| job.event = String::new(),
        ];
        for (place, wrong) in breaks.into_iter().enumerate() {
            let mut job = job();
            wrong(&mut job);
            assert!(!good.fits(ISSUER, &job), "{place}");
        }
        // What is not there fits no pattern, not even the widest.
        let anywhere = JobMatch {
            environment: pattern("*"),
            ..any("acme/shop")
        };
        assert!(!anywhere.fits(ISSUER, &job()));
    }

    #[test]
    fn a_stored_job_is_read_back() {
        let subject = Subject::CiJob(Box::new(job()));
        let json = serde_json::to_value(&subject).unwrap();
        assert_eq!(json["kind"], "ci-job");
        assert_eq!(json["provider"], "github");
        assert!(serde_json::from_value::<Subject>(json).unwrap() == subject);
    }
}
