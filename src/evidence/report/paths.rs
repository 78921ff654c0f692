//! Which files a command line names.

use std::collections::HashSet;
use std::path::PathBuf;

use super::{FileError, ReadError};

/// Files of one run, at most.
const MAX_FILES: usize = 10_000;

/// The files that `names` name, in their order: paths, or patterns with `*`, `?`, `[..]` and `**` where no
/// shell has expanded them, whose files are sorted. A file that is named twice is taken once.
///
/// # Errors
/// [`FileError`] with the name that is no file and no pattern, or that fits none.
pub fn named(names: &[String]) -> Result<Vec<PathBuf>, FileError> {
    let mut paths = Vec::new();
    let mut seen = HashSet::new();
    for name in names {
        let refused = |source| FileError::new(name.as_ref(), source);
        let found = if name.contains(['*', '?', '[']) && !PathBuf::from(name).exists() {
            matching(name).map_err(refused)?
        } else {
            vec![PathBuf::from(name)]
        };
        for path in found {
            let same = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
            if seen.insert(same) {
                paths.push(path);
            }
        }
        if paths.len() > MAX_FILES {
            return Err(refused(ReadError::TooManyFiles { limit: MAX_FILES }));
        }
    }
    Ok(paths)
}

fn matching(pattern: &str) -> Result<Vec<PathBuf>, ReadError> {
    let found = glob::glob(pattern).map_err(|error| ReadError::Pattern {
        problem: error.msg.to_owned(),
    })?;
    // Sorted by the crate.
    let found: Result<Vec<PathBuf>, _> = found.take(MAX_FILES + 1).collect();
    let found = found.map_err(|error| ReadError::File {
        source: error.into(),
    })?;
    if found.is_empty() {
        return Err(ReadError::NoMatch);
    }
    Ok(found)
}
