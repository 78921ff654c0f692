//! Resolving names in Git repositories, by the `git` program.
//!
//! In: a repository as an application names it, and the name of a branch or tag, or a full SHA.
//! Out: the commit, or whether the SHA is reachable from a configured branch. Only repositories
//! that a `[[git]]` section covers; everything else is [`Error::NoAccess`]. Never: a name that
//! `git` could take for an option, a prompt, the machine's own Git configuration, a credential in
//! an argument list.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use tokio::process::Command;

use crate::config::{GitAccess, GitCredential};
use crate::names::{Commit, is_full_sha};

/// How long one run of `git` may take.
const TIMEOUT: Duration = Duration::from_mins(1);
/// How much of an answer is read.
const MAX_OUTPUT: usize = 1 << 20;

/// Why a name was not resolved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No `[[git]]` section covers the repository.
    #[error(
        "the gate has no access to `{repository}`: name a full commit SHA, or add a [[git]] section for it"
    )]
    NoAccess {
        /// The repository.
        repository: String,
    },
    /// The name has a form that no branch or tag has.
    #[error("`{name}` is not the name of a branch or tag")]
    BadName {
        /// The name, as asked.
        name: String,
    },
    /// No branch or tag has this name.
    #[error("`{repository}` has no branch or tag `{name}`")]
    NoSuchName {
        /// The repository.
        repository: String,
        /// The name.
        name: String,
    },
    /// A branch and a tag have this name and differ.
    #[error(
        "`{name}` is a branch and a tag, and they differ: name one as refs/heads/{name} or refs/tags/{name}"
    )]
    Ambiguous {
        /// The name.
        name: String,
    },
    /// `git` did not do it.
    #[error("git could not read `{repository}`: {detail}")]
    Failed {
        /// The repository.
        repository: String,
        /// The last line that git printed, or what kept it from running.
        detail: String,
    },
}

/// Resolves names in the repositories of the configuration.
#[derive(Clone, Debug)]
pub struct Git {
    access: Vec<GitAccess>,
    cache: PathBuf,
}

impl Git {
    /// `cache` is a folder for the histories that [`Git::reachable`] looks at; made when needed.
    #[must_use]
    pub fn new(access: Vec<GitAccess>, cache: PathBuf) -> Self {
        Self { access, cache }
    }

    /// Whether a section of the configuration covers `repository`.
    #[must_use]
    pub fn covers(&self, repository: &str) -> bool {
        self.access_to(repository).is_some()
    }

    fn access_to(&self, repository: &str) -> Option<&GitAccess> {
        self.access
            .iter()
            .find(|access| access.repository.matches(repository))
    }

    fn require(&self, repository: &str) -> Result<&GitAccess, Error> {
        // SECURITY: `ext::` and option-like repositories would run commands.
        let plain = !repository.starts_with('-') && !repository.contains("::");
        match self.access_to(repository) {
            Some(access) if plain => Ok(access),
            _ => Err(Error::NoAccess {
                repository: repository.to_owned(),
            }),
        }
    }

    /// The commit that the branch or tag `name` (or `HEAD`) has in `repository` now.
    ///
    /// # Errors
    /// Every [`Error`].
    pub async fn resolve(&self, repository: &str, name: &str) -> Result<Commit, Error> {
        let access = self.require(repository)?;
        if !is_ref_name(name) {
            return Err(Error::BadName {
                name: name.to_owned(),
            });
        }
        let wanted: Vec<String> = if name == "HEAD" || name.starts_with("refs/") {
            vec![name.to_owned(), format!("{name}^{{}}")]
        } else {
            let tag = format!("refs/tags/{name}");
            vec![format!("refs/heads/{name}"), format!("{tag}^{{}}"), tag]
        };
        let mut args = vec!["ls-remote", "--quiet", "--", repository];
        args.extend(wanted.iter().map(String::as_str));
        let listing = run(access, repository, None, &args).await?;
        let found = |wanted: &str| {
            listing
                .lines()
                .filter_map(|line| line.split_once('\t'))
                .find_map(|(sha, reference)| {
                    (reference == wanted)
                        .then(|| Commit::parse(sha).ok())
                        .flatten()
                })
        };
        let peeled =
            |reference: &str| found(&format!("{reference}^{{}}")).or_else(|| found(reference));
        let commit = if wanted.first().is_some_and(|first| first == name) {
            peeled(name)
        } else {
            match (
                found(&format!("refs/heads/{name}")),
                peeled(&format!("refs/tags/{name}")),
            ) {
                (Some(branch), Some(tag)) if branch != tag => {
                    return Err(Error::Ambiguous {
                        name: name.to_owned(),
                    });
                }
                (branch, tag) => branch.or(tag),
            }
        };
        commit.ok_or_else(|| Error::NoSuchName {
            repository: repository.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Whether `sha` (a full one) is reachable from a branch that the configuration names for
    /// `repository`; with no branches named, from any branch.
    ///
    /// # Errors
    /// [`Error::NoAccess`], [`Error::BadName`] for anything but a full SHA, [`Error::Failed`].
    pub async fn reachable(&self, repository: &str, sha: &str) -> Result<bool, Error> {
        let access = self.require(repository)?;
        if !is_full_sha(sha) {
            return Err(Error::BadName {
                name: sha.to_owned(),
            });
        }
        let folder = self
            .cache
            .join(crate::digest::sha256_hex(repository.as_bytes()));
        let failed = |detail: String| Error::Failed {
            repository: repository.to_owned(),
            detail,
        };
        std::fs::create_dir_all(&folder).map_err(|error| failed(error.to_string()))?;
        run(
            access,
            repository,
            Some(&folder),
            &["init", "--quiet", "--bare"],
        )
        .await?;
        let branches = if access.branches.is_empty() {
            vec!["*".to_owned()]
        } else {
            access.branches.clone()
        };
        let specs: Vec<String> = branches
            .iter()
            .map(|b| format!("+refs/heads/{b}:refs/heads/{b}"))
            .collect();
        let mut fetch = vec!["fetch", "--quiet", "--no-tags", "--prune", "--", repository];
        fetch.extend(specs.iter().map(String::as_str));
        run(access, repository, Some(&folder), &fetch).await?;
        let contains = format!("--contains={sha}");
        match run(
            access,
            repository,
            Some(&folder),
            &["for-each-ref", &contains, "refs/heads"],
        )
        .await
        {
            Ok(branches) => Ok(!branches.trim().is_empty()),
            // The history does not have the commit at all.
            Err(Error::Failed { detail, .. }) if detail.contains("no such commit") => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The rules of git-check-ref-format that matter for safety, and `HEAD`.
fn is_ref_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with(['-', '.', '/'])
        && !name.ends_with(['/', '.'])
        && !name.contains("..")
        && !name.contains("//")
        && !name.contains("@{")
        && name
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"~^:?*[\\".contains(&b))
}

/// Runs `git`, in `folder` if given. Gives its standard output.
async fn run(
    access: &GitAccess,
    repository: &str,
    folder: Option<&Path>,
    args: &[&str],
) -> Result<String, Error> {
    let failed = |detail: String| Error::Failed {
        repository: repository.to_owned(),
        detail,
    };
    let mut command = Command::new("git");
    if let Some(folder) = folder {
        command.arg("-C").arg(folder);
    }
    command
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .env("LC_ALL", "C")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh")
        .env_remove("GIT_DIR");
    sign_in(&mut command, access).map_err(failed)?;
    let output = tokio::time::timeout(TIMEOUT, command.output())
        .await
        .map_err(|_| failed(format!("no answer in {} s", TIMEOUT.as_secs())))?
        .map_err(|error| failed(format!("git does not run: {error}")))?;
    if output.status.success() && output.stdout.len() <= MAX_OUTPUT {
        return String::from_utf8(output.stdout)
            .map_err(|_| failed("its answer is not UTF-8".into()));
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it gave no reason");
    Err(failed(last.chars().take(300).collect()))
}

/// Hands over the credential by the environment, where no other user reads it.
fn sign_in(command: &mut Command, access: &GitAccess) -> Result<(), String> {
    match &access.credential {
        None => {}
        Some(GitCredential::SshKey(path)) => {
            let path = path.display().to_string();
            if path.contains(['\'', '\n']) {
                return Err("the SSH key's path has a quote or a line break in it".into());
            }
            let ssh = format!("ssh -i '{path}' -o IdentitiesOnly=yes -o BatchMode=yes");
            command.env("GIT_SSH_COMMAND", ssh);
        }
        Some(GitCredential::Token(token)) => {
            let pair = format!("x-access-token:{}", token.read()?);
            let basic = base64::engine::general_purpose::STANDARD.encode(pair);
            command
                .env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", "http.extraHeader")
                .env(
                    "GIT_CONFIG_VALUE_0",
                    format!("Authorization: Basic {basic}"),
                );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Pattern;

    fn git(folder: &Path, args: &[&str]) -> String {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@t.example"];
        let output = std::process::Command::new("git")
            .arg("-C")
            .arg(folder)
            .args(identity)
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A repository with `main` (two commits), a side branch, a tag on the first commit, and a
    /// name that is both.
    fn repository() -> (tempfile::TempDir, Git, String) {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("work");
        std::fs::create_dir(&work).unwrap();
        git(&work, &["init", "-q", "-b", "main"]);
        git(&work, &["commit", "-q", "--allow-empty", "-m", "one"]);
        git(&work, &["tag", "-a", "v1.0.0", "-m", "annotated"]);
        git(&work, &["tag", "both"]);
        git(&work, &["commit", "-q", "--allow-empty", "-m", "two"]);
        git(&work, &["branch", "both"]);
        git(&work, &["checkout", "-q", "-b", "side"]);
        git(&work, &["commit", "-q", "--allow-empty", "-m", "three"]);
        let access = GitAccess {
            repository: Pattern::new("file://*"),
            branches: vec!["main".into()],
            credential: None,
        };
        let url = format!("file://{}", work.display());
        let git = Git::new(vec![access], dir.path().join("cache"));
        (dir, git, url)
    }

    #[tokio::test]
    async fn branches_and_tags_become_commits() {
        let (dir, resolver, url) = repository();
        let work = dir.path().join("work");
        for (name, rev) in [
            ("main", "main"),
            ("v1.0.0", "v1.0.0^{commit}"),
            ("HEAD", "HEAD"),
            ("refs/heads/both", "refs/heads/both"),
        ] {
            let commit = resolver.resolve(&url, name).await.unwrap();
            assert_eq!(commit.as_str(), git(&work, &["rev-parse", rev]), "{name}");
        }
        assert!(matches!(
            resolver.resolve(&url, "both").await,
            Err(Error::Ambiguous { .. })
        ));
        assert!(matches!(
            resolver.resolve(&url, "gone").await,
            Err(Error::NoSuchName { .. })
        ));
    }

    #[tokio::test]
    async fn a_name_cannot_become_an_option() {
        let (_dir, resolver, url) = repository();
        for name in [
            "--upload-pack=touch x",
            "-x",
            "a b",
            "a\nb",
            "a\0b",
            "a..b",
            "main^",
            "",
        ] {
            let result = resolver.resolve(&url, name).await;
            assert!(
                matches!(result, Err(Error::BadName { .. })),
                "{name:?}: {result:?}"
            );
        }
        for repository in [
            "--upload-pack=x",
            "ext::sh -c x",
            "https://elsewhere.example/x",
        ] {
            let result = resolver.resolve(repository, "main").await;
            assert!(
                matches!(result, Err(Error::NoAccess { .. })),
                "{repository}"
            );
        }
    }

    #[tokio::test]
    async fn only_commits_of_configured_branches_are_reachable() {
        let (dir, resolver, url) = repository();
        let work = dir.path().join("work");
        for (rev, expected) in [("main", true), ("main~1", true), ("side", false)] {
            let sha = git(&work, &["rev-parse", rev]);
            assert_eq!(
                resolver.reachable(&url, &sha).await.unwrap(),
                expected,
                "{rev}"
            );
        }
        assert!(
            !resolver
                .reachable(&url, &"0123456789".repeat(4))
                .await
                .unwrap()
        );
        assert!(resolver.reachable(&url, "main").await.is_err());
    }
}
