//! Freezes: which environments take no change, when and why.

use super::environments::Environment;
use super::reader::{Problems, Table};
use crate::freeze::{self, Freeze, Schedule};
use crate::names::{EnvironmentName, FreezeName};

/// Reads `[[freeze]]`.
pub(super) fn read(
    root: &mut Table,
    environments: &[Environment],
    problems: &mut Problems,
) -> Vec<Freeze> {
    let mut out: Vec<Freeze> = Vec::new();
    for mut table in root.tables("freeze", problems) {
        let key = table.key("name");
        let name = table.required_parsed("name", problems, |text| FreezeName::parse(text));
        let concerned = concerned(&mut table, environments, problems);
        let reason = table.required_parsed("reason", problems, freeze::reason);
        let schedule = schedule(&mut table, problems);
        table.finish(problems);
        let (Some(name), Some(reason), Some(schedule)) = (name, reason, schedule) else {
            continue;
        };
        if out.iter().any(|other| other.name == name) {
            problems.add(key, format!("`{name}` is declared twice"));
        }
        out.push(Freeze {
            name,
            environments: concerned,
            reason,
            schedule,
        });
    }
    out
}

fn concerned(
    table: &mut Table,
    environments: &[Environment],
    problems: &mut Problems,
) -> Vec<EnvironmentName> {
    let key = table.key("environments");
    let mut out = Vec::new();
    for text in table.texts("environments", problems) {
        match environments.iter().find(|one| one.name.as_str() == text) {
            Some(environment) => out.push(environment.name.clone()),
            None => problems.add(&key, format!("`{text}` is not an environment of this file")),
        }
    }
    if out.is_empty() {
        problems.add(key, "names no environment of this file");
    }
    out
}

/// Once (`from`, `until`), or again and again (`cron`, `duration`, `time_zone`).
fn schedule(table: &mut Table, problems: &mut Problems) -> Option<Schedule> {
    let has = |keys: [&str; 3]| keys.into_iter().any(|key| table.has(key));
    let (once, recurring) = (
        has(["from", "until", "until"]),
        has(["cron", "duration", "time_zone"]),
    );
    if once == recurring {
        problems.add(
            table.key("from"),
            "say when: either `from` and `until`, or `cron`, `duration` and `time_zone`",
        );
        for key in ["from", "until", "cron", "duration", "time_zone"] {
            table.text(key, problems);
        }
        return None;
    }
    if recurring {
        let cron = table.required_parsed("cron", problems, freeze::cron);
        let duration = table.required_parsed("duration", problems, freeze::duration);
        let zone = table.required_parsed("time_zone", problems, freeze::zone);
        return Some(Schedule::recurring(cron?, duration?, zone?));
    }
    let from = table.required_parsed("from", problems, freeze::time);
    let until = table.required_parsed("until", problems, freeze::time);
    Schedule::once(from?, until?)
        .map_err(|error| problems.add(table.key("until"), error.to_string()))
        .ok()
}
