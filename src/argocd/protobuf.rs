//! Looks at single fields of protobuf bytes, without reading the rest.
//!
//! In: the bytes of a message and the numbers of the fields that lead to the one wanted. Out: its
//! value. Readers differ on a field that comes twice (the last, or both merged) and on tags beyond
//! 32 bits: on the way to the wanted field both are refused, so that whoever reads these bytes next
//! finds what was found here. Groups, which no message of Argo CD has, are refused.

/// Why bytes are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// They are not a protobuf message.
    #[error("the message is not protobuf")]
    Malformed,
    /// The text is not UTF-8.
    #[error("field {0} is not UTF-8")]
    NotUtf8(u32),
    /// The field comes more than once.
    #[error("field {0} comes more than once")]
    Twice(u32),
    /// The field has another type than it should.
    #[error("field {0} has another type")]
    Type(u32),
}

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) value: Value<'a>,
    /// The field as it stands in the message, with its tag.
    pub(crate) raw: &'a [u8],
}

/// The value of a field, by its wire type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Bytes(&'a [u8]),
    /// 32 or 64 bits of fixed width; no field that the gate reads.
    Fixed,
    Varint(u64),
}

/// The fields of a message, in their order.
pub(crate) struct Fields<'a>(&'a [u8]);

/// Walks over the fields of `message`.
pub(crate) fn fields(message: &[u8]) -> Fields<'_> {
    Fields(message)
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.take();
        if field.is_none() {
            // After a broken field nothing can be told.
            self.0 = &[];
        }
        Some(field.ok_or(Error::Malformed))
    }
}

impl<'a> Fields<'a> {
    fn take(&mut self) -> Option<Field<'a>> {
        let start = self.0;
        let tag = u32::try_from(self.varint()?).ok()?;
        let number = tag >> 3;
        if number == 0 {
            return None;
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.bytes(8).map(|_| Value::Fixed)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.bytes(length)?)
            }
            5 => self.bytes(4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        let raw = start.get(..start.len() - self.0.len())?;
        Some(Field { number, value, raw })
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}

/// The value of the one field `number` of `message`.
fn one(message: &[u8], number: u32) -> Result<Option<Value<'_>>, Error> {
    let mut found = None;
    for field in fields(message) {
        let field = field?;
        if field.number == number && found.replace(field.value).is_some() {
            return Err(Error::Twice(number));
        }
    }
    Ok(found)
}

/// The bytes at the end of the path `numbers`.
pub(crate) fn bytes_at(
    message: &[u8],
    numbers: impl IntoIterator<Item = u32>,
) -> Result<Option<&[u8]>, Error> {
    let mut here = message;
    for number in numbers {
        match one(here, number)? {
            None => return Ok(None),
            Some(Value::Bytes(inner)) => here = inner,
            Some(_) => return Err(Error::Type(number)),
        }
    }
    Ok(Some(here))
}

/// The text at the end of the path `numbers`.
pub(crate) fn text_at(
    message: &[u8],
    numbers: impl IntoIterator<Item = u32> + Clone,
) -> Result<Option<&str>, Error> {
    let last = numbers.clone().into_iter().last().unwrap_or_default();
    bytes_at(message, numbers)?
        .map(|bytes| std::str::from_utf8(bytes).map_err(|_| Error::NotUtf8(last)))
        .transpose()
}

/// `message` without the fields for which `leave_out` says so; the others byte for byte.
pub(crate) fn without(message: &[u8], leave_out: impl Fn(u32) -> bool) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(message.len());
    for field in fields(message) {
        let field = field?;
        if !leave_out(field.number) {
            out.extend_from_slice(field.raw);
        }
    }
    Ok(out)
}

/// Whether nothing in `message` has a value: Argo CD writes empty inner messages and texts out.
pub(crate) fn is_blank(message: &[u8], depth: u8) -> bool {
    depth > 0
        && fields(message).all(|field| match field {
            Ok(Field {
                value: Value::Bytes(inner),
                ..
            }) => is_blank(inner, depth - 1),
            Ok(Field {
                value: Value::Varint(number),
                ..
            }) => number == 0,
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_along_its_path() {
        // 1: { 1: "ab" }, 3: 7
        let message = [0x0a, 4, 0x0a, 2, b'a', b'b', 0x18, 7];
        assert_eq!(text_at(&message, [1, 1]), Ok(Some("ab")));
        assert_eq!(text_at(&message, [1, 2]), Ok(None));
        assert_eq!(text_at(&message, [3]), Err(Error::Type(3)));
    }

    #[test]
    fn a_field_twice_is_refused_since_readers_merge_or_take_the_last() {
        let message = [0x0a, 1, b'a', 0x0a, 1, b'b'];
        assert_eq!(text_at(&message, [1]), Err(Error::Twice(1)));
    }

    /// gogo/protobuf cuts a tag to 32 bits and would read this as field 1.
    #[test]
    fn a_tag_beyond_32_bits_is_refused() {
        let message = [0x8a, 0x80, 0x80, 0x80, 0x80, 0x01, 1, b'a'];
        assert_eq!(text_at(&message, [1]), Err(Error::Malformed));
    }

    #[test]
    fn groups_field_zero_and_cut_bytes_are_refused() {
        for message in [
            &[0x0b, 0x0c][..],
            &[0x02, 0],
            &[0x0a, 5, b'a'],
            &[0x0a],
            &[0x80],
            &[
                0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02,
            ],
        ] {
            assert_eq!(text_at(message, [1]), Err(Error::Malformed), "{message:?}");
        }
        assert_eq!(text_at(&[0x0a, 1, 0xff], [1]), Err(Error::NotUtf8(1)));
    }

    #[test]
    fn leaving_a_field_out_keeps_the_others_byte_for_byte() {
        let message = [0x18, 0x87, 0x00, 0x0a, 1, b'a', 0x15, 1, 2, 3, 4];
        assert_eq!(
            without(&message, |number| number == 1).unwrap(),
            [0x18, 0x87, 0x00, 0x15, 1, 2, 3, 4]
        );
    }

    #[test]
    fn a_message_of_empty_texts_and_zeros_is_blank() {
        assert!(is_blank(&[], 4));
        assert!(is_blank(&[0x0a, 4, 0x0a, 0, 0x10, 0], 4));
        assert!(!is_blank(&[0x0a, 4, 0x0a, 0, 0x10, 1], 4));
        assert!(!is_blank(&[0x0a, 1, b'a'], 4));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_walk_without_loss(
            message in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64),
        ) {
            if let Ok(copy) = without(&message, |_| false) {
                proptest::prop_assert_eq!(copy, message);
            }
        }
    }
}
