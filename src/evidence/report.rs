//! A finished run as some tool wrote it to a file, in our own words.
//!
//! In: attempts from one of the readers ([`super::junit`], [`super::reportlog`]). Out: a [`Report`],
//! which can be submitted like a run that was streamed. It refuses nothing itself; [`ReadError`] is
//! what the readers refuse with, and names the line. Never: a guess about what a file leaves out.

use std::path::Path;

use jiff::Timestamp;

use crate::evidence::run::{Attempt, Collected, MAX_RUN_ATTEMPTS, Tool};
use crate::evidence::verdict::Tally;
use crate::evidence::{junit, reportlog};

/// Bytes of a file, at most.
pub const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

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
}

/// In which form a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `JUnit` XML.
    Junit,
    /// JSON lines of `pytest --report-log`.
    Reportlog,
}

/// Why a file cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read at all.
    #[error("cannot read `{path}`")]
    File {
        /// Which file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is larger than [`MAX_FILE_BYTES`].
    #[error("the file has {bytes} bytes; at most {MAX_FILE_BYTES} are read")]
    TooLarge {
        /// How large.
        bytes: u64,
    },
    /// It has more attempts than a run may have.
    #[error("line {line}: there are more than {MAX_RUN_ATTEMPTS} attempts; split the suite")]
    TooMany {
        /// Where the limit was reached.
        line: usize,
    },
    /// Elements are nested too deeply, or have too many attributes.
    #[error("line {line}: the document is nested or attributed more than any report needs")]
    TooDeep {
        /// Where.
        line: usize,
    },
    /// There is a document type declaration, which can make a small file huge.
    #[error("line {line}: a document type declaration is not accepted; remove it")]
    Doctype {
        /// Where.
        line: usize,
    },
    /// An entity that XML itself does not define.
    #[error("line {line}: the entity `{name}` is not one of XML's own")]
    Entity {
        /// Where.
        line: usize,
        /// Which.
        name: String,
    },
    /// It is not well-formed.
    #[error("line {line}: {problem}")]
    Syntax {
        /// Where.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// It is something else.
    #[error("this is not {wanted}: {found}")]
    Other {
        /// What was expected.
        wanted: &'static str,
        /// What is there.
        found: String,
    },
    /// A suite counts failures, but no test in it has failed.
    #[error("line {line}: suite `{suite}` counts {declared} failures and errors, but holds none")]
    Contradiction {
        /// Where the suite ends.
        line: usize,
        /// Which suite.
        suite: String,
        /// How many it counts.
        declared: u64,
    },
}

impl Report {
    /// Reads the file at `path`. Blocks.
    ///
    /// # Errors
    /// [`ReadError`] with the place in the file.
    pub fn from_file(path: &Path, format: Format, now: Timestamp) -> Result<Self, ReadError> {
        let failed = |source| ReadError::File {
            path: path.display().to_string(),
            source,
        };
        let bytes = std::fs::metadata(path).map_err(failed)?.len();
        if bytes > MAX_FILE_BYTES {
            return Err(ReadError::TooLarge { bytes });
        }
        let content = std::fs::read(path).map_err(failed)?;
        match format {
            Format::Junit => junit::read(&content, now),
            Format::Reportlog => reportlog::read(&content, now),
        }
    }
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
    let mut name: String = name
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    crate::evidence::run::cut(&mut name, crate::evidence::run::MAX_TEST_NAME_BYTES);
    if name.trim().is_empty() {
        "(unnamed)".clone_into(&mut name);
    }
    name
}

/// The number of the line that holds the byte at `offset`, from 1.
pub(crate) fn line_of(text: &[u8], offset: u64) -> usize {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let before = text.get(..offset).unwrap_or(text);
    before.split(|byte| *byte == b'\n').count()
}
