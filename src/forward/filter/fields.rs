//! The `fields` parameter of Argo CD's REST answers, which chooses what of an object is sent.
//!
//! What the filter needs must be among it: it is added to what is asked of the upstream, and taken out
//! again of what the caller gets. Argo CD has two ways of choosing. A list of applications knows a
//! fixed set of paths, and looks for exactly these. Everything else is printed and thinned out, where
//! a path keeps all whose own path it begins with, as text.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use url::form_urlencoded;

use super::Layout;

/// How an answer can be chosen from, and what the filter needs of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fields {
    /// The upstream does not look at the parameter.
    Ignored,
    /// It thins out what it prints. What is needed stands under each of the prefixes.
    Of {
        prefixes: &'static [&'static str],
        needed: &'static [&'static str],
    },
    /// It looks for known paths of a list's items.
    OfList {
        prefix: &'static str,
        needed: &'static [&'static str],
    },
}

/// The one known path of a list that holds others.
const SPEC: &str = "spec";
/// A path that nothing has: what to leave out where nothing shall be.
const NOTHING: &str = "none";

/// What the caller chose, where the upstream was asked for more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Paths of a list's items that were added.
    Added(Vec<Vec<String>>),
    /// What the caller chose, to be done here.
    Chosen(Choice),
}

/// A choice as Argo CD reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    fields: BTreeSet<String>,
    /// Whether these are left out; else the others are.
    exclude: bool,
}

/// The query to send instead of `query`; none where it has no choice and may stay as it is.
#[must_use]
pub fn forward_query(layout: &Layout, query: &str) -> Option<String> {
    let choice = Choice::read(query).filter(|_| layout.fields != Fields::Ignored)?;
    let fields = layout.fields.to_send(&choice);
    let others = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "fields");
    let mut rewritten = form_urlencoded::Serializer::new(String::new());
    rewritten.extend_pairs(others);
    // The upstream reads the first; there is one now, so that nothing depends on that.
    rewritten.append_pair("fields", &fields.print());
    Some(rewritten.finish())
}

impl Fields {
    /// What to take out of the answer to a request with `query`.
    pub(super) fn asked(self, query: &str) -> Option<Asked> {
        let choice = Choice::read(query)?;
        if self.to_send(&choice) == choice {
            return None;
        }
        match self {
            Self::Ignored => None,
            Self::Of { .. } => Some(Asked::Chosen(choice)),
            Self::OfList { needed, .. } => {
                let added = needed.iter().filter(|path| self.lacks(&choice, path));
                let added = added.map(|path| path.split('.').map(str::to_owned).collect());
                Some(Asked::Added(added.collect()))
            }
        }
    }

    /// The choice to send for `choice`: with what is needed.
    fn to_send(self, choice: &Choice) -> Choice {
        let mut send = choice.clone();
        match self {
            Self::Ignored => {}
            Self::Of { prefixes, needed } => {
                let paths = prefixes
                    .iter()
                    .flat_map(|prefix| needed.iter().map(move |path| format!("{prefix}.{path}")));
                for path in paths {
                    if choice.exclude {
                        send.fields
                            .retain(|f| !is_under(f, &path) && !is_under(&path, f));
                    } else if !choice.fields.iter().any(|field| is_under(&path, field)) {
                        send.fields.insert(path);
                    }
                }
            }
            Self::OfList { prefix, needed } => {
                for path in needed.iter().filter(|path| self.lacks(choice, path)) {
                    let path = format!("{prefix}.{path}");
                    if choice.exclude {
                        send.fields.remove(&path);
                    } else {
                        send.fields.insert(path);
                    }
                }
            }
        }
        if send.fields.is_empty() {
            send.fields.insert(NOTHING.to_owned());
        }
        send
    }

    /// Whether a list chosen so lacks `path`, which is one that Argo CD knows.
    fn lacks(self, choice: &Choice, path: &str) -> bool {
        let Self::OfList { prefix, .. } = self else {
            return false;
        };
        let names = |path: &str| choice.fields.contains(&format!("{prefix}.{path}"));
        let is_sent = |path: &str| names(path) != choice.exclude;
        let of_spec = is_under(path, SPEC);
        !(is_sent(path) || of_spec && is_sent(SPEC))
    }
}

/// Whether `path` is `of` or lies in it.
fn is_under(path: &str, of: &str) -> bool {
    path.strip_prefix(of)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl Choice {
    fn read(query: &str) -> Option<Self> {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let (_, fields) = pairs.find(|(name, _)| name == "fields")?;
        let (exclude, fields) = match fields.strip_prefix('-') {
            Some(fields) => (true, fields),
            None => (false, &*fields),
        };
        let is_choice = exclude || !fields.is_empty();
        is_choice.then(|| Self {
            fields: fields.split(',').map(str::to_owned).collect(),
            exclude,
        })
    }

    fn print(&self) -> String {
        let fields = self.fields.iter().map(String::as_str);
        let fields = fields.collect::<Vec<_>>().join(",");
        if self.exclude {
            format!("-{fields}")
        } else {
            fields
        }
    }

    /// As Argo CD does it, step by step.
    fn thin_out(&self, path: &str, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.thin_out(path, item)),
            Value::Object(members) => members.retain(|key, inner| {
                let path = match path {
                    "" => key.clone(),
                    path => format!("{path}.{key}"),
                };
                let named = self.fields.contains(&path);
                let begun = || self.fields.iter().any(|field| field.starts_with(&path));
                let stays = if self.exclude {
                    !named
                } else {
                    named || begun()
                };
                if stays && !named {
                    self.thin_out(&path, inner);
                }
                stays
            }),
            _ => {}
        }
    }
}

impl Asked {
    /// Leaves of `answer` what the caller chose.
    pub(super) fn choose(&self, answer: &mut Value) {
        match self {
            Self::Chosen(choice) => choice.thin_out("", answer),
            Self::Added(paths) => {
                let items = answer.get_mut("items").and_then(Value::as_array_mut);
                let items = items.into_iter().flatten().filter_map(Value::as_object_mut);
                for item in items {
                    for path in paths {
                        remove(item, path);
                    }
                }
            }
        }
    }
}

/// Removes what stands at `path`, and what holds nothing else.
fn remove(object: &mut Map<String, Value>, path: &[String]) {
    let Some((key, rest)) = path.split_first() else {
        return;
    };
    let is_empty = match object.get_mut(key) {
        Some(Value::Object(inner)) if !rest.is_empty() => {
            let was_empty = inner.is_empty();
            remove(inner, rest);
            inner.is_empty() && !was_empty
        }
        Some(_) => rest.is_empty(),
        None => false,
    };
    if is_empty {
        object.remove(key);
    }
}

#[cfg(test)]
mod tests;
