//! Secrets and where they come from: `${NAME}` and `file:PATH`.

use std::fmt;
use std::path::{Path, PathBuf};

/// A secret value, or the file that holds it. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The value itself, from the environment.
    Value(String),
    /// A file that is read at each use, so that a rotated Secret is picked up.
    File(PathBuf),
}

impl Secret {
    /// `file:PATH` names a file; everything else is the value. A path is taken relative to `base`.
    ///
    /// # Errors
    /// A sentence, when the file cannot be read now or the value is empty.
    pub fn parse(text: &str, base: &Path) -> Result<Self, String> {
        let secret = match text.strip_prefix("file:") {
            Some(path) => Self::File(base.join(path)),
            None => Self::Value(text.to_owned()),
        };
        secret.read().map(|_| secret)
    }

    /// The secret now, without surrounding white space.
    ///
    /// # Errors
    /// A sentence, when the file cannot be read or is empty.
    pub fn read(&self) -> Result<String, String> {
        let text = match self {
            Self::Value(text) => text.clone(),
            Self::File(path) => std::fs::read_to_string(path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?,
        };
        let text = text.trim().to_owned();
        if text.is_empty() {
            Err("is an empty secret".into())
        } else {
            Ok(text)
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Secret(value)"),
            Self::File(path) => write!(f, "Secret(file {})", path.display()),
        }
    }
}

/// Replaces every `${NAME}` by the environment's value.
///
/// # Errors
/// A sentence naming the variable that is not set, or the unclosed brace.
pub(super) fn expand(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let (name, after) = after.split_once('}').ok_or("has `${` without `}`")?;
        let value = std::env::var(name)
            .map_err(|_| format!("names the environment variable `{name}`, which is not set"))?;
        out.push_str(&value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let error = expand("a${SYNCGATE_TEST_NOT_SET}b").unwrap_err();
        assert!(error.contains("`SYNCGATE_TEST_NOT_SET`"), "{error}");
        assert_eq!(expand("${open").unwrap_err(), "has `${` without `}`");
        assert_eq!(expand("plain").unwrap(), "plain");
    }

    #[test]
    fn debug_shows_no_value() {
        assert_eq!(
            format!("{:?}", Secret::Value("canary".into())),
            "Secret(value)"
        );
    }
}
