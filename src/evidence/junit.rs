//! Reads `JUnit` XML.
//!
//! In: one document, as the many writers of this form make it. Out: a [`Report`]. Read are
//! `testsuites`, `testsuite` (nested, too) and `testcase` with `failure`, `error`, `skipped`, and
//! Surefire's `rerunFailure`, `rerunError`, `flakyFailure`, `flakyError`, which are further attempts;
//! everything else is passed over, namespaces do not matter. Refused, with the line: documents with a
//! DTD or entities of their own, too deep, too large, or not well-formed; and a suite that counts
//! failures but holds none, which somebody edited.
//!
//! What the form cannot say: which tests were selected and not run, and which of two test cases of
//! the same name was a retry. Such cases are taken as different tests (`name #2`), so that all of
//! them have to pass; a tool that retries should report through the plugin, or as Surefire does.
//! Never: an outcome better than the document says.

use std::collections::HashMap;

use jiff::Timestamp;
use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::report::{ReadError, Report, clean_name, collected, line_of};
use super::run::{Attempt, MAX_MESSAGE_BYTES, MAX_RUN_ATTEMPTS, Outcome, Tool, cut};

mod case;

use case::{Case, Finding, Kind, milliseconds, outcome_of, timestamp};

/// Elements inside each other, at most.
const MAX_DEPTH: usize = 64;
/// Attributes of one element, at most.
const MAX_ATTRIBUTES: usize = 256;

/// Reads `document`. Attempts of suites without a time are taken to have begun `now`.
///
/// # Errors
/// [`ReadError`] with the line.
pub fn read(document: &[u8], now: Timestamp) -> Result<Report, ReadError> {
    let text = std::str::from_utf8(document).map_err(|error| ReadError::Syntax {
        line: line_of(document, error.valid_up_to() as u64),
        problem: "the text is not UTF-8".to_owned(),
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser {
        reader: Reader::from_str(text),
        text,
        open: Vec::new(),
        attempts: Vec::new(),
        seen: HashMap::new(),
        suites: 0,
        now,
    };
    parser.run()?;
    parser.report()
}

struct Parser<'a> {
    reader: Reader<&'a [u8]>,
    text: &'a str,
    open: Vec<Element>,
    attempts: Vec<Attempt>,
    /// How often each name was seen.
    seen: HashMap<String, u32>,
    suites: usize,
    now: Timestamp,
}

/// An element that has not ended.
enum Element {
    Suite(Suite),
    Case(Case),
    Finding(Finding),
    Other,
}

struct Suite {
    name: String,
    /// What it counts itself, failures and errors together.
    declared: u64,
    /// How many it was seen to hold.
    bad: u64,
    began: Timestamp,
}

impl Parser<'_> {
    fn run(&mut self) -> Result<(), ReadError> {
        loop {
            let event = self
                .reader
                .read_event()
                .map_err(|error| ReadError::Syntax {
                    line: line_of(self.text.as_bytes(), self.reader.error_position()),
                    problem: error.to_string(),
                })?;
            match event {
                Event::Start(start) => self.begin(&start)?,
                Event::Empty(start) => {
                    self.begin(&start)?;
                    self.end()?;
                }
                Event::End(_) => self.end()?,
                Event::Text(text) => self.say(&String::from_utf8_lossy(&text)),
                Event::CData(text) => self.say(&String::from_utf8_lossy(&text)),
                Event::GeneralRef(reference) => {
                    let character = self.resolve(&reference)?;
                    self.say(character.encode_utf8(&mut [0; 4]));
                }
                Event::DocType(_) => return Err(ReadError::Doctype { line: self.line() }),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Eof if self.open.is_empty() => return Ok(()),
                Event::Eof => return Err(self.syntax("the document ends inside an element")),
            }
        }
    }

    fn begin(&mut self, start: &BytesStart<'_>) -> Result<(), ReadError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(ReadError::TooDeep { line: self.line() });
        }
        let attributes = self.attributes(start)?;
        let finding = |kind| {
            let mut message = attributes.get("message").cloned().unwrap_or_default();
            if !message.is_empty() {
                message.push('\n');
            }
            Element::Finding(Finding { kind, message })
        };
        let element = match start.local_name().as_ref() {
            b"testsuites" | b"testsuite" => Element::Suite(self.suite(&attributes)),
            b"testcase" if self.is_in_suite() => Element::Case(self.case(&attributes)),
            b"failure" => finding(Kind::Is(Outcome::Failed)),
            b"error" => finding(Kind::Is(Outcome::Error)),
            b"flakyFailure" => finding(Kind::Flaky(Outcome::Failed)),
            b"flakyError" => finding(Kind::Flaky(Outcome::Error)),
            b"rerunFailure" => finding(Kind::Rerun(Outcome::Failed)),
            b"rerunError" => finding(Kind::Rerun(Outcome::Error)),
            b"skipped" => {
                let expected = attributes.get("type").is_some_and(|t| t == "pytest.xfail");
                let outcome = if expected {
                    Outcome::Xfailed
                } else {
                    Outcome::Skipped
                };
                finding(Kind::Is(outcome))
            }
            _ => Element::Other,
        };
        if self.open.is_empty() && !matches!(element, Element::Suite(_)) {
            return Err(ReadError::Other {
                wanted: "JUnit XML",
                found: format!(
                    "its first element is `{}`",
                    lossy(start.local_name().as_ref())
                ),
            });
        }
        self.open.push(element);
        Ok(())
    }

    fn is_in_suite(&self) -> bool {
        matches!(self.open.last(), Some(Element::Suite(_)))
    }

    /// The suite around, if there is one.
    fn around(&mut self) -> Option<&mut Suite> {
        self.open
            .iter_mut()
            .rev()
            .find_map(|element| match element {
                Element::Suite(suite) => Some(suite),
                _ => None,
            })
    }

    fn suite(&mut self, attributes: &HashMap<String, String>) -> Suite {
        self.suites += 1;
        let count = |name: &str| attributes.get(name).and_then(|n| n.parse::<u64>().ok());
        let outer = self.around().map(|suite| suite.began);
        let began = attributes.get("timestamp").and_then(|t| timestamp(t));
        Suite {
            name: attributes.get("name").cloned().unwrap_or_default(),
            declared: count("failures")
                .unwrap_or(0)
                .saturating_add(count("errors").unwrap_or(0)),
            bad: 0,
            began: began.or(outer).unwrap_or(self.now),
        }
    }

    fn case(&mut self, attributes: &HashMap<String, String>) -> Case {
        let text = |name: &str| attributes.get(name).map(String::as_str).unwrap_or_default();
        let (class, name) = (text("classname"), text("name"));
        let name = if class.is_empty() || class == name {
            clean_name(name)
        } else {
            clean_name(&format!("{class}::{name}"))
        };
        let now = self.now;
        Case {
            name: self.numbered(name),
            duration_ms: milliseconds(text("time")),
            began: self.around().map_or(now, |suite| suite.began),
            outcome: outcome_of(text("status"), text("result")),
            findings: Vec::new(),
        }
    }

    /// `name` at its first appearance, `name #2` at its second.
    fn numbered(&mut self, name: String) -> String {
        let count = self.seen.entry(name.clone()).or_default();
        *count += 1;
        if *count == 1 {
            name
        } else {
            format!("{name} #{count}")
        }
    }

    fn end(&mut self) -> Result<(), ReadError> {
        match self.open.pop() {
            Some(Element::Finding(finding)) => self.found(finding),
            Some(Element::Case(case)) => {
                let attempts = case.attempts();
                let bad = attempts.iter().filter(|a| a.outcome.is_bad()).count() as u64;
                if let Some(suite) = self.around() {
                    suite.bad += bad;
                }
                self.attempts.extend(attempts);
                if self.attempts.len() as u64 > MAX_RUN_ATTEMPTS {
                    return Err(ReadError::TooMany { line: self.line() });
                }
                Ok(())
            }
            Some(Element::Suite(suite)) => {
                if suite.declared > 0 && suite.bad == 0 {
                    return Err(ReadError::Contradiction {
                        line: self.line(),
                        suite: suite.name,
                        declared: suite.declared,
                    });
                }
                if let Some(outer) = self.around() {
                    outer.bad += suite.bad;
                }
                Ok(())
            }
            Some(Element::Other) | None => Ok(()),
        }
    }

    /// A finding belongs to the case around it; outside of one, the suite itself failed (its set-up,
    /// say), and that must be heard, too.
    fn found(&mut self, finding: Finding) -> Result<(), ReadError> {
        if let Some(Element::Case(case)) = self.open.last_mut() {
            case.findings.push(finding);
            return Ok(());
        }
        let Kind::Is(outcome) = finding.kind else {
            return Err(self.syntax("a further attempt stands outside of a test case"));
        };
        if !self.is_in_suite() || !outcome.is_bad() {
            return Ok(());
        }
        let now = self.now;
        let (name, began) = self
            .around()
            .map_or((String::new(), now), |s| (s.name.clone(), s.began));
        let name = self.numbered(clean_name(&format!("suite {name}")));
        self.open.push(Element::Case(Case {
            name,
            duration_ms: 0,
            began,
            outcome,
            findings: vec![finding],
        }));
        self.end()
    }

    /// Text belongs to the finding around it, wherever inside that it stands.
    fn say(&mut self, text: &str) {
        let finding = self
            .open
            .iter_mut()
            .rev()
            .find_map(|element| match element {
                Element::Finding(finding) => Some(finding),
                _ => None,
            });
        if let Some(finding) = finding {
            let room = MAX_MESSAGE_BYTES.saturating_sub(finding.message.len());
            let mut text = text.to_owned();
            cut(&mut text, room);
            if finding.message.is_empty() || finding.message.ends_with('\n') {
                text = text.trim_start().to_owned();
            }
            finding.message.push_str(&text);
        }
    }

    fn resolve(&self, reference: &BytesRef<'_>) -> Result<char, ReadError> {
        let name = lossy(reference);
        let character = match name.as_str() {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => reference.resolve_char_ref().ok().flatten(),
        };
        character.ok_or_else(|| ReadError::Entity {
            line: self.line(),
            name,
        })
    }

    fn attributes(&self, start: &BytesStart<'_>) -> Result<HashMap<String, String>, ReadError> {
        let mut all = HashMap::new();
        // Unchecked, since the check compares each with each; duplicates are found by the map.
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.map_err(|error| self.syntax(&error.to_string()))?;
            let value = attribute
                .unescape_value()
                .map_err(|error| self.syntax(&error.to_string()))?;
            let key = lossy(attribute.key.local_name().as_ref());
            let is_plain = attribute.key.prefix().is_none();
            if is_plain && all.insert(key, value.into_owned()).is_some() {
                return Err(self.syntax("an attribute is given twice"));
            }
            if all.len() > MAX_ATTRIBUTES {
                return Err(ReadError::TooDeep { line: self.line() });
            }
        }
        Ok(all)
    }

    fn line(&self) -> usize {
        line_of(self.text.as_bytes(), self.reader.buffer_position())
    }

    fn syntax(&self, problem: &str) -> ReadError {
        ReadError::Syntax {
            line: self.line(),
            problem: problem.to_owned(),
        }
    }

    fn report(self) -> Result<Report, ReadError> {
        if self.suites == 0 {
            return Err(ReadError::Other {
                wanted: "JUnit XML",
                found: "it has no `testsuite`".to_owned(),
            });
        }
        let bad = last_outcomes(&self.attempts).values().any(|o| o.is_bad());
        let began = self.attempts.iter().map(|attempt| attempt.started_at).min();
        Ok(Report {
            tool: Tool {
                name: "junit".to_owned(),
                version: None,
                plugin: None,
                python: None,
                platform: None,
            },
            collected: collected(&self.attempts),
            attempts: self.attempts,
            exit_status: i32::from(bad),
            interrupted: false,
            started_at: began.unwrap_or(self.now),
            finished_at: self.now,
        })
    }
}

/// Attempts of one test stand in their order.
fn last_outcomes(attempts: &[Attempt]) -> HashMap<&str, Outcome> {
    attempts
        .iter()
        .map(|a| (a.test.as_str(), a.outcome))
        .collect()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests;
