//! Why a report file cannot be taken.

use std::path::{Path, PathBuf};

use super::MAX_FILE_BYTES;
use crate::evidence::run::{Invalid, MAX_RUN_ATTEMPTS};

/// Which file cannot be taken.
#[derive(Debug, thiserror::Error)]
#[error("`{}` cannot be taken", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub source: ReadError,
}

impl FileError {
    pub(super) fn new(path: &Path, source: ReadError) -> Self {
        Self {
            path: path.to_owned(),
            source,
        }
    }
}

/// Why a file cannot be taken: where in it, what is wrong, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is no DSSE envelope around a statement about tests.
    #[error(transparent)]
    Attestation(Invalid),
    /// The file cannot be read at all.
    #[error("it cannot be read")]
    File {
        /// What the system says.
        source: std::io::Error,
    },
    /// It is a folder.
    #[error("it is a folder; name its files (`FOLDER/*.xml`)")]
    Folder,
    /// No file fits the pattern.
    #[error("no file fits; did the tests run, and write their reports there?")]
    NoMatch,
    /// It is no pattern.
    #[error("this is no pattern: {problem}")]
    Pattern {
        /// What is wrong.
        problem: String,
    },
    /// More files than a run may have.
    #[error("one run has at most {limit} files; split the suite")]
    TooManyFiles {
        /// Files, at most.
        limit: usize,
    },
    /// There is nothing in it.
    #[error("it is empty; did the tests run, and end?")]
    Empty,
    /// With the files before, it is larger than [`MAX_FILE_BYTES`].
    #[error(
        "the files of one run have at most {} MiB; leave out the output of passing tests, or split the suite",
        MAX_FILE_BYTES >> 20
    )]
    TooLarge,
    /// It has more attempts, or suites, than a run may have.
    #[error(
        "line {line}: there are more than {MAX_RUN_ATTEMPTS} attempts or suites; split the suite"
    )]
    TooMany {
        /// Where the limit was reached.
        line: usize,
    },
    /// Elements are nested too deeply, or have too many or too long attributes.
    #[error(
        "line {line}: the document is nested or attributed more than any report needs; have it written anew"
    )]
    TooDeep {
        /// Where.
        line: usize,
    },
    /// A line is longer than any that is read.
    #[error("line {line} has more than {} MiB; have less output captured", limit >> 20)]
    TooLong {
        /// Which.
        line: usize,
        /// Bytes of a line, at most.
        limit: usize,
    },
    /// There is a document type declaration, which can make a small file huge.
    #[error("line {line}: a document type declaration is not accepted; remove it")]
    Doctype {
        /// Where.
        line: usize,
    },
    /// An entity that XML itself does not define.
    #[error("line {line}: the entity `{name}` is not one of XML's own; write the character itself")]
    Entity {
        /// Where.
        line: usize,
        /// Which.
        name: String,
    },
    /// It is not UTF-8.
    #[error("line {line}: the text is in {encoding}, not UTF-8; convert it (`iconv -t UTF-8`)")]
    Encoding {
        /// Where that shows.
        line: usize,
        /// What it is, as far as that is known.
        encoding: String,
    },
    /// There is a NUL in it.
    #[error("line {line}: there is a NUL, which no text holds; was the file written to its end?")]
    Nul {
        /// Where.
        line: usize,
    },
    /// It ends too early.
    #[error("line {line}: the file breaks off here; submit it when its writer has ended")]
    BreaksOff {
        /// What was not ended, or the last line.
        line: usize,
    },
    /// Two documents in one file.
    #[error("line {line}: a second document begins here; give each a file of its own")]
    SecondRoot {
        /// Where.
        line: usize,
    },
    /// It is not well-formed.
    #[error("line {line}: {problem}; have it written anew")]
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
    /// A suite says that it holds more than it does.
    #[error(
        "line {line}: suite `{suite}` {problem}; if its writer counts something else than test cases, say so with `--loose-counts`"
    )]
    Counts {
        /// Where the suite ends.
        line: usize,
        /// Which suite.
        suite: String,
        /// What does not agree.
        problem: String,
    },
}
