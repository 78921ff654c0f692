//! What STS answers, read strictly.
//!
//! In: the body of an answer. Out: the principal. Refused: everything but the one form of XML that
//! `GetCallerIdentity` has: an element that is not in its place or there twice, a comment, CDATA, a
//! reference (no name needs one), a DTD, text between elements, another namespace. JSON is not read.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::{AwsPrincipal, Fault};
use crate::identity::reason::Quoted;

/// The namespace of STS's answers.
const NAMESPACE: &[u8] = b"https://sts.amazonaws.com/doc/2011-06-15/";

/// The elements of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Element {
    Account,
    Arn,
    Metadata,
    RequestId,
    Response,
    Result,
    UserId,
}

impl Element {
    /// The element `name` in `parent`, where there is one.
    fn within(parent: Option<Self>, name: &[u8]) -> Option<Self> {
        Some(match (parent, name) {
            (None, b"GetCallerIdentityResponse") => Self::Response,
            (Some(Self::Response), b"GetCallerIdentityResult") => Self::Result,
            (Some(Self::Response), b"ResponseMetadata") => Self::Metadata,
            (Some(Self::Metadata), b"RequestId") => Self::RequestId,
            (Some(Self::Result), b"Account") => Self::Account,
            (Some(Self::Result), b"Arn") => Self::Arn,
            (Some(Self::Result), b"UserId") => Self::UserId,
            _ => return None,
        })
    }

    fn holds_text(self) -> bool {
        matches!(
            self,
            Self::Account | Self::Arn | Self::RequestId | Self::UserId
        )
    }
}

/// Who the caller is, by `body`.
pub(super) fn read(body: &[u8]) -> Result<AwsPrincipal, Fault> {
    let elements = elements(body).map_err(|what| Fault::Answer { what })?;
    let text = |element, what| {
        let text = elements.get(&element).filter(|text| !text.is_empty());
        text.ok_or(Fault::Answer { what })
    };
    let account = text(Element::Account, "it has no `Account`")?;
    let arn = text(Element::Arn, "it has no `Arn`")?;
    text(Element::UserId, "it has no `UserId`")?;
    let principal = AwsPrincipal::of_caller(arn).ok_or_else(|| Fault::NotPrincipal {
        arn: Quoted::new(arn),
    })?;
    if principal.account != *account {
        let what = "`Arn` and `Account` disagree";
        return Err(Fault::Answer { what });
    }
    Ok(principal)
}

/// The texts of all elements, each of which is there once.
fn elements(body: &[u8]) -> Result<BTreeMap<Element, String>, &'static str> {
    let body = std::str::from_utf8(body).map_err(|_| "it is not UTF-8")?;
    let mut reader = Reader::from_str(body);
    let mut elements = BTreeMap::new();
    let mut open = Vec::new();
    let mut is_first = true;
    loop {
        let event = reader
            .read_event()
            .map_err(|_| "it is not well-formed XML")?;
        match event {
            Event::Decl(_) if is_first => {}
            Event::Start(start) => {
                let element = Element::within(open.last().copied(), start.name().as_ref())
                    .ok_or("an element is not in its place")?;
                check_attributes(element, &start)?;
                if elements.insert(element, String::new()).is_some() {
                    return Err("an element is there twice");
                }
                open.push(element);
            }
            Event::End(_) => {
                open.pop();
            }
            Event::Text(text) => {
                let text = std::str::from_utf8(&text).map_err(|_| "it is not UTF-8")?;
                match open.last().filter(|element| element.holds_text()) {
                    Some(element) => elements.entry(*element).or_default().push_str(text),
                    None if text.trim_ascii().is_empty() => {}
                    None => return Err("it has text between elements"),
                }
            }
            Event::Eof if open.is_empty() => return Ok(elements),
            Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::DocType(_)
            | Event::Empty(_)
            | Event::Eof
            | Event::GeneralRef(_)
            | Event::PI(_) => return Err("it holds what such an answer does not have"),
        }
        is_first = false;
    }
}

/// The namespace on the outermost element, and nothing else.
fn check_attributes(element: Element, start: &BytesStart<'_>) -> Result<(), &'static str> {
    let attributes: Result<Vec<_>, _> = start.attributes().collect();
    let attributes = attributes.map_err(|_| "it is not well-formed XML")?;
    let is_good = match attributes.as_slice() {
        [] => element != Element::Response,
        [one] => {
            element == Element::Response
                && one.key.as_ref() == b"xmlns"
                && one.value.as_ref() == NAMESPACE
        }
        _ => false,
    };
    is_good
        .then_some(())
        .ok_or("an attribute is not in its place")
}
