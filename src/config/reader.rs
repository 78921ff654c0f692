//! Reads a TOML table key by key and collects every problem instead of stopping at the first.
//!
//! A key that nobody asked for is a problem too: [`Table::finish`] names it, with the keys that
//! exist there.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use toml::Value;

use super::{Problem, secret};

/// Where problems are collected.
#[derive(Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem {
            key: key.into(),
            message: message.into(),
        });
    }

    pub(super) fn into_list(self) -> Vec<Problem> {
        self.0
    }
}

/// One table of the file and its key path.
pub(super) struct Table {
    path: String,
    fields: toml::Table,
    asked: BTreeSet<&'static str>,
}

impl Table {
    pub(super) fn root(fields: toml::Table) -> Self {
        Self {
            path: String::new(),
            fields,
            asked: BTreeSet::new(),
        }
    }

    /// The key path of `key` in this table.
    pub(super) fn key(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.asked.insert(key);
        self.fields.remove(key)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    /// Whether `key` is a list of nothing.
    pub(super) fn is_empty(&self, key: &str) -> bool {
        let value = self.fields.get(key);
        value.and_then(Value::as_array).is_some_and(Vec::is_empty)
    }

    /// Text, with `${NAME}` replaced from the environment.
    pub(super) fn text(&mut self, key: &'static str, problems: &mut Problems) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => match secret::expand(&text) {
                Ok(text) => Some(text),
                Err(message) => {
                    problems.add(self.key(key), message);
                    None
                }
            },
            other => {
                problems.add(self.key(key), format!("must be text, is {}", kind(&other)));
                None
            }
        }
    }

    /// As [`Table::text`]; absent is a problem.
    pub(super) fn required(&mut self, key: &'static str, problems: &mut Problems) -> String {
        let missing = !self.has(key);
        let text = self.text(key, problems);
        if missing {
            problems.add(self.key(key), "is required");
        }
        text.unwrap_or_default()
    }

    /// Text that `parse` makes into something; its error is the problem.
    pub(super) fn parsed<T, E: std::fmt::Display>(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(key, problems)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                problems.add(self.key(key), error.to_string());
                None
            }
        }
    }

    /// As [`Table::parsed`]; absent is a problem.
    pub(super) fn required_parsed<T, E: std::fmt::Display>(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if !self.has(key) {
            self.asked.insert(key);
            problems.add(self.key(key), "is required");
            return None;
        }
        self.parsed(key, problems, parse)
    }

    pub(super) fn flag(&mut self, key: &'static str, problems: &mut Problems) -> bool {
        match self.take(key) {
            None => false,
            Some(Value::Boolean(flag)) => flag,
            Some(other) => {
                problems.add(
                    self.key(key),
                    format!("must be true or false, is {}", kind(&other)),
                );
                false
            }
        }
    }

    /// A duration as people write it: `30s`, `7d`, `1h 30m`.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<SignedDuration> {
        self.parsed(key, problems, |text| {
            let with_days = days_as_hours(text).ok_or("is not a duration such as `30s` or `7d`")?;
            let span: SignedDuration = with_days
                .parse()
                .map_err(|_| "is not a duration such as `30s` or `7d`")?;
            if span > SignedDuration::ZERO {
                Ok(span)
            } else {
                Err("must be longer than zero")
            }
        })
    }

    /// A whole number from 0 to 100.
    pub(super) fn percent(&mut self, key: &'static str, problems: &mut Problems) -> Option<u8> {
        let percent = match self.take(key)? {
            Value::Integer(number) => u8::try_from(number).ok().filter(|number| *number <= 100),
            _ => None,
        };
        if percent.is_none() {
            problems.add(self.key(key), "is not a whole number from 0 to 100");
        }
        percent
    }

    pub(super) fn texts(&mut self, key: &'static str, problems: &mut Problems) -> Vec<String> {
        match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => {
                let mut out = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    match item {
                        Value::String(text) => out.push(text),
                        other => problems.add(
                            format!("{}[{index}]", self.key(key)),
                            format!("must be text, is {}", kind(&other)),
                        ),
                    }
                }
                out
            }
            Some(other) => {
                problems.add(
                    self.key(key),
                    format!("must be a list, is {}", kind(&other)),
                );
                Vec::new()
            }
        }
    }

    /// A table of texts, such as labels.
    pub(super) fn pairs(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Vec<(String, String)> {
        let Some(table) = self.table(key, problems) else {
            return Vec::new();
        };
        let path = table.path;
        let mut out = Vec::new();
        for (name, value) in table.fields {
            match value {
                Value::String(text) => out.push((name, text)),
                other => problems.add(
                    format!("{path}.{name}"),
                    format!("must be text, is {}", kind(&other)),
                ),
            }
        }
        out
    }

    pub(super) fn table(&mut self, key: &'static str, problems: &mut Problems) -> Option<Self> {
        match self.take(key)? {
            Value::Table(fields) => Some(Self {
                path: self.key(key),
                fields,
                asked: BTreeSet::new(),
            }),
            other => {
                problems.add(
                    self.key(key),
                    format!("must be a table, is {}", kind(&other)),
                );
                None
            }
        }
    }

    /// As [`Table::table`]; absent is a problem, answered by an empty table without complaints of
    /// its own keys being unknown.
    pub(super) fn required_table(&mut self, key: &'static str, problems: &mut Problems) -> Self {
        if !self.has(key) {
            problems.add(self.key(key), "is required");
        }
        self.table(key, problems).unwrap_or_else(|| Self {
            path: self.key(key),
            fields: toml::Table::new(),
            asked: BTreeSet::new(),
        })
    }

    /// The tables of `[[key]]`.
    pub(super) fn tables(&mut self, key: &'static str, problems: &mut Problems) -> Vec<Self> {
        match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => {
                let mut out = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    let path = format!("{}[{index}]", self.key(key));
                    match item {
                        Value::Table(fields) => {
                            out.push(Self {
                                path,
                                fields,
                                asked: BTreeSet::new(),
                            });
                        }
                        other => {
                            problems.add(path, format!("must be a table, is {}", kind(&other)));
                        }
                    }
                }
                out
            }
            Some(other) => {
                problems.add(
                    self.key(key),
                    format!("must be `[[{key}]]` tables, is {}", kind(&other)),
                );
                Vec::new()
            }
        }
    }

    /// Ends the reading: what is left was asked for by nobody.
    pub(super) fn finish(self, problems: &mut Problems) {
        let known = self.asked.iter().copied().collect::<Vec<_>>().join(", ");
        for key in self.fields.keys() {
            problems.add(self.key(key), format!("is not a key; keys here: {known}"));
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// `jiff`'s fixed durations stop at hours; a day here is 24 of them.
fn days_as_hours(text: &str) -> Option<String> {
    let mut out = Vec::new();
    for word in text.split_whitespace() {
        match word.strip_suffix('d') {
            Some(days) => out.push(format!("{}h", days.parse::<u32>().ok()?.checked_mul(24)?)),
            None => out.push(word.to_owned()),
        }
    }
    Some(out.join(" "))
}
