//! The XML below the reports: encoding, entities, attributes, and where in the file something stands.
//!
//! In: the bytes of one file. Out: events of the parser, and attributes without their escapes.
//! Refused: everything but UTF-8, NUL, elements with too many or too long attributes, an attribute given
//! twice, entities that XML does not define. Never: more memory than a few times the file.

use std::collections::HashMap;

use quick_xml::Reader;
use quick_xml::errors::{Error, IllFormedError, SyntaxError};
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};

use crate::evidence::report::{ReadError, line_of};

/// Attributes of one element, at most.
const MAX_ATTRIBUTES: usize = 256;
/// Bytes of one start tag with its attributes, at most; some writers put failure texts into one.
pub(super) const MAX_TAG_BYTES: usize = 4 * 1024 * 1024;

/// Attributes by their names; those with a prefix keep it.
pub(super) type Attributes = HashMap<String, String>;

/// A file that is being read.
pub(super) struct Document<'a> {
    text: &'a str,
    reader: Reader<&'a [u8]>,
}

impl<'a> Document<'a> {
    /// Takes the bytes as UTF-8.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, ReadError> {
        let in_encoding = |line, encoding: &str| ReadError::Encoding {
            line,
            encoding: encoding.to_owned(),
        };
        match bytes {
            [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] | [0, b'<', ..] | [b'<', 0, ..] => {
                return Err(in_encoding(1, "UTF-16"));
            }
            _ if bytes.trim_ascii().is_empty() => return Err(ReadError::Empty),
            _ => {}
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = line_of(bytes, error.valid_up_to() as u64);
            in_encoding(line, "another encoding")
        })?;
        if let Some(place) = bytes.iter().position(|byte| *byte == 0) {
            let line = line_of(bytes, place as u64);
            return Err(ReadError::Nul { line });
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = Reader::from_str(text);
        // XML 1.0 section 2.5: one that begins `<!--->` would otherwise take in the next, and what it counts.
        reader.config_mut().check_comments = true;
        Ok(Self { text, reader })
    }

    pub(super) fn next(&mut self) -> Result<Event<'a>, ReadError> {
        self.reader.read_event().map_err(|error| {
            let line = line_of(self.text.as_bytes(), self.reader.error_position());
            let is_at_end = self.reader.buffer_position() >= self.text.len() as u64;
            let is_unclosed = match &error {
                Error::Syntax(problem) => !matches!(problem, SyntaxError::InvalidBangMarkup),
                Error::IllFormed(problem) => matches!(problem, IllFormedError::UnclosedReference),
                _ => false,
            };
            if is_at_end && is_unclosed {
                return ReadError::BreaksOff { line };
            }
            ReadError::Syntax {
                line,
                problem: error.to_string(),
            }
        })
    }

    /// What the declaration says of the encoding matters only where it makes a difference.
    pub(super) fn declared(&self, declaration: &BytesDecl<'_>) -> Result<(), ReadError> {
        let Some(Ok(encoding)) = declaration.encoding() else {
            return Ok(());
        };
        let encoding = String::from_utf8_lossy(&encoding).to_ascii_lowercase();
        let is_utf8 = ["utf-8", "utf8", "us-ascii", "ascii"].contains(&encoding.as_str());
        if is_utf8 || self.text.is_ascii() {
            return Ok(());
        }
        Err(ReadError::Encoding {
            line: self.line(),
            encoding: encoding
                .chars()
                .filter(|c| !c.is_control())
                .take(40)
                .collect(),
        })
    }

    pub(super) fn attributes(&self, start: &BytesStart<'_>) -> Result<Attributes, ReadError> {
        if start.len() > MAX_TAG_BYTES {
            return Err(ReadError::TooDeep { line: self.line() });
        }
        let mut all = HashMap::new();
        // Unchecked, since the check compares each with each; duplicates are found by the map.
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.map_err(|error| self.syntax(error.to_string()))?;
            let value = attribute
                .unescape_value()
                .map_err(|error| self.syntax(error.to_string()))?;
            let key = String::from_utf8_lossy(attribute.key.as_ref()).into_owned();
            if all.insert(key, value.into_owned()).is_some() {
                return Err(self.syntax("an attribute is given twice"));
            }
            if all.len() > MAX_ATTRIBUTES {
                return Err(ReadError::TooDeep { line: self.line() });
            }
        }
        Ok(all)
    }

    pub(super) fn resolve(&self, reference: &BytesRef<'_>) -> Result<char, ReadError> {
        let name = String::from_utf8_lossy(reference);
        let character = match name.as_ref() {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => reference.resolve_char_ref().ok().flatten(),
        };
        character.ok_or_else(|| ReadError::Entity {
            line: self.line(),
            name: name.chars().filter(|c| !c.is_control()).take(40).collect(),
        })
    }

    /// Bytes read.
    pub(super) fn position(&self) -> u64 {
        self.reader.buffer_position()
    }

    pub(super) fn line(&self) -> usize {
        line_of(self.text.as_bytes(), self.position())
    }

    pub(super) fn breaks_off(&self) -> ReadError {
        ReadError::BreaksOff { line: self.line() }
    }

    pub(super) fn syntax(&self, problem: impl Into<String>) -> ReadError {
        ReadError::Syntax {
            line: self.line(),
            problem: problem.into(),
        }
    }
}
