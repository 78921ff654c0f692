//! JSON by key: what is kept is kept byte by byte.
//!
//! The containers are taken apart by hand and their values by `serde_json`, which tells where each
//! ends; so an object is copied as it came and never printed anew.

use serde::de::{DeserializeOwned, IgnoredAny};

use super::{Error, Facts, Layout};

/// `{"metadata":…,"items":[…]}` without the objects that may not be seen.
pub(super) fn filter_list<F: Facts>(
    text: &[u8],
    layout: Layout,
    permit: &dyn Fn(&F) -> bool,
) -> Result<Vec<u8>, Error> {
    let mut cursor = Cursor { rest: text };
    let mut out = Vec::with_capacity(text.len());
    let mut seen = false;
    let mut separator = b'{';
    cursor.members(|key, cursor| {
        out.push(separator);
        separator = b',';
        out.extend(serde_json::to_vec(key).map_err(|_| Error::Malformed)?);
        out.push(b':');
        match key {
            "apiVersion" | "kind" | "metadata" => {
                out.extend_from_slice(cursor.value::<IgnoredAny>()?.1);
                Ok(())
            }
            key if key == layout.key && !seen => {
                seen = true;
                items(cursor, &mut out, permit)
            }
            key => Err(Error::UnknownKey {
                key: key.to_owned(),
            }),
        }
    })?;
    cursor.end()?;
    if !seen {
        return Err(Error::Malformed);
    }
    out.push(b'}');
    Ok(out)
}

/// Whether the event `{"result":{"type":…,"application":{…}}}` may be seen. Argo CD's own error,
/// `{"error":…}`, holds no object and may.
pub(super) fn permits_event<F: Facts>(
    text: &[u8],
    layout: Layout,
    permit: &dyn Fn(&F) -> bool,
) -> Result<bool, Error> {
    let mut cursor = Cursor { rest: text };
    let mut permitted = false;
    let mut members = 0;
    cursor.members(|key, cursor| {
        members += 1;
        match key {
            "error" if members == 1 => {
                cursor.value::<IgnoredAny>()?;
                permitted = true;
                Ok(())
            }
            "result" if members == 1 => {
                permitted = permits_result(cursor, layout, permit)?;
                Ok(())
            }
            key => Err(Error::UnknownKey {
                key: key.to_owned(),
            }),
        }
    })?;
    cursor.end()?;
    Ok(permitted)
}

fn permits_result<F: Facts>(
    cursor: &mut Cursor<'_>,
    layout: Layout,
    permit: &dyn Fn(&F) -> bool,
) -> Result<bool, Error> {
    let mut permitted = None;
    cursor.members(|key, cursor| match key {
        "type" => cursor.value::<IgnoredAny>().map(drop),
        key if key == layout.key && permitted.is_none() => {
            permitted = Some(permit(&F::from_json(cursor.value::<IgnoredAny>()?.1)?));
            Ok(())
        }
        key => Err(Error::UnknownKey {
            key: key.to_owned(),
        }),
    })?;
    Ok(permitted.unwrap_or(false))
}

fn items<F: Facts>(
    cursor: &mut Cursor<'_>,
    out: &mut Vec<u8>,
    permit: &dyn Fn(&F) -> bool,
) -> Result<(), Error> {
    if cursor.peek() != Some(b'[') {
        // Go writes an empty list as `null`.
        cursor.value::<()>()?;
        out.extend_from_slice(b"null");
        return Ok(());
    }
    cursor.token(b'[')?;
    out.push(b'[');
    let mut first = true;
    while cursor.peek() != Some(b']') {
        let (_, object) = cursor.value::<IgnoredAny>()?;
        if permit(&F::from_json(object)?) {
            if !first {
                out.push(b',');
            }
            first = false;
            out.extend_from_slice(object);
        }
        if cursor.peek() != Some(b']') {
            cursor.token(b',')?;
            if cursor.peek() == Some(b']') {
                return Err(Error::Malformed);
            }
        }
    }
    cursor.token(b']')?;
    out.push(b']');
    Ok(())
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
