//! What a hold says, and when it ends.

use super::*;
use crate::names::DecisionId;

fn stop() -> Stop {
    Stop {
        by: "sam@shop.example".into(),
        caller: "https://idp#sam".into(),
        at: "2026-11-23T14:02:24Z".parse().unwrap(),
        reason: "payments fail".into(),
        decision: DecisionId("01J0000000000000000000000A".parse().unwrap()),
    }
}

fn freeze(name: &str, from: &str, until: &str) -> Freeze {
    let times = [from, until].map(|text| freeze::time(text).unwrap());
    let [from, until] = times;
    Freeze {
        name: FreezeName::parse(name).unwrap(),
        environments: vec![crate::names::EnvironmentName::parse("prod").unwrap()],
        reason: format!("because of {name}"),
        schedule: freeze::Schedule::once(from, until).unwrap(),
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn what_is_in_force_follows_the_clock_and_the_environment() {
    let freezes = [
        freeze(
            "year-end",
            "2026-12-18T18:00[Europe/Zurich]",
            "2027-01-04T08:00[Europe/Zurich]",
        ),
        freeze(
            "eve",
            "2026-12-24T00:00[America/New_York]",
            "2026-12-25T00:00[America/New_York]",
        ),
    ];
    let names = |environment, now| {
        let found = in_force(&freezes, environment, at(now)).unwrap();
        let names = found.iter().map(|frozen| frozen.name.to_string());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names("prod", "2026-12-18T16:59:59Z"), Vec::<String>::new());
    assert_eq!(names("prod", "2026-12-18T17:00:00Z"), ["year-end"]);
    assert_eq!(names("prod", "2026-12-24T05:00:00Z"), ["year-end", "eve"]);
    assert_eq!(
        names("staging", "2026-12-24T05:00:00Z"),
        Vec::<String>::new()
    );
    let both = Hold {
        freezes: in_force(&freezes, "prod", at("2026-12-24T05:00:00Z")).unwrap(),
        stopped: None,
    };
    assert_eq!(
        both.until(),
        Some(at("2027-01-04T07:00:00Z")),
        "the last end"
    );
}

#[test]
fn a_hold_says_until_when_why_and_by_whom() {
    let freezes = [freeze(
        "year-end",
        "2026-12-18T18:00[Europe/Zurich]",
        "2027-01-04T08:00[Europe/Zurich]",
    )];
    let hold = Hold {
        freezes: in_force(&freezes, "prod", at("2026-12-18T17:00:00Z")).unwrap(),
        stopped: Some(stop()),
    };
    assert_eq!(
        hold.in_words("prod"),
        "prod is frozen until 2027-01-04 08:00 Europe/Zurich by 'year-end' (because of year-end) and \
         the line of prod was stopped at 2026-11-23 14:02 UTC by sam@shop.example (payments fail)"
    );
    assert_eq!(hold.until(), None, "somebody must start the line");
    let causes: Vec<Cause> = hold.causes("prod").collect();
    assert_eq!(
        causes,
        [
            Cause::new("prod", "freeze year-end"),
            Cause::new("prod", "stop 01J0000000000000000000000A"),
        ]
    );
    // As the record keeps it.
    let json = serde_json::to_value(&hold).unwrap();
    assert_eq!(
        json["freezes"][0]["until"],
        "2027-01-04T08:00:00+01:00[Europe/Zurich]"
    );
    assert_eq!(json["stopped"]["reason"], "payments fail");
    assert_eq!(serde_json::from_value::<Hold>(json).unwrap(), hold);
    assert_eq!(
        serde_json::to_value(Hold::default()).unwrap(),
        serde_json::json!({})
    );
}
