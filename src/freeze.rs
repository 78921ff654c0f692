//! Freeze windows: when an environment takes no change.
//!
//! In: what `[[freeze]]` says, and a time. Out: whether the freeze is in force, since when and until
//! when. A window holds its first moment and not its last. A time of day that the clocks skip in
//! spring counts as the moment after the gap; one that they repeat in autumn counts once, the first
//! time. A day of a duration is one of the calendar, as RFC 5545 has it: a weekend of `2d 14h` from
//! Friday 18:00 ends on Monday at 08:00, also when clocks change. Who may pass is for policies.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp, Unit, Zoned};

use crate::names::{EnvironmentName, FreezeName};

/// Characters of a reason, at most: it stands in refusals.
const MAX_REASON: usize = 200;
/// How long one window may last.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 366);

/// One freeze.
#[derive(Clone, Debug)]
pub struct Freeze {
    /// Its name, as policies and refusals have it.
    pub name: FreezeName,
    /// Which environments take no change.
    pub environments: Vec<EnvironmentName>,
    /// Why; whoever is refused because of it reads this.
    pub reason: String,
    /// When.
    pub schedule: Schedule,
}

impl Freeze {
    /// Whether it is about `environment`.
    #[must_use]
    pub fn concerns(&self, environment: &str) -> bool {
        self.environments
            .iter()
            .any(|one| one.as_str() == environment)
    }
}

/// When a freeze is in force.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// Once.
    Once(Window),
    /// Again and again.
    Recurring {
        /// When windows begin.
        cron: Box<Cron>,
        /// How long each lasts.
        duration: Span,
        /// By whose clocks.
        zone: TimeZone,
    },
}

/// One time that a freeze is in force, by the clocks of its zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its first moment.
    pub from: Zoned,
    /// The first moment after it.
    pub until: Zoned,
}

/// What is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The time cannot be worked out.
    #[error("the calendar of the freeze cannot be worked out: {0}")]
    Calendar(String),
    /// It is no cron pattern.
    #[error("`{text}` is not a cron pattern of five fields: {message}")]
    Cron {
        /// What was given.
        text: String,
        /// What is wrong with it.
        message: String,
    },
    /// It is no duration.
    #[error("`{0}` is not a duration such as `62h` or `2d 14h`, of a year at the most")]
    Duration(String),
    /// The end is not after the beginning.
    #[error("is not after `from`")]
    Ends,
    /// The pattern fits no time.
    #[error("`{0}` fits no time")]
    Never(String),
    /// It is no reason.
    #[error("{0}")]
    Reason(String),
    /// It is no time with a zone.
    #[error(
        "`{0}` is not a time with its zone (RFC 9557) such as `2026-12-18T18:00[Europe/Zurich]`"
    )]
    Time(String),
    /// There is no such zone.
    #[error("`{0}` is not a time zone of the IANA database such as `Europe/Zurich`")]
    Zone(String),
}

/// A time with its zone: `2026-12-18T18:00[Europe/Zurich]`, perhaps with the offset before the zone,
/// which must then be the right one.
///
/// # Errors
/// [`Error::Time`].
pub fn time(text: &str) -> Result<Zoned, Error> {
    text.parse().map_err(|_| Error::Time(text.to_owned()))
}

/// A reason that people write and others read: one line, not empty, not long.
///
/// # Errors
/// [`Error::Reason`].
pub fn reason(text: &str) -> Result<String, Error> {
    let text = text.trim();
    let length = text.chars().count();
    if length == 0 || length > MAX_REASON || text.chars().any(char::is_control) {
        return Err(Error::Reason(format!(
            "must be one line of 1 to {MAX_REASON} characters: who is refused reads it"
        )));
    }
    Ok(text.to_owned())
}

impl Schedule {
    /// In force once.
    ///
    /// # Errors
    /// [`Error::Ends`].
    pub fn once(from: Zoned, until: Zoned) -> Result<Self, Error> {
        if until <= from {
            return Err(Error::Ends);
        }
        Ok(Self::Once(Window { from, until }))
    }

    /// In force for `duration` whenever the clocks of `zone` fit `cron`.
    #[must_use]
    pub fn recurring(cron: Cron, duration: Span, zone: TimeZone) -> Self {
        Self::Recurring {
            cron: Box::new(cron),
            duration,
            zone,
        }
    }

    /// The window in which `now` is, if it is in one.
    ///
    /// # Errors
    /// [`Error::Calendar`]: it is not known then whether the freeze is in force.
    pub fn in_force(&self, now: Timestamp) -> Result<Option<Window>, Error> {
        let window = match self {
            Self::Once(window) => window.clone(),
            Self::Recurring {
                cron,
                duration,
                zone,
            } => {
                let now = clock(now, zone)?;
                let from = cron
                    .find_previous_occurrence(&now, true)
                    .map_err(|error| Error::Calendar(error.to_string()))?;
                lasting(from, *duration)?
            }
        };
        let is_in = window.from.timestamp() <= now && now < window.until.timestamp();
        Ok(is_in.then_some(window))
    }

    /// The window in which `now` is, or else the next one; none when all are over.
    ///
    /// # Errors
    /// [`Error::Calendar`].
    pub fn next(&self, now: Timestamp) -> Result<Option<Window>, Error> {
        if let Some(window) = self.in_force(now)? {
            return Ok(Some(window));
        }
        match self {
            Self::Once(window) => {
                Ok(Some(window.clone()).filter(|window| now < window.from.timestamp()))
            }
            Self::Recurring {
                cron,
                duration,
                zone,
            } => {
                let from = cron
                    .find_next_occurrence(&clock(now, zone)?, false)
                    .map_err(|error| Error::Calendar(error.to_string()))?;
                lasting(from, *duration).map(Some)
            }
        }
    }
}

/// A pattern of five fields that fits some time.
///
/// # Errors
/// [`Error::Cron`] or [`Error::Never`].
pub fn cron(text: &str) -> Result<Cron, Error> {
    let bad = |message: &dyn std::fmt::Display| Error::Cron {
        text: text.to_owned(),
        message: message.to_string(),
    };
    let fields = text.split_whitespace().count();
    if fields != 5 {
        return Err(bad(&format!("there are {fields}")));
    }
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build();
    let cron = parser.parse(text).map_err(|error| bad(&error))?;
    // A pattern fits in every stretch of years or never.
    let some_time = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    match cron.find_next_occurrence(&some_time, true) {
        Ok(_) => Ok(cron),
        Err(_) => Err(Error::Never(text.to_owned())),
    }
}

/// How long a window lasts: weeks, days and less.
///
/// # Errors
/// [`Error::Duration`].
pub fn duration(text: &str) -> Result<Span, Error> {
    let bad = || Error::Duration(text.to_owned());
    let span: Span = text.parse().map_err(|_| bad())?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err(bad());
    }
    let length = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| bad())?;
    if length <= SignedDuration::ZERO || length > LONGEST {
        return Err(bad());
    }
    Ok(span)
}

/// A zone of the IANA database.
///
/// # Errors
/// [`Error::Zone`].
pub fn zone(text: &str) -> Result<TimeZone, Error> {
    TimeZone::get(text).map_err(|_| Error::Zone(text.to_owned()))
}

/// What the clocks of `zone` show, to the second: patterns know no less.
fn clock(now: Timestamp, zone: &TimeZone) -> Result<Zoned, Error> {
    let whole = Timestamp::from_second(now.as_second()).map_err(|error| calendar(&error))?;
    Ok(whole.to_zoned(zone.clone()))
}

fn lasting(from: Zoned, duration: Span) -> Result<Window, Error> {
    let until = from
        .checked_add(duration)
        .map_err(|error| calendar(&error))?;
    Ok(Window { from, until })
}

fn calendar(error: &jiff::Error) -> Error {
    Error::Calendar(error.to_string())
}

/// A time for people, with its zone: `2027-01-04 08:00 Europe/Zurich`.
#[must_use]
pub fn shown(time: &Zoned) -> String {
    // The next whole minute: at the one that is told, the freeze is over.
    let minute = jiff::ZonedRound::new()
        .smallest(Unit::Minute)
        .mode(jiff::RoundMode::Ceil);
    let time = time.round(minute).unwrap_or_else(|_| time.clone());
    time.strftime("%Y-%m-%d %H:%M %Q").to_string()
}

#[cfg(test)]
mod tests;
