//! Bodies and answers of `/syncgate/v1/lines`.

use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};

use crate::freeze::{self, Freeze};
use crate::names::{EnvironmentName, FreezeName};
use crate::store::Stop;

/// Body of `POST /syncgate/v1/lines/{environment}/stop`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopLine {
    /// Why; whoever is refused because of it reads this.
    pub reason: String,
}

/// Body of `POST /syncgate/v1/lines/{environment}/start`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartLine {
    /// Why; for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Answer to `GET /syncgate/v1/lines`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    /// The environments whose line the caller may see, as configuration has them.
    pub lines: Vec<Line>,
}

/// The line of one environment; the answer when it is stopped or started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Which environment.
    pub environment: EnvironmentName,
    /// Who stopped it, if somebody has: the first one, until it is started again.
    pub stopped: Option<Stop>,
    /// Its freezes that are in force or will be, those that begin first, first.
    pub freezes: Vec<Coming>,
}

/// A freeze that is in force, or the next time that it will be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coming {
    /// Its name.
    pub name: FreezeName,
    /// Why.
    pub reason: String,
    /// Whether it is in force now.
    pub in_force: bool,
    /// When it began or begins, with the zone (RFC 9557).
    pub from: Zoned,
    /// When it ends.
    pub until: Zoned,
}

impl Coming {
    /// The freezes of `environment` that are in force at `now`, or come after it.
    ///
    /// # Errors
    /// [`freeze::Error`] when a calendar cannot be worked out.
    pub fn of(
        freezes: &[Freeze],
        environment: &EnvironmentName,
        now: Timestamp,
    ) -> Result<Vec<Self>, freeze::Error> {
        let concerned = freezes.iter();
        let concerned = concerned.filter(|freeze| freeze.concerns(environment.as_str()));
        let mut coming = Vec::new();
        for freeze in concerned {
            coming.extend(freeze.schedule.next(now)?.map(|window| Self {
                name: freeze.name.clone(),
                reason: freeze.reason.clone(),
                in_force: window.from.timestamp() <= now,
                from: window.from,
                until: window.until,
            }));
        }
        coming.sort_by(|one, other| one.from.cmp(&other.from));
        Ok(coming)
    }
}
