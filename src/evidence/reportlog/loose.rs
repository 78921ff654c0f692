//! Values of a report log that may be anything, of which only what is asked for is kept.
//!
//! `serde_json::Value` would take many times the memory of a line that somebody made for that.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::evidence::run::MAX_MESSAGE_BYTES;

/// Parameters of a sub-test that its name tells, at most.
const MAX_PARAMETERS: usize = 32;

/// A value that is kept if it is a plain one.
#[derive(Default)]
pub(super) enum Scalar {
    #[default]
    Absent,
    Text(String),
    Integer(i64),
    Number(f64),
    Other,
}

impl Scalar {
    pub(super) fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn number(self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(number),
            // pytest's times are floats; whole ones are small.
            #[expect(clippy::cast_precision_loss, reason = "of a time, seconds matter")]
            Self::Integer(number) => Some(number as f64),
            _ => None,
        }
    }

    fn in_words(&self) -> String {
        match self {
            Self::Text(text) => text.chars().take(200).collect(),
            Self::Integer(number) => number.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Absent => "None".to_owned(),
            Self::Other => "...".to_owned(),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(i64::try_from(number).map_or(Scalar::Other, Scalar::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Absent)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Scalar, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

/// `longrepr`: a text, an object with `reprcrash.message`, or a list whose third item is a reason.
#[derive(Default)]
pub(super) struct Failure(pub(super) Option<String>);

#[derive(Default, Deserialize)]
struct Crash {
    #[serde(default)]
    message: Scalar,
}

impl<'de> Deserialize<'de> for Failure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FailureVisitor)
    }
}

struct FailureVisitor;

impl<'de> Visitor<'de> for FailureVisitor {
    type Value = Failure;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a failure")
    }

    fn visit_str<E>(self, text: &str) -> Result<Failure, E> {
        let end = text.floor_char_boundary(MAX_MESSAGE_BYTES);
        Ok(Failure(text.get(..end).map(str::to_owned)))
    }

    fn visit_unit<E>(self) -> Result<Failure, E> {
        Ok(Failure(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Failure, E> {
        Ok(Failure(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Failure, E> {
        Ok(Failure(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Failure, E> {
        Ok(Failure(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Failure, E> {
        Ok(Failure(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Failure, A::Error> {
        let mut message = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == "reprcrash" {
                let crash = map.next_value::<Option<Crash>>()?;
                message = crash.and_then(|crash| crash.message.text());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Failure(message))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Failure, A::Error> {
        let (mut place, mut reason) = (0_u8, None);
        while place < 2 && list.next_element::<IgnoredAny>()?.is_some() {
            place += 1;
        }
        if place == 2 {
            reason = list.next_element::<Scalar>()?.and_then(Scalar::text);
            while list.next_element::<IgnoredAny>()?.is_some() {}
        }
        Ok(Failure(reason))
    }
}

/// `_subtest.context`.
#[derive(Default)]
pub(super) struct Context {
    pub(super) message: Option<String>,
    pub(super) parameters: Vec<String>,
}

#[derive(Default, Deserialize)]
struct ContextFields {
    #[serde(default)]
    msg: Scalar,
    #[serde(default)]
    kwargs: Parameters,
}

impl<'de> Deserialize<'de> for Context {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Option::<ContextFields>::deserialize(deserializer)?.unwrap_or_default();
        Ok(Self {
            message: fields.msg.text(),
            parameters: fields.kwargs.0,
        })
    }
}

/// `name=value`, a part of them if they are many.
#[derive(Default)]
struct Parameters(Vec<String>);

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ParametersVisitor)
    }
}

struct ParametersVisitor;

impl<'de> Visitor<'de> for ParametersVisitor {
    type Value = Parameters;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("parameters of a sub-test")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parameters, A::Error> {
        let mut told = Vec::new();
        while told.len() < MAX_PARAMETERS
            && let Some((name, value)) = map.next_entry::<String, Scalar>()?
        {
            told.push(format!("{name}={}", value.in_words()));
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Parameters(told))
    }
}
