//! Protobuf by field number: what is kept is kept byte by byte.

use std::collections::BTreeMap;

use bytes::BytesMut;

use super::{Destination, Error, Facts, Layout};

/// One field of a message.
struct Field<'a> {
    number: u64,
    /// What a length-delimited field holds; absent for numbers.
    payload: Option<&'a [u8]>,
    /// The field as it stands in the message, key included.
    whole: &'a [u8],
}

/// `message` without the objects that may not be seen; none when nothing is left of it.
pub(super) fn filter<F: Facts>(
    message: &[u8],
    layout: Layout,
    permit: &dyn Fn(&F) -> bool,
) -> Result<Option<Vec<u8>>, Error> {
    let mut kept = BytesMut::with_capacity(message.len());
    let mut permitted = 0_usize;
    let mut objects = 0_usize;
    for field in fields(message) {
        let field = field?;
        match (field.number, field.payload) {
            (number, Some(object)) if number == layout.field => {
                objects += 1;
                if permit(&F::from_protobuf(object)?) {
                    permitted += 1;
                    kept.extend_from_slice(field.whole);
                }
            }
            // The metadata of a list, or the type of an event.
            (1, Some(_)) => kept.extend_from_slice(field.whole),
            (number, _) => return Err(Error::UnknownField { number }),
        }
    }
    if layout.repeated {
        return Ok(Some(kept.to_vec()));
    }
    match (objects, permitted) {
        (1, 1) => Ok(Some(kept.to_vec())),
        // Readers merge a field that comes twice, so neither part tells what they will see.
        (2.., _) => Err(Error::Twice {
            field: layout.field,
        }),
        (_, _) => Ok(None),
    }
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
