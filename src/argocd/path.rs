//! The one canonicaliser of REST paths and queries.
//!
//! In: the path and query of a request as they came. Out: decoded segments and pairs, from which
//! everything is decided, and from which alone the forwarded path is written again. Argo CD decodes
//! a path once (Go `net/url`) and splits it then, but takes the raw form for clusters, repositories
//! and repository credentials, whose identifiers it decodes later; grpc-gateway sets any field of a
//! request from the query, and matches an empty key with the first one. What could be read in two
//! ways is refused: encoded slashes outside those identifiers, encoded dots, `..`, `//`, `;`, `\`,
//! double encoding, control characters, keys that are no field names.

use std::fmt::Write as _;

/// Why a path or query is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The path has a form that two readers may read differently.
    #[error("the path is not taken: {0}")]
    Path(Odd),
    /// The query has such a form.
    #[error("the query is not taken: {0}")]
    Query(Odd),
}

/// What is odd about a path or query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Odd {
    /// A `%` that is not followed by two hexadecimal digits.
    #[error("a `%` without two hexadecimal digits")]
    BadEscape,
    /// A character that no such path or query needs, written out or encoded.
    #[error("it has the character {0:?}")]
    Character(char),
    /// A segment `.` or `..`, or an encoded dot.
    #[error("it has dot segments or encoded dots")]
    Dots,
    /// The same parameter twice.
    #[error("it has the parameter `{0}` twice")]
    Duplicate(String),
    /// Two slashes in a row.
    #[error("it has an empty segment")]
    Empty,
    /// A key that is not the name of a field.
    #[error("`{0}` is not the name of a field")]
    Key(String),
    /// More than any call needs.
    #[error("it is too long")]
    Long,
    /// Bytes that are not UTF-8.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// It does not begin with a slash.
    #[error("it does not begin with `/`")]
    NotAbsolute,
}

/// The longest path or query that is read. `ServerSideDiff` puts manifests into the query.
const MAX_BYTES: usize = 1 << 20;

/// A path that reads in one way only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalPath {
    segments: Vec<String>,
    trailing_slash: bool,
}

impl CanonicalPath {
    /// Decodes `raw` (without query) as the upstream does.
    ///
    /// # Errors
    /// [`Error::Path`] for every form that could be read in two ways.
    pub fn parse(raw: &str) -> Result<Self, Error> {
        if raw.len() > MAX_BYTES {
            return Err(Error::Path(Odd::Long));
        }
        let rest = raw.strip_prefix('/').ok_or(Error::Path(Odd::NotAbsolute))?;
        let (rest, trailing_slash) = match rest.strip_suffix('/') {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        if rest.is_empty() {
            return if trailing_slash {
                Err(Error::Path(Odd::Empty))
            } else {
                Ok(Self {
                    segments: Vec::new(),
                    trailing_slash: true,
                })
            };
        }
        let parts: Vec<&str> = rest.split('/').collect();
        let identifier = identifier_place(&parts);
        let segments = parts
            .iter()
            .enumerate()
            .map(|(place, part)| {
                if Some(place) == identifier {
                    decode_identifier(part)
                } else {
                    decode_segment(part, identifier.is_some())
                }
            })
            .collect::<Result<_, _>>()
            .map_err(Error::Path)?;
        Ok(Self {
            segments,
            trailing_slash,
        })
    }

    /// The decoded segments.
    #[must_use]
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// Whether it ends with a slash; the root does.
    #[must_use]
    pub fn has_trailing_slash(&self) -> bool {
        self.trailing_slash
    }

    /// The path to forward: the decoded segments, encoded again in one way.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::new();
        for segment in &self.segments {
            out.push('/');
            encode_into(&mut out, segment);
        }
        if self.trailing_slash {
            out.push('/');
        }
        out
    }
}

/// The services whose identifiers Argo CD takes from the raw path and decodes later.
const RAW_IDENTIFIERS: [&str; 5] = [
    "clusters",
    "repocreds",
    "repositories",
    "write-repocreds",
    "write-repositories",
];

/// Which part is such an identifier.
fn identifier_place(parts: &[&str]) -> Option<usize> {
    match parts {
        ["api", "v1", service, _, ..] if RAW_IDENTIFIERS.contains(service) => Some(3),
        _ => None,
    }
}

/// Decodes one ordinary segment. In a path with a raw identifier nothing else may be encoded: the
/// upstream would not decode it.
fn decode_segment(raw: &str, beside_identifier: bool) -> Result<String, Odd> {
    if raw.is_empty() {
        return Err(Odd::Empty);
    }
    if beside_identifier && raw.contains('%') {
        return Err(Odd::Character('%'));
    }
    let text = decode(raw)?;
    let odd = |c: &char| matches!(c, '/' | '\\' | ';' | '#' | '?' | '%') || c.is_control();
    match text.chars().find(odd) {
        Some(c) => Err(Odd::Character(c)),
        None if text == "." || text == ".." => Err(Odd::Dots),
        None => Ok(text),
    }
}

/// Decodes an identifier of a cluster, repository or credential: an URL, or a cluster's name.
fn decode_identifier(raw: &str) -> Result<String, Odd> {
    if raw.is_empty() {
        return Err(Odd::Empty);
    }
    // Argo CD decodes these as a query, where a bare `+` is a blank.
    if raw.contains('+') {
        return Err(Odd::Character('+'));
    }
    let text = decode(raw)?;
    let odd = |c: &char| matches!(c, '\\' | ';' | '#') || c.is_control();
    if let Some(c) = text.chars().find(odd) {
        return Err(Odd::Character(c));
    }
    if text.split('/').any(|part| part == "." || part == "..") {
        return Err(Odd::Dots);
    }
    // Without one of these characters Go keeps no raw path, and Argo CD would decode twice.
    if text.contains('%') && !text.contains(['$', '&', '+', ',', '/', ':', '=', '@']) {
        return Err(Odd::Character('%'));
    }
    Ok(text)
}

/// Percent-decodes once; raw characters that need no path are refused.
fn decode(raw: &str) -> Result<String, Odd> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let decoded = escape(&mut bytes)?;
                if decoded == b'.' {
                    return Err(Odd::Dots);
                }
                out.push(decoded);
            }
            b';' | b'\\' | b'#' | b'?' | 0..=b' ' | 0x7f => {
                return Err(Odd::Character(char::from(byte)));
            }
            0x80.. => return Err(Odd::NotUtf8),
            _ => out.push(byte),
        }
    }
    String::from_utf8(out).map_err(|_| Odd::NotUtf8)
}

/// The byte that the next two hexadecimal digits stand for.
fn escape(bytes: &mut std::str::Bytes<'_>) -> Result<u8, Odd> {
    let mut digit = || {
        let byte = bytes.next().ok_or(Odd::BadEscape)?;
        let digit = char::from(byte).to_digit(16).ok_or(Odd::BadEscape)?;
        u8::try_from(digit).map_err(|_| Odd::BadEscape)
    };
    Ok(digit()? << 4 | digit()?)
}

/// Writes `text` with everything encoded that RFC 3986 does not call unreserved.
pub(crate) fn encode_into(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// The decoded pairs of a query, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `raw` (without `?`) as Go does, where Go takes it.
    ///
    /// # Errors
    /// [`Error::Query`] for bad escapes, `;`, text that is not UTF-8, and control characters other
    /// than line ends and tabs.
    pub fn parse(raw: Option<&str>) -> Result<Self, Error> {
        let raw = raw.unwrap_or_default();
        if raw.len() > MAX_BYTES {
            return Err(Error::Query(Odd::Long));
        }
        raw.split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((decode_query(key)?, decode_query(value)?))
            })
            .collect::<Result<_, _>>()
            .map(Self)
            .map_err(Error::Query)
    }

    /// The same, for a call of the API: every key must be the name of a field. grpc-gateway reads
    /// `=x` as the first field of the message, `a[b]=x` as `a`, and `XXX_unrecognized=x` as bytes of
    /// protobuf: each would set the application's name behind our back.
    ///
    /// # Errors
    /// [`Error::Query`], also for a key that is not the (dotted) name of a field.
    pub fn of_fields(raw: Option<&str>) -> Result<Self, Error> {
        let query = Self::parse(raw)?;
        match query.0.iter().find(|(key, _)| !is_field_path(key)) {
            Some((key, _)) => Err(Error::Query(Odd::Key(key.clone()))),
            None => Ok(query),
        }
    }

    /// The one value of `key`; the upstream would take the first of several.
    ///
    /// # Errors
    /// [`Odd::Duplicate`] when there are several.
    pub fn one(&self, key: &str) -> Result<Option<&str>, Error> {
        let mut values = self.0.iter().filter(|(k, _)| k == key).map(|(_, v)| v);
        let first = values.next();
        match values.next() {
            Some(_) => Err(Error::Query(Odd::Duplicate(key.to_owned()))),
            None => Ok(first.map(String::as_str)),
        }
    }

    /// The pairs, in their order.
    #[must_use]
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// The query to forward: the pairs, encoded again in one way; empty if there are none.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::new();
        for (key, value) in &self.0 {
            out.push(if out.is_empty() { '?' } else { '&' });
            encode_into(&mut out, key);
            out.push('=');
            encode_into(&mut out, value);
        }
        out
    }
}

fn is_field_path(key: &str) -> bool {
    key.split('.').all(|name| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_alphanumeric())
    })
}

fn decode_query(raw: &str) -> Result<String, Odd> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => escape(&mut bytes)?,
            b'+' => b' ',
            b';' | b'#' => return Err(Odd::Character(char::from(byte))),
            0x80.. => return Err(Odd::NotUtf8),
            _ => byte,
        });
    }
    let text = String::from_utf8(out).map_err(|_| Odd::NotUtf8)?;
    let odd = |c: &char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    match text.chars().find(odd) {
        Some(c) => Err(Odd::Character(c)),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests;
