//! The files of a folder of policies, read once and kept as text.
//!
//! In: a folder. Out: a [`Source`], which nothing after this module goes back to the disk for.
//! Refuses what is too large, too much or not text. A folder that Kubernetes mounts from a
//! `ConfigMap` is read from one of its versions, never half from each.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::problem::{Fault, LoadError, Problem};
use crate::digest::{hex, sha256, sha256_hex};

/// The name of the schema's file.
pub(super) const SCHEMA: &str = "schema.cedarschema";
const CASES: &str = ".cases.json";
const MAX_BYTES: u64 = 1024 * 1024;
const MAX_FILES: usize = 512;

/// The files of one folder of policies, as text, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The schema.
    pub schema: File,
    /// The `*.cedar` files.
    pub policies: Vec<File>,
    /// The `*.cases.json` files.
    pub cases: Vec<File>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name in the folder.
    pub name: String,
    /// What is in it.
    pub text: String,
}

// The shipped files, so that the demonstration and the check of a folder's schema need no disk.
const SHIPPED_SCHEMA: (&str, &str) = (SCHEMA, include_str!("../../policies/schema.cedarschema"));
const SHIPPED_POLICIES: [(&str, &str); 16] = [
    ("argocd.cedar", include_str!("../../policies/argocd.cedar")),
    (
        "break-glass.cedar",
        include_str!("../../policies/break-glass.cedar"),
    ),
    (
        "endpoints.cedar",
        include_str!("../../policies/endpoints.cedar"),
    ),
    (
        "engineer.cedar",
        include_str!("../../policies/engineer.cedar"),
    ),
    (
        "environments.cedar",
        include_str!("../../policies/environments.cedar"),
    ),
    (
        "evidence.cedar",
        include_str!("../../policies/evidence.cedar"),
    ),
    ("freeze.cedar", include_str!("../../policies/freeze.cedar")),
    ("line.cedar", include_str!("../../policies/line.cedar")),
    (
        "platform-admin.cedar",
        include_str!("../../policies/platform-admin.cedar"),
    ),
    (
        "preflight.cedar",
        include_str!("../../policies/preflight.cedar"),
    ),
    (
        "release-manager.cedar",
        include_str!("../../policies/release-manager.cedar"),
    ),
    (
        "rollout.cedar",
        include_str!("../../policies/rollout.cedar"),
    ),
    (
        "security.cedar",
        include_str!("../../policies/security.cedar"),
    ),
    (
        "session.cedar",
        include_str!("../../policies/session.cedar"),
    ),
    (
        "sync-options.cedar",
        include_str!("../../policies/sync-options.cedar"),
    ),
    (
        "test-job.cedar",
        include_str!("../../policies/test-job.cedar"),
    ),
];
const SHIPPED_CASES: [(&str, &str); 16] = [
    (
        "argocd.cases.json",
        include_str!("../../policies/argocd.cases.json"),
    ),
    (
        "break-glass.cases.json",
        include_str!("../../policies/break-glass.cases.json"),
    ),
    (
        "endpoints.cases.json",
        include_str!("../../policies/endpoints.cases.json"),
    ),
    (
        "engineer.cases.json",
        include_str!("../../policies/engineer.cases.json"),
    ),
    (
        "environments.cases.json",
        include_str!("../../policies/environments.cases.json"),
    ),
    (
        "evidence.cases.json",
        include_str!("../../policies/evidence.cases.json"),
    ),
    (
        "freeze.cases.json",
        include_str!("../../policies/freeze.cases.json"),
    ),
    (
        "line.cases.json",
        include_str!("../../policies/line.cases.json"),
    ),
    (
        "platform-admin.cases.json",
        include_str!("../../policies/platform-admin.cases.json"),
    ),
    (
        "preflight.cases.json",
        include_str!("../../policies/preflight.cases.json"),
    ),
    (
        "release-manager.cases.json",
        include_str!("../../policies/release-manager.cases.json"),
    ),
    (
        "rollout.cases.json",
        include_str!("../../policies/rollout.cases.json"),
    ),
    (
        "security.cases.json",
        include_str!("../../policies/security.cases.json"),
    ),
    (
        "session.cases.json",
        include_str!("../../policies/session.cases.json"),
    ),
    (
        "sync-options.cases.json",
        include_str!("../../policies/sync-options.cases.json"),
    ),
    (
        "test-job.cases.json",
        include_str!("../../policies/test-job.cases.json"),
    ),
];

impl Source {
    /// Reads the folder `dir`: `schema.cedarschema`, `*.cedar` and `*.cases.json`; everything else
    /// in it is left alone.
    ///
    /// # Errors
    /// [`LoadError`] with every file that cannot be taken, and when there is no schema or no
    /// policy.
    pub fn read(dir: &Path) -> Result<Self, LoadError> {
        let mut problems = Vec::new();
        let files = match names(dir) {
            Ok((folder, names)) if names.len() <= MAX_FILES => names
                .into_iter()
                .filter_map(|name| match read_file(&folder.join(&name)) {
                    Ok(text) => Some(File { name, text }),
                    Err(fault) => {
                        problems.push(Problem {
                            file: name,
                            place: None,
                            fault,
                        });
                        None
                    }
                })
                .collect(),
            Ok(_) => {
                let fault = Fault::TooMany {
                    what: "files",
                    limit: MAX_FILES,
                };
                return Err(of_folder(dir, fault));
            }
            Err(error) => {
                let fault = Fault::Unreadable {
                    message: error.to_string(),
                };
                return Err(of_folder(dir, fault));
            }
        };
        Self::assemble(files, problems, &dir.display().to_string())
    }

    /// The files that come with this version of syncgate.
    #[must_use]
    pub fn shipped() -> Self {
        let file = |(name, text): (&str, &str)| File {
            name: name.into(),
            text: text.into(),
        };
        Self {
            schema: file(SHIPPED_SCHEMA),
            policies: SHIPPED_POLICIES.map(file).into(),
            cases: SHIPPED_CASES.map(file).into(),
        }
    }

    /// Sorts `files` by what they are.
    fn assemble(
        mut files: Vec<File>,
        mut problems: Vec<Problem>,
        folder: &str,
    ) -> Result<Self, LoadError> {
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let unreadable = |suffix: &str| problems.iter().any(|p: &Problem| p.file.ends_with(suffix));
        let schema = files.iter().find(|f| f.name == SCHEMA).cloned();
        let with = |suffix: &str| -> Vec<File> {
            files
                .iter()
                .filter(|f| f.name.ends_with(suffix))
                .cloned()
                .collect()
        };
        let (policies, cases) = (with(".cedar"), with(CASES));
        let mut missing = Vec::new();
        if schema.is_none() && !unreadable(SCHEMA) {
            missing.push(Fault::NoSchema);
        }
        if policies.is_empty() && !unreadable(".cedar") {
            missing.push(Fault::NoPolicy);
        }
        problems.extend(missing.into_iter().map(|fault| Problem {
            file: folder.into(),
            place: None,
            fault,
        }));
        match schema {
            Some(schema) if problems.is_empty() => Ok(Self {
                schema,
                policies,
                cases,
            }),
            _ => Err(LoadError { problems }),
        }
    }

    /// SHA-256 (hexadecimal) of what decides: the schema and the policies, each with its name.
    #[must_use]
    pub fn digest(&self) -> String {
        hex(&digest_of(
            std::iter::once(&self.schema).chain(&self.policies),
        ))
    }

    /// SHA-256 (hexadecimal) of the schema's text.
    #[must_use]
    pub fn schema_digest(&self) -> String {
        sha256_hex(self.schema.text.as_bytes())
    }

    /// SHA-256 of all files: differs when anything here was edited.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        digest_of(
            std::iter::once(&self.schema)
                .chain(&self.policies)
                .chain(&self.cases),
        )
    }
}

/// Names and texts go in as digests, so that no text can play the next file's name.
fn digest_of<'a>(files: impl Iterator<Item = &'a File>) -> [u8; 32] {
    let mut all = Vec::new();
    for file in files {
        all.extend(sha256(file.name.as_bytes()));
        all.extend(sha256(file.text.as_bytes()));
    }
    sha256(&all)
}

/// The folder to read from, and the names of the files in it that matter.
///
/// A mounted `ConfigMap` holds links through `..data`, itself a link that is replaced in one step
/// (`AtomicWriter` of Kubernetes); its target is resolved once, so that all files are of one
/// version.
fn names(dir: &Path) -> std::io::Result<(PathBuf, Vec<String>)> {
    let dir = fs::canonicalize(dir)?;
    let folder = fs::canonicalize(dir.join("..data")).unwrap_or(dir);
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let cedar = Path::new(&name)
            .extension()
            .is_some_and(|extension| extension == "cedar");
        let matters = cedar || name == SCHEMA || name.ends_with(CASES);
        if matters && !name.starts_with('.') {
            names.push(name);
        }
    }
    Ok((folder, names))
}

fn read_file(path: &Path) -> Result<String, Fault> {
    let unreadable = |error: std::io::Error| Fault::Unreadable {
        message: error.to_string(),
    };
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Fault::Unreadable {
            message: "not a file".into(),
        });
    }
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|read| read <= MAX_BYTES) {
        String::from_utf8(bytes).map_err(|_| Fault::NotText)
    } else {
        Err(Fault::TooLarge { limit: MAX_BYTES })
    }
}

fn of_folder(dir: &Path, fault: Fault) -> LoadError {
    LoadError {
        problems: vec![Problem {
            file: dir.display().to_string(),
            place: None,
            fault,
        }],
    }
}
