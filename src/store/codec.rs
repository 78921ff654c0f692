//! Values to columns and back.
//!
//! Times are RFC 3339 text (which keeps every digit), names are their text, closed enums their
//! kebab-case word, lists and small structs JSON. What cannot be read back is
//! [`Error::Unreadable`], never a default; what has no such form is [`Error::Unstorable`].

use rusqlite::Row;
use rusqlite::types::FromSql;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::{Cause, Error, Fault};
use super::rows::Seq;
use crate::names::AppRef;

/// `value` as JSON text.
pub(super) fn json<T: Serialize>(field: &'static str, value: &T) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| unstorable(field, error))
}

/// `value`, whose serde form is a string (a name, a time, a word of a closed enum), as that string.
pub(super) fn text<T: Serialize>(field: &'static str, value: &T) -> Result<String, Fault> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        Ok(_) => Err(unstorable(field, NotText)),
        Err(error) => Err(unstorable(field, error)),
    }
}

/// [`text`] of a value that may be absent.
pub(super) fn maybe_text<T: Serialize>(
    field: &'static str,
    value: Option<&T>,
) -> Result<Option<String>, Fault> {
    value.map(|value| text(field, value)).transpose()
}

/// A sequence number as `SQLite` keeps it.
pub(super) fn number(field: &'static str, value: u64) -> Result<i64, Fault> {
    i64::try_from(value).map_err(|error| unstorable(field, error))
}

/// The column `field` as it is.
pub(super) fn plain<T: FromSql>(row: &Row<'_>, field: &'static str) -> Result<T, Fault> {
    Ok(row.get(field)?)
}

/// The column `field`, written by [`number`].
pub(super) fn unsigned(row: &Row<'_>, field: &'static str) -> Result<u64, Fault> {
    let value: i64 = row.get(field)?;
    u64::try_from(value).map_err(|error| unreadable(field, error))
}

/// The column `field` as a sequence number.
pub(super) fn seq(row: &Row<'_>, field: &'static str) -> Result<Seq, Fault> {
    unsigned(row, field).map(Seq)
}

/// The column `field`, written by [`json`].
pub(super) fn from_json<T: DeserializeOwned>(
    row: &Row<'_>,
    field: &'static str,
) -> Result<T, Fault> {
    let text: String = row.get(field)?;
    serde_json::from_str(&text).map_err(|error| unreadable(field, error))
}

/// The column `field`, written by [`json`] where there was a value.
pub(super) fn maybe_json<T: DeserializeOwned>(
    row: &Row<'_>,
    field: &'static str,
) -> Result<Option<T>, Fault> {
    let text: Option<String> = row.get(field)?;
    text.map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|error| unreadable(field, error))
}

/// The column `field`, written by [`text`].
pub(super) fn from_text<T: DeserializeOwned>(
    row: &Row<'_>,
    field: &'static str,
) -> Result<T, Fault> {
    parse(field, row.get(field)?)
}

/// The column `field`, written by [`maybe_text`].
pub(super) fn maybe_from_text<T: DeserializeOwned>(
    row: &Row<'_>,
    field: &'static str,
) -> Result<Option<T>, Fault> {
    let text: Option<String> = row.get(field)?;
    text.map(|text| parse(field, text)).transpose()
}

/// The columns of an [`AppRef`]: an empty namespace is an absent one.
pub(super) fn application(row: &Row<'_>) -> Result<AppRef, Fault> {
    let namespace: String = plain(row, "application_namespace")?;
    Ok(AppRef {
        namespace: Some(namespace).filter(|text| !text.is_empty()),
        name: plain(row, "application")?,
    })
}

fn parse<T: DeserializeOwned>(field: &'static str, text: String) -> Result<T, Fault> {
    serde_json::from_value(serde_json::Value::String(text))
        .map_err(|error| unreadable(field, error))
}

fn unstorable(field: &'static str, error: impl std::error::Error + Send + Sync + 'static) -> Fault {
    Fault::Told(Error::Unstorable {
        field,
        source: Cause::new(error),
    })
}

pub(super) fn unreadable(
    field: &'static str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> Fault {
    Fault::Told(Error::Unreadable {
        field,
        source: Cause::new(error),
    })
}

#[derive(Debug, thiserror::Error)]
#[error("its serde form is not a string")]
struct NotText;
