//! Jobs of CI: who issues their tokens, and which of them an entry is about.
//!
//! In: the tables of `[[ci]]`, and the tables `ci` of roles and workloads. Out: checked values.
//! Refused: an issuer that is not one of jobs, and what would fit no job, or anybody's.

use std::path::Path;

use super::reader::{Problems, Table};
use super::sections::{Issuer, IssuerKind, file, issuer, trusted_url};
use crate::identity::ci::{self, CiProvider, JobMatch, RepositoryMatch};
use crate::pattern::Pattern;

/// One table of `[[ci]]`.
pub(super) fn read(mut table: Table, base: &Path, problems: &mut Problems) -> Option<Issuer> {
    let provider = table.required_parsed("provider", problems, |word| {
        CiProvider::from_word(word)
            .ok_or_else(|| format!("`{word}` is not a provider; use `github` or `gitlab`"))
    });
    let named = table.has("issuer");
    let url = table.parsed("issuer", problems, issuer);
    let audience = table.required("audience", problems);
    let ca = file(&mut table, "ca", base, problems);
    let jwks_uri = table.parsed("jwks_uri", problems, trusted_url);
    table.finish(problems);
    let provider = provider?;
    let public = || Some(provider.public_issuer().to_owned()).filter(|_| !named);
    Some(Issuer {
        issuer: url.or_else(public)?,
        ca,
        jwks_uri,
        kind: IssuerKind::Ci { provider, audience },
    })
}

/// The jobs that one table `ci` is about.
pub(super) fn job(
    mut table: Table,
    issuers: &[Issuer],
    problems: &mut Problems,
) -> Option<JobMatch> {
    let known = table.required_parsed("issuer", problems, |text| {
        let is_known =
            |known: &Issuer| known.issuer == text && matches!(known.kind, IssuerKind::Ci { .. });
        if issuers.iter().any(is_known) {
            Ok(text.to_owned())
        } else {
            Err(format!("`{text}` is not a [[ci]] issuer of this file"))
        }
    });
    let repository = table.required_parsed("repository", problems, RepositoryMatch::parse);
    let repository_id = table.parsed("repository_id", problems, ci::repository_id);
    let git_ref = table.parsed("ref", problems, |text| {
        if text.starts_with("refs/") {
            Ok(Pattern::new(text))
        } else {
            Err(format!(
                "`{text}` is not a full ref such as `refs/heads/main` or `refs/tags/v*`"
            ))
        }
    });
    let [workflow, environment, event] =
        ["workflow", "environment", "event"].map(|key| pattern(&mut table, key, problems));
    table.finish(problems);
    Some(JobMatch {
        issuer: known?,
        repository: repository?,
        repository_id,
        git_ref,
        workflow,
        environment,
        event,
    })
}

fn pattern(table: &mut Table, key: &'static str, problems: &mut Problems) -> Option<Pattern> {
    table.parsed(key, problems, |text| {
        if text.is_empty() {
            Err("is empty")
        } else {
            Ok(Pattern::new(text))
        }
    })
}
