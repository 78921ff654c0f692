//! Protobuf by field number: what is kept is kept byte by byte.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Destination, Error, Holds, Layout, Named, Rule, Seen};

/// One field of a message.
struct Field<'a> {
    number: u64,
    /// What a length-delimited field holds; absent for numbers.
    payload: Option<&'a [u8]>,
    /// The field as it stands in the message, key included.
    whole: &'a [u8],
}

/// What of `message` may be seen; none when that is nothing.
pub(super) fn filter(
    message: &[u8],
    layout: &Layout,
    rule: &dyn Rule,
) -> Result<Option<Vec<u8>>, Error> {
    let mut kept = Vec::with_capacity(message.len());
    let (mut only, mut only_permitted) = (None, false);
    for field in fields(message) {
        let field = field?;
        let number = field.number;
        let part = layout.parts.iter().find(|part| part.field == Some(number));
        match (part.map(|part| part.holds), field.payload) {
            (Some(Holds::Plain), _) => kept.extend_from_slice(field.whole),
            (Some(Holds::List | Holds::Objects), Some(object)) => {
                let object = rule.protobuf(object)?;
                put(&mut kept, &field, object);
            }
            (Some(Holds::Only), Some(object)) => {
                // Readers merge a field that comes twice, so neither part tells what they will see.
                if only.replace(number).is_some() {
                    return Err(Error::Twice { field: number });
                }
                let object = rule.protobuf(object)?;
                only_permitted = object.is_some();
                put(&mut kept, &field, object);
            }
            _ => return Err(Error::UnknownField { number }),
        }
    }
    let about_one = layout.parts.iter().any(|part| part.holds == Holds::Only);
    Ok((only_permitted || !about_one).then_some(kept))
}

/// Puts `object` where `field` was, if something of it may be seen.
fn put(out: &mut Vec<u8>, field: &Field<'_>, object: Seen<'_>) {
    match object {
        None => {}
        Some(Cow::Borrowed(_)) => out.extend_from_slice(field.whole),
        Some(Cow::Owned(object)) => put_bytes(out, field.number, &object),
    }
}

/// Writes a length-delimited field.
fn put_bytes(out: &mut Vec<u8>, number: u64, payload: &[u8]) {
    prost::encoding::encode_varint(number << 3 | 2, out);
    prost::encoding::encode_varint(payload.len() as u64, out);
    out.extend_from_slice(payload);
}

/// The name of a `ResourceRef`, by the numbers of its `generated.proto`.
fn resource_ref(message: &[u8]) -> Result<Named, Error> {
    named(message, [(1, 0), (3, 1), (4, 2), (5, 3)])
}

/// The name of a `ResourceDiff`, and what states it has.
pub(super) fn diff(message: &[u8]) -> Result<(Named, Vec<String>), Error> {
    let name = named(message, [(1, 0), (2, 1), (3, 2), (4, 3)])?;
    let mut states = Vec::new();
    for field in fields(message) {
        let field = field?;
        if let (5 | 6 | 9 | 10, Some(payload)) = (field.number, field.payload) {
            states.push(text(payload)?);
        }
    }
    Ok((name, states))
}

/// Group, kind, namespace and name, which have the given numbers.
fn named(message: &[u8], numbers: [(u64, usize); 4]) -> Result<Named, Error> {
    let mut texts: [Option<&[u8]>; 4] = [None; 4];
    for field in fields(message) {
        let field = field?;
        let known = numbers.iter().find(|(number, _)| *number == field.number);
        if let (Some((number, place)), Some(payload)) = (known, field.payload)
            && let Some(place) = texts.get_mut(*place)
        {
            once(place, payload, *number)?;
        }
    }
    let [group, kind, namespace, name] = texts.map(|bytes| text(bytes.unwrap_or_default()));
    Ok(Named {
        group: group?,
        kind: kind?,
        namespace: namespace?,
        name: name?,
    })
}

/// What of a `ResourceNode` may be seen, where `hides` tells which resources may not.
pub(super) fn node<'a>(
    object: &'a [u8],
    hides: &dyn Fn(&Named) -> bool,
) -> Result<Seen<'a>, Error> {
    let mut name = None;
    let mut kept = Vec::new();
    for field in fields(object) {
        let field = field?;
        match (field.number, field.payload) {
            (1, Some(payload)) => {
                once(&mut name, payload, 1)?;
                kept.extend_from_slice(field.whole);
            }
            (2, Some(payload)) if hides(&resource_ref(payload)?) => {}
            _ => kept.extend_from_slice(field.whole),
        }
    }
    if hides(&resource_ref(name.unwrap_or_default())?) {
        return Ok(None);
    }
    Ok(Some(if kept.len() == object.len() {
        Cow::Borrowed(object)
    } else {
        Cow::Owned(kept)
    }))
}

/// The facts of `argoproj.io/Application`, by the numbers of its `generated.proto`.
pub(super) fn application(object: &[u8]) -> Result<super::AppFacts, Error> {
    let mut facts = super::AppFacts::default();
    let (mut metadata, mut spec) = (None, None);
    for field in fields(object) {
        let field = field?;
        match (field.number, field.payload) {
            (1, Some(payload)) => once(&mut metadata, payload, 1)?,
            (2, Some(payload)) => once(&mut spec, payload, 2)?,
            _ => {}
        }
    }
    read_metadata(metadata.ok_or(Error::NoName)?, &mut facts)?;
    read_spec(spec.unwrap_or_default(), &mut facts)?;
    if facts.name.is_empty() {
        return Err(Error::NoName);
    }
    Ok(facts)
}

/// `k8s.io/apimachinery` `ObjectMeta`.
fn read_metadata(metadata: &[u8], facts: &mut super::AppFacts) -> Result<(), Error> {
    for field in fields(metadata) {
        let field = field?;
        match (field.number, field.payload) {
            (1, Some(payload)) => facts.name = text(payload)?,
            (3, Some(payload)) => facts.namespace = text(payload)?,
            (5, Some(payload)) => facts.uid = Some(text(payload)?),
            (11, Some(payload)) => read_label(payload, &mut facts.labels)?,
            _ => {}
        }
    }
    Ok(())
}

fn read_label(entry: &[u8], labels: &mut BTreeMap<String, String>) -> Result<(), Error> {
    let (mut key, mut value) = (String::new(), String::new());
    for field in fields(entry) {
        let field = field?;
        match (field.number, field.payload) {
            (1, Some(payload)) => key = text(payload)?,
            (2, Some(payload)) => value = text(payload)?,
            _ => {}
        }
    }
    labels.insert(key, value);
    Ok(())
}

/// `ApplicationSpec`.
fn read_spec(spec: &[u8], facts: &mut super::AppFacts) -> Result<(), Error> {
    let mut destination = None;
    for field in fields(spec) {
        let field = field?;
        match (field.number, field.payload) {
            (2, Some(payload)) => once(&mut destination, payload, 2)?,
            (3, Some(payload)) => facts.project = text(payload)?,
            _ => {}
        }
    }
    facts.destination = read_destination(destination.unwrap_or_default())?;
    Ok(())
}

/// `ApplicationDestination`.
fn read_destination(message: &[u8]) -> Result<Destination, Error> {
    let mut destination = Destination::default();
    for field in fields(message) {
        let field = field?;
        match (field.number, field.payload) {
            (1, Some(payload)) => destination.server = text(payload)?,
            (2, Some(payload)) => destination.namespace = text(payload)?,
            (3, Some(payload)) => destination.name = text(payload)?,
            _ => {}
        }
    }
    Ok(destination)
}

fn once<'a>(place: &mut Option<&'a [u8]>, value: &'a [u8], field: u64) -> Result<(), Error> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::Twice { field }),
    }
}

fn text(bytes: &[u8]) -> Result<String, Error> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::Malformed)
}

/// The fields of `message`, one by one; ends after an error.
fn fields(message: &[u8]) -> impl Iterator<Item = Result<Field<'_>, Error>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = next(&mut rest).ok_or(Error::Malformed);
        if field.is_err() {
            rest = &[];
        }
        Some(field)
    })
}

/// One field off `rest`. Groups are long gone from protobuf and not read.
fn next<'a>(rest: &mut &'a [u8]) -> Option<Field<'a>> {
    let start = *rest;
    let key = varint(rest)?;
    let payload = match key & 7 {
        0 => {
            varint(rest)?;
            None
        }
        1 => {
            take(rest, 8)?;
            None
        }
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Some(take(rest, length)?)
        }
        5 => {
            take(rest, 4)?;
            None
        }
        _ => return None,
    };
    let whole = start.get(..start.len() - rest.len())?;
    let number = key >> 3;
    (number != 0).then_some(Field {
        number,
        payload,
        whole,
    })
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *take(rest, 1)?.first()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}
