//! Reads `JUnit` XML.
//!
//! In: one document or several, as the many writers of this form make them; `tests/junit/` holds what
//! they wrote for one small suite, and what is read from it. Out: a [`Report`]. Read are `testsuites`,
//! `testsuite` (nested, too) and `testcase` with `failure`, `error`, `warning`, `skipped`, and
//! `rerunFailure`, `rerunError`, `flakyFailure`, `flakyError`, which are further attempts; namespaces
//! do not matter, everything else is passed over. Refused, with the line: documents with a DTD or
//! entities of their own, too deep, too large, not well-formed, not UTF-8; and suites that say they
//! hold more than they do.
//!
//! What a document says of itself in several places counts at its worst: a suite that counts failures
//! and holds none, says that it did not succeed, or was aborted, has failed. Two cases of one name in
//! one suite are two tests (`name #2`), both of which have to pass: the form does not tell a retry
//! from another test. A tool that retries should report through the plugin, or as Surefire does.
//! Never: an outcome better than the document says.

use jiff::Timestamp;
use quick_xml::events::{BytesStart, Event};

use super::report::{ReadError, Report, collected};
use super::run::{MAX_MESSAGE_BYTES, MAX_RUN_ATTEMPTS, Outcome, Tool};

mod case;
mod names;
mod suite;
mod words;
mod xml;

use case::{Case, Finding, Kind, timestamp};
use names::{Held, Suites};
pub use suite::Counts;
use suite::Suite;
use xml::{Attributes, Document};

/// Elements inside each other, at most.
const MAX_DEPTH: usize = 64;
/// Events between two words to `progress`.
const STEP: u32 = 4_096;

/// Reads `document` with strict counts. Attempts without a time are taken to have begun `now`.
///
/// # Errors
/// [`ReadError`] with the line.
pub fn read(document: &[u8], now: Timestamp) -> Result<Report, ReadError> {
    let mut reader = Reader::new(now, Counts::Strict);
    reader.add(document, &mut |_| {})?;
    Ok(reader.report())
}

/// Gathers one run from one document after another.
pub struct Reader {
    counts: Counts,
    now: Timestamp,
    suites: Suites,
    cases: Vec<Held>,
    attempts: u64,
    interrupted: bool,
}

impl Reader {
    /// A reader that has read nothing. Attempts without a time are taken to have begun `now`.
    #[must_use]
    pub fn new(now: Timestamp, counts: Counts) -> Self {
        Self {
            counts,
            now,
            suites: Suites::default(),
            cases: Vec::new(),
            attempts: 0,
            interrupted: false,
        }
    }

    /// Reads one more document of the same run, and tells `progress` how many bytes of it were read.
    /// After an error, the reader is of no use.
    ///
    /// # Errors
    /// [`ReadError`] with the line.
    pub fn add(&mut self, document: &[u8], progress: &mut dyn FnMut(u64)) -> Result<(), ReadError> {
        let mut parser = Parser {
            document: Document::open(document)?,
            open: Vec::new(),
            has_root: false,
            run: self,
        };
        parser.run(progress)
    }

    /// The run of all documents.
    #[must_use]
    pub fn report(self) -> Report {
        let attempts = names::tell_apart(&self.suites, self.cases);
        // Attempts of one test stand in their order, side by side.
        let last_of_test = |index: usize| {
            let next = attempts.get(index + 1);
            next.is_none_or(|next| next.attempt == 1)
        };
        let mut last = attempts
            .iter()
            .enumerate()
            .filter(|(i, _)| last_of_test(*i));
        let bad = last.any(|(_, attempt)| attempt.outcome.is_bad());
        let began = attempts.iter().map(|attempt| attempt.started_at).min();
        Report {
            tool: Tool {
                name: "junit".to_owned(),
                version: None,
                plugin: None,
                python: None,
                platform: None,
            },
            collected: collected(&attempts),
            attempts,
            exit_status: i32::from(bad),
            interrupted: self.interrupted,
            started_at: began.unwrap_or(self.now),
            attestation: None,
            finished_at: self.now,
        }
    }
}

/// Reads one document into the run.
struct Parser<'a, 'r> {
    document: Document<'a>,
    open: Vec<Element>,
    has_root: bool,
    run: &'r mut Reader,
}

/// An element that has not ended.
enum Element {
    Suite(Suite),
    Case(Case),
    Finding(Finding),
    Other,
}

impl Parser<'_, '_> {
    fn run(&mut self, progress: &mut dyn FnMut(u64)) -> Result<(), ReadError> {
        let mut events = 0_u32;
        loop {
            events = events.wrapping_add(1);
            if events.is_multiple_of(STEP) {
                progress(self.document.position());
            }
            match self.document.next()? {
                Event::Start(start) => self.begin(&start)?,
                Event::Empty(start) => {
                    self.begin(&start)?;
                    self.end()?;
                }
                Event::End(_) => self.end()?,
                Event::Text(text) => self.say(&text)?,
                Event::CData(text) => self.say(&text)?,
                Event::GeneralRef(reference) => {
                    let character = self.document.resolve(&reference)?;
                    self.say(character.encode_utf8(&mut [0; 4]).as_bytes())?;
                }
                Event::DocType(_) => {
                    let line = self.document.line();
                    return Err(ReadError::Doctype { line });
                }
                Event::Comment(text) => self.remark(&text),
                Event::Decl(declaration) => self.document.declared(&declaration)?,
                Event::PI(_) => {}
                Event::Eof if !self.open.is_empty() => return Err(self.document.breaks_off()),
                Event::Eof if self.has_root => return Ok(()),
                Event::Eof => return Err(other("it has no `testsuite`")),
            }
        }
    }

    fn begin(&mut self, start: &BytesStart<'_>) -> Result<(), ReadError> {
        if self.open.len() >= MAX_DEPTH {
            let line = self.document.line();
            return Err(ReadError::TooDeep { line });
        }
        let attributes = self.document.attributes(start)?;
        let name = String::from_utf8_lossy(start.local_name().as_ref()).to_ascii_lowercase();
        let is_root = self.open.is_empty();
        let element = match name.as_str() {
            "testsuites" | "testsuite" => Element::Suite(self.suite(&name, &attributes)?),
            _ if is_root => return Err(other(&words::first_element(&name))),
            "testcase" => Element::Case(self.case(&attributes)),
            "property" => {
                self.property(&attributes);
                Element::Other
            }
            _ => Kind::of(&name, &attributes).map_or(Element::Other, |kind| {
                Element::Finding(Finding::new(kind, &attributes))
            }),
        };
        if is_root && std::mem::replace(&mut self.has_root, true) {
            let line = self.document.line();
            return Err(ReadError::SecondRoot { line });
        }
        self.open.push(element);
        Ok(())
    }

    fn suite(&mut self, element: &str, attributes: &Attributes) -> Result<Suite, ReadError> {
        let outer = self.around().map(|suite| (suite.index, suite.began));
        let is_within = self.around().is_some_and(|suite| suite.is_checked());
        let own = attributes.get("name").map_or("", String::as_str);
        // The outermost element is named after the tool, or after nothing.
        let name = if element == "testsuites" { "" } else { own };
        let index = self.run.suites.add(outer.map(|(index, _)| index), name);
        let index = index.ok_or_else(|| ReadError::TooMany {
            line: self.document.line(),
        })?;
        let began = attributes.get("timestamp").and_then(|t| timestamp(t));
        let began = began.or(outer.map(|(_, began)| began));
        let suite = Suite::new(index, own, began.unwrap_or(self.run.now), attributes);
        let mut suite = suite.map_err(|problem| self.document.syntax(problem))?;
        suite.is_within = is_within;
        Ok(suite)
    }

    fn case(&mut self, attributes: &Attributes) -> Case {
        let now = self.run.now;
        let (index, began) = self.around().map_or((0, now), |s| (s.index, s.began));
        let name = self.run.suites.name_of_case(index, attributes);
        Case::new(name, index, began, attributes)
    }

    /// Ginkgo says in properties of a suite how it ended.
    fn property(&mut self, attributes: &Attributes) {
        let in_case = |element: &Element| matches!(element, Element::Case(_));
        if !self.open.iter().any(in_case)
            && let Some(suite) = self.around()
        {
            suite.property(attributes);
        }
    }

    /// Node counts in comments, and what a test with sub-tests itself said stands nowhere else.
    fn remark(&mut self, text: &[u8]) {
        if let [Element::Suite(root)] = self.open.as_mut_slice() {
            root.remark(&String::from_utf8_lossy(text));
        }
    }

    /// The suite around, if there is one.
    fn around(&mut self) -> Option<&mut Suite> {
        let mut inside_out = self.open.iter_mut().rev();
        inside_out.find_map(|element| match element {
            Element::Suite(suite) => Some(suite),
            _ => None,
        })
    }

    fn end(&mut self) -> Result<(), ReadError> {
        match self.open.pop() {
            Some(Element::Finding(finding)) => self.found(finding),
            Some(Element::Case(case)) => self.case_ends(case),
            Some(Element::Suite(suite)) => self.suite_ends(suite),
            Some(Element::Other) | None => Ok(()),
        }
    }

    fn case_ends(&mut self, case: Case) -> Result<(), ReadError> {
        if let Some(suite) = self.around() {
            suite.saw(&case);
        }
        self.hold(case.ended())
    }

    fn suite_ends(&mut self, mut suite: Suite) -> Result<(), ReadError> {
        self.run.interrupted |= suite.aborted;
        if let Some(claim) = suite.unheard() {
            let case = suite.speaks(Outcome::Error, claim);
            self.hold(case)?;
        }
        suite
            .check(self.run.counts)
            .map_err(|problem| ReadError::Counts {
                line: self.document.line(),
                suite: suite.name.clone(),
                problem,
            })?;
        if let Some(outer) = self.around() {
            outer.include(&suite);
        }
        Ok(())
    }

    fn hold(&mut self, case: Held) -> Result<(), ReadError> {
        self.run.attempts += case.attempts.len() as u64;
        self.run.cases.push(case);
        if self.run.attempts > MAX_RUN_ATTEMPTS {
            let line = self.document.line();
            return Err(ReadError::TooMany { line });
        }
        Ok(())
    }

    /// A finding belongs to the case around it, however deep it stands in it; outside of one, the suite
    /// itself failed (its set-up, say), and that must be heard, too.
    fn found(&mut self, finding: Finding) -> Result<(), ReadError> {
        let mut inside_out = self.open.iter_mut().rev();
        let owner = inside_out.find_map(|element| match element {
            Element::Case(case) => Some(Ok(case)),
            Element::Suite(suite) => Some(Err(suite)),
            Element::Finding(_) | Element::Other => None,
        });
        let spoken = match owner {
            Some(Ok(case)) => {
                if case.findings.len() as u64 >= MAX_RUN_ATTEMPTS {
                    let line = self.document.line();
                    return Err(ReadError::TooMany { line });
                }
                case.findings.push(finding);
                return Ok(());
            }
            Some(Err(suite)) => match finding.kind {
                Kind::Is(outcome) if outcome.is_bad() => {
                    suite.seen.bad += 1;
                    Some(suite.speaks(outcome, finding.message))
                }
                Kind::Is(_) | Kind::MayFail => None,
                Kind::Flaky(_) | Kind::Rerun(_) => {
                    let problem = "a further attempt stands outside of a test case";
                    return Err(self.document.syntax(problem));
                }
            },
            None => None,
        };
        spoken.map_or(Ok(()), |case| self.hold(case))
    }

    /// Text belongs to the finding around it, wherever inside that it stands.
    fn say(&mut self, text: &[u8]) -> Result<(), ReadError> {
        if self.open.is_empty() {
            if text.trim_ascii().is_empty() {
                return Ok(());
            }
            return Err(if self.has_root {
                let problem = "text follows after the last element";
                self.document.syntax(problem)
            } else {
                other("it begins with text")
            });
        }
        let mut inside_out = self.open.iter_mut().rev();
        let finding = inside_out.find_map(|element| match element {
            Element::Finding(finding) => Some(finding),
            _ => None,
        });
        if let Some(finding) = finding {
            finding.say(text);
        }
        Ok(())
    }
}

fn other(found: &str) -> ReadError {
    ReadError::Other {
        wanted: "JUnit XML",
        found: found.to_owned(),
    }
}

#[cfg(test)]
mod tests;
