//! JSON by key: what is kept is kept byte by byte.
//!
//! The containers are taken apart by hand and their values by `serde_json`, which tells where each
//! ends; so an object is copied as it came and never printed anew. Only where more was asked of the
//! upstream than the caller wanted, what is left is printed, without the rest.

use std::borrow::Cow;

use serde::de::{DeserializeOwned, IgnoredAny};

use super::fields::Asked;
use super::{Error, Holds, Layout, Rule, Seen};

/// What of a whole answer, such as `{"metadata":…,"items":[…]}`, may be seen.
pub(super) fn filter_whole(
    text: &[u8],
    layout: &Layout,
    rule: &dyn Rule,
    asked: Option<&Asked>,
) -> Result<Vec<u8>, Error> {
    let mut cursor = Cursor { rest: text };
    let mut kept = Kept::new(text.len());
    // An answer about one object is one event of a stream, and none of those.
    message(&mut cursor, layout, rule, &mut kept)?;
    cursor.end()?;
    Ok(chosen(kept.whole(text), asked)?.into_owned())
}

/// What of the event `{"result":{…}}` may be seen, if anything. Argo CD's own error, `{"error":…}`,
/// holds no object and may.
pub(super) fn filter_event<'a>(
    text: &'a [u8],
    layout: &Layout,
    rule: &dyn Rule,
    asked: Option<&Asked>,
) -> Result<Seen<'a>, Error> {
    let mut cursor = Cursor { rest: text };
    let mut kept = Kept::new(text.len());
    let mut permitted = false;
    let mut is_error = false;
    let mut members = 0;
    cursor.members(|key, cursor| {
        members += 1;
        match key {
            "error" if members == 1 => {
                (permitted, is_error) = (true, true);
                kept.member(key, cursor.value::<IgnoredAny>()?.1)
            }
            "result" if members == 1 => {
                kept.key(key)?;
                permitted = message(cursor, layout, rule, &mut kept)?;
                Ok(())
            }
            key => Err(unknown(key)),
        }
    })?;
    cursor.end()?;
    if !permitted {
        return Ok(None);
    }
    kept.out.push(b'}');
    let kept = kept.whole(text);
    if is_error {
        return Ok(Some(kept));
    }
    chosen(kept, asked).map(Some)
}

/// `object` without those members of the list under `key` that are hidden.
pub(super) fn without<'a>(
    object: &'a [u8],
    key: &str,
    hides: &dyn Fn(&[u8]) -> Result<bool, Error>,
) -> Result<Cow<'a, [u8]>, Error> {
    let mut cursor = Cursor { rest: object };
    let mut kept = Kept::new(object.len());
    cursor.members(|found, cursor| {
        if found != key {
            return kept.member(found, cursor.value::<IgnoredAny>()?.1);
        }
        kept.key(key)?;
        list(cursor, &mut kept, &|item| {
            Ok((!hides(item)?).then_some(Cow::Borrowed(item)))
        })
    })?;
    cursor.end()?;
    kept.out.push(b'}');
    Ok(kept.whole(object))
}

/// `kept` with only what the caller chose.
fn chosen<'a>(kept: Cow<'a, [u8]>, asked: Option<&Asked>) -> Result<Cow<'a, [u8]>, Error> {
    let Some(asked) = asked else {
        return Ok(kept);
    };
    let mut value = serde_json::from_slice(&kept).map_err(|_| Error::Malformed)?;
    asked.choose(&mut value);
    let chosen = serde_json::to_vec(&value).map_err(|_| Error::Malformed)?;
    Ok(Cow::Owned(chosen))
}

/// One message; whether it may be seen at all.
fn message(
    cursor: &mut Cursor<'_>,
    layout: &Layout,
    rule: &dyn Rule,
    kept: &mut Kept,
) -> Result<bool, Error> {
    let mut seen = Vec::new();
    let mut only = None;
    let start = kept.out.len();
    cursor.members(|key, cursor| {
        let part = layout.parts.iter().find(|part| part.key == key);
        let part = part.filter(|part| !seen.contains(&part.key));
        let part = part.ok_or_else(|| unknown(key))?;
        seen.push(part.key);
        let key = part.key;
        match part.holds {
            Holds::Plain => kept.member_from(start, key, cursor.value::<IgnoredAny>()?.1),
            Holds::List | Holds::Objects => {
                kept.key_from(start, key)?;
                list(cursor, kept, &|object| rule.json(object))
            }
            Holds::Only => {
                let object = rule.json(cursor.value::<IgnoredAny>()?.1)?;
                only = Some(object.is_some());
                match object {
                    None => Ok(()),
                    Some(object) => {
                        kept.changed |= matches!(object, Cow::Owned(_));
                        kept.member_from(start, key, &object)
                    }
                }
            }
        }
    })?;
    kept.close(start);
    let missing = |holds| {
        layout
            .parts
            .iter()
            .any(|p| p.holds == holds && !seen.contains(&p.key))
    };
    if missing(Holds::List) {
        return Err(Error::Malformed);
    }
    Ok(only.unwrap_or_else(|| !missing(Holds::Only)))
}

/// A list, of whose items `keep` says what may be seen.
fn list(
    cursor: &mut Cursor<'_>,
    kept: &mut Kept,
    keep: &dyn for<'a> Fn(&'a [u8]) -> Result<Seen<'a>, Error>,
) -> Result<(), Error> {
    if cursor.peek() != Some(b'[') {
        // Go writes an empty list as `null`.
        cursor.value::<()>()?;
        kept.out.extend_from_slice(b"null");
        return Ok(());
    }
    cursor.token(b'[')?;
    kept.out.push(b'[');
    let mut first = true;
    while cursor.peek() != Some(b']') {
        let (_, item) = cursor.value::<IgnoredAny>()?;
        let item = keep(item)?;
        kept.changed |= !matches!(item, Some(Cow::Borrowed(_)));
        if let Some(item) = item {
            if !first {
                kept.out.push(b',');
            }
            first = false;
            kept.out.extend_from_slice(&item);
        }
        if cursor.peek() != Some(b']') {
            cursor.token(b',')?;
            if cursor.peek() == Some(b']') {
                return Err(Error::Malformed);
            }
        }
    }
    cursor.token(b']')?;
    kept.out.push(b']');
    Ok(())
}

fn unknown(key: &str) -> Error {
    Error::UnknownKey {
        key: key.to_owned(),
    }
}

/// What is kept of a text, and whether it is less than the text.
struct Kept {
    out: Vec<u8>,
    changed: bool,
}

impl Kept {
    fn new(capacity: usize) -> Self {
        Self {
            out: Vec::with_capacity(capacity),
            changed: false,
        }
    }

    /// The text itself where all of it is kept.
    fn whole(self, text: &[u8]) -> Cow<'_, [u8]> {
        if self.changed {
            Cow::Owned(self.out)
        } else {
            Cow::Borrowed(text)
        }
    }

    /// The next key of the outermost object.
    fn key(&mut self, key: &str) -> Result<(), Error> {
        self.key_from(0, key)
    }

    /// The next key of the object that begins at `start`.
    fn key_from(&mut self, start: usize, key: &str) -> Result<(), Error> {
        self.out
            .push(if self.out.len() == start { b'{' } else { b',' });
        self.out
            .extend(serde_json::to_vec(key).map_err(|_| Error::Malformed)?);
        self.out.push(b':');
        Ok(())
    }

    /// The next member of the outermost object.
    fn member(&mut self, key: &str, value: &[u8]) -> Result<(), Error> {
        self.member_from(0, key, value)
    }

    /// The next member of the object that begins at `start`.
    fn member_from(&mut self, start: usize, key: &str, value: &[u8]) -> Result<(), Error> {
        self.key_from(start, key)?;
        self.out.extend_from_slice(value);
        Ok(())
    }

    /// Ends the object that begins at `start`.
    fn close(&mut self, start: usize) {
        if self.out.len() == start {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }
}

/// A place in a JSON text.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// The next byte that is not white space, left where it is.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.first().copied()
    }

    fn token(&mut self, expected: u8) -> Result<(), Error> {
        let found = self.peek();
        match self.rest.split_first() {
            Some((_, rest)) if found == Some(expected) => {
                self.rest = rest;
                Ok(())
            }
            _ => Err(Error::Malformed),
        }
    }

    /// The next value, and its bytes.
    fn value<T: DeserializeOwned>(&mut self) -> Result<(T, &'a [u8]), Error> {
        self.peek();
        let mut values = serde_json::Deserializer::from_slice(self.rest).into_iter::<T>();
        let value = values.next().and_then(Result::ok).ok_or(Error::Malformed)?;
        let length = values.byte_offset();
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Error::Malformed)?;
        self.rest = rest;
        Ok((value, bytes))
    }

    /// An object; `member` must consume the value of each key that it is called with.
    fn members(
        &mut self,
        mut member: impl FnMut(&str, &mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.token(b'{')?;
        while self.peek() != Some(b'}') {
            let (key, _) = self.value::<String>()?;
            self.token(b':')?;
            member(&key, self)?;
            if self.peek() != Some(b'}') {
                self.token(b',')?;
                if self.peek() == Some(b'}') {
                    return Err(Error::Malformed);
                }
            }
        }
        self.token(b'}')
    }

    /// Nothing may follow: readers differ in what they make of it.
    fn end(&mut self) -> Result<(), Error> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(Error::Malformed),
        }
    }
}
