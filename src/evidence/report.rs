//! A finished run as some tool wrote it to a file, in our own words.
//!
//! In: attempts from one of the readers ([`super::junit`], [`super::reportlog`]). Out: a [`Report`],
//! which can be submitted like a run that was streamed. Files are read up to a limit, whatever their
//! size is said to be; [`ReadError`] is what the readers refuse with, and names the line and the mend.
//! Never: a guess about what a file leaves out.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::digest;
use crate::evidence::attestation::{self, Attestation};
use crate::evidence::junit::{self, Counts};
use crate::evidence::reportlog;
use crate::evidence::run::{Attempt, Collected, MAX_TEST_NAME_BYTES, Tool, cut};
use crate::evidence::verdict::Tally;

mod error;
mod paths;

pub use error::{FileError, ReadError};
pub use paths::named;

/// Bytes of all files of a run together, at most.
pub const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;
/// Bytes of a name that [`clean_name`] gives, at most: there is room for a number behind it.
pub(crate) const MAX_CLEAN_NAME_BYTES: usize = MAX_TEST_NAME_BYTES - 32;
/// Bytes that are read at once.
const CHUNK: usize = 1024 * 1024;

/// A run, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What ran the tests, as far as the file says.
    pub tool: Tool,
    /// Every attempt, in the order of the file.
    pub attempts: Vec<Attempt>,
    /// The tests that the file speaks of. (No such file says what was selected beside that.)
    pub collected: Collected,
    /// The exit status, from the file or as its attempts imply.
    pub exit_status: i32,
    /// Whether the file ends before the run does.
    pub interrupted: bool,
    /// When it began; the time of reading where the file does not say.
    pub started_at: Timestamp,
    /// When it ended; the time of reading where the file does not say.
    pub finished_at: Timestamp,
    /// The signed statement that it was made from, which goes with it.
    pub attestation: Option<Attestation>,
}

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Files {
    /// A DSSE envelope around an in-toto statement.
    Attestation(PathBuf),
    /// `JUnit` XML, one file or several of one run.
    Junit {
        /// The files, in their order.
        paths: Vec<PathBuf>,
        /// What to think of suites that say they hold more than they do.
        counts: Counts,
    },
    /// JSON lines of `pytest --report-log`.
    Reportlog(PathBuf),
}

impl Files {
    /// The files, in their order.
    #[must_use]
    pub fn paths(&self) -> &[PathBuf] {
        match self {
            Self::Junit { paths, .. } => paths,
            Self::Attestation(path) | Self::Reportlog(path) => std::slice::from_ref(path),
        }
    }

    /// What the files say of their size; those that say nothing count as empty.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |data| data.len());
        self.paths().iter().map(size).sum()
    }
}

impl Report {
    /// Reads all `files` as one run, and tells `progress` how many bytes were read of all of them. Gives
    /// a digest of their bytes, too. Blocks.
    ///
    /// # Errors
    /// [`FileError`] with the file and the place in it.
    pub fn read(
        files: &Files,
        now: Timestamp,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(Self, String), FileError> {
        let mut done = 0;
        let mut digests = Vec::new();
        match files {
            Files::Attestation(path) => {
                let in_file = |source| FileError::new(path, source);
                let content = content_of(path, 0).map_err(in_file)?;
                progress(content.len() as u64);
                if content.trim_ascii().is_empty() {
                    return Err(in_file(ReadError::Empty));
                }
                let report = attestation::report(&content, now);
                let report = report.map_err(|error| in_file(ReadError::Attestation(error)))?;
                Ok((report, digest::sha256_hex(&content)))
            }
            Files::Junit { paths, counts } => {
                let mut reader = junit::Reader::new(now, *counts);
                for path in paths {
                    let in_file = |source| FileError::new(path, source);
                    let content = content_of(path, done).map_err(in_file)?;
                    digests.extend(digest::sha256(&content));
                    let mut further = |bytes| progress(done + bytes);
                    reader.add(&content, &mut further).map_err(in_file)?;
                    done += content.len() as u64;
                    progress(done);
                }
                Ok((reader.report(), digest::sha256_hex(&digests)))
            }
            Files::Reportlog(path) => {
                let in_file = |source| FileError::new(path, source);
                let content = content_of(path, 0).map_err(in_file)?;
                let report = reportlog::read(&content, now, progress).map_err(in_file)?;
                Ok((report, digest::sha256_hex(&content)))
            }
        }
    }
}

/// The bytes of a file that comes after `before` bytes of others.
fn content_of(path: &Path, before: u64) -> Result<Vec<u8>, ReadError> {
    let failed = |source| ReadError::File { source };
    if path.is_dir() {
        return Err(ReadError::Folder);
    }
    let room = MAX_FILE_BYTES.saturating_sub(before);
    let mut file = std::fs::File::open(path).map_err(failed)?.take(room + 1);
    let mut content = Vec::with_capacity(CHUNK);
    file.read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > room {
        return Err(ReadError::TooLarge);
    }
    Ok(content)
}

/// What was collected, where a file tells only what ran: exactly that.
pub(crate) fn collected(attempts: &[Attempt]) -> Collected {
    let tally: Tally = attempts.iter().collect();
    Collected {
        tests: tally.tests(),
        digest: tally.digest(),
        deselected: 0,
    }
}

/// The name of a test without control characters, and not longer than a name may be.
pub(crate) fn clean_name(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if name.trim().is_empty() {
        return "(unnamed)".to_owned();
    }
    fit_name(&name, MAX_CLEAN_NAME_BYTES)
}

/// `name` if it has at most `limit` bytes; else its beginning and a digest of the whole, so that names
/// that begin alike stay apart.
pub(crate) fn fit_name(name: &str, limit: usize) -> String {
    let mut fit = name.to_owned();
    if name.len() > limit {
        let digest = digest::sha256_hex(name.as_bytes());
        let digest = digest.get(..16).unwrap_or_default();
        cut(&mut fit, limit.saturating_sub(digest.len() + 4));
        fit.push_str("... ");
        fit.push_str(digest);
    }
    fit
}

/// The number of the line that holds the byte at `offset`, from 1.
pub(crate) fn line_of(text: &[u8], offset: u64) -> usize {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let before = text.get(..offset).unwrap_or(text);
    before.split(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests;
