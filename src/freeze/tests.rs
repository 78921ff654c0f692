//! Beginnings, ends, and the nights in which clocks change.

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn weekly(pattern: &str, lasts: &str) -> Schedule {
    Schedule::recurring(
        cron(pattern).unwrap(),
        duration(lasts).unwrap(),
        zone("Europe/Zurich").unwrap(),
    )
}

/// Since when and until when, as the clocks show it.
fn window(schedule: &Schedule, now: &str) -> Option<(String, String)> {
    let window = schedule.in_force(at(now)).unwrap()?;
    Some((window.from.to_string(), window.until.to_string()))
}

#[test]
fn a_window_holds_its_first_moment_and_not_its_last() {
    let from = time("2026-12-18T18:00[Europe/Zurich]").unwrap();
    let until = time("2027-01-04T08:00:00+01:00[Europe/Zurich]").unwrap();
    let once = Schedule::once(from, until).unwrap();
    for (now, is_in) in [
        ("2026-12-18T16:59:59.999Z", false),
        ("2026-12-18T17:00:00Z", true),
        ("2027-01-04T06:59:59.999Z", true),
        ("2027-01-04T07:00:00Z", false),
    ] {
        assert_eq!(once.in_force(at(now)).unwrap().is_some(), is_in, "{now}");
    }
    assert!(once.next(at("2026-01-01T00:00:00Z")).unwrap().is_some());
    assert!(once.next(at("2027-01-04T07:00:00Z")).unwrap().is_none());

    let weekend = weekly("0 18 * * FRI", "2d 14h");
    for (now, is_in) in [
        ("2026-11-20T16:59:59.999Z", false),
        ("2026-11-20T17:00:00Z", true),
        ("2026-11-23T06:59:59.999Z", true),
        ("2026-11-23T07:00:00Z", false),
    ] {
        assert_eq!(weekend.in_force(at(now)).unwrap().is_some(), is_in, "{now}");
    }
    let next = weekend.next(at("2026-11-23T07:00:00Z")).unwrap().unwrap();
    assert_eq!(shown(&next.from), "2026-11-27 18:00 Europe/Zurich");
    assert_eq!(shown(&next.until), "2026-11-30 08:00 Europe/Zurich");
}

#[test]
fn days_are_of_the_calendar_and_hours_are_hours() {
    // Clocks go back on Sunday, 25 October 2026, and forward on 28 March 2027.
    for (now, until) in [
        (
            "2026-10-24T12:00:00Z",
            "2026-10-26T08:00:00+01:00[Europe/Zurich]",
        ),
        (
            "2027-03-27T12:00:00Z",
            "2027-03-29T08:00:00+02:00[Europe/Zurich]",
        ),
    ] {
        let weekend = weekly("0 18 * * FRI", "2d 14h");
        assert_eq!(window(&weekend, now).unwrap().1, until);
    }
    let hours = weekly("0 18 * * FRI", "62h");
    assert_eq!(
        window(&hours, "2026-10-24T12:00:00Z").unwrap().1,
        "2026-10-26T07:00:00+01:00[Europe/Zurich]"
    );
    assert_eq!(
        window(&hours, "2027-03-27T12:00:00Z").unwrap().1,
        "2027-03-29T09:00:00+02:00[Europe/Zurich]"
    );
}

#[test]
fn a_time_that_clocks_skip_is_the_moment_after_the_gap() {
    // From 02:00 to 03:00.
    let nightly = weekly("30 2 * * *", "1h");
    assert_eq!(window(&nightly, "2027-03-28T00:59:59Z"), None);
    assert_eq!(
        window(&nightly, "2027-03-28T01:00:00Z").unwrap(),
        (
            "2027-03-28T03:00:00+02:00[Europe/Zurich]".to_owned(),
            "2027-03-28T04:00:00+02:00[Europe/Zurich]".to_owned()
        )
    );
    assert_eq!(window(&nightly, "2027-03-28T02:00:00Z"), None);
    let once = time("2027-03-28T02:30[Europe/Zurich]").unwrap();
    assert_eq!(
        once.to_string(),
        "2027-03-28T03:30:00+02:00[Europe/Zurich]",
        "RFC 5545: by the offset before the gap"
    );
}

#[test]
fn a_time_that_clocks_repeat_counts_once() {
    // 02:30 is at 00:30Z and, after 03:00 has become 02:00, at 01:30Z.
    let nightly = weekly("30 2 * * *", "20m");
    assert!(window(&nightly, "2026-10-25T00:30:00Z").is_some());
    assert_eq!(window(&nightly, "2026-10-25T00:50:00Z"), None);
    assert_eq!(window(&nightly, "2026-10-25T01:30:00Z"), None);
    let next = nightly.next(at("2026-10-25T01:00:00Z")).unwrap().unwrap();
    assert_eq!(
        next.from.to_string(),
        "2026-10-26T02:30:00+01:00[Europe/Zurich]"
    );
}

#[test]
fn windows_without_a_gap_between_them_never_end() {
    let always = weekly("0 0 * * *", "1d");
    let mut now = at("2026-10-20T00:00:00Z");
    while now < at("2026-10-30T00:00:00Z") {
        assert!(always.in_force(now).unwrap().is_some(), "{now}");
        now += SignedDuration::from_mins(7);
    }
}

#[test]
fn what_is_no_schedule_says_why() {
    for (pattern, said) in [
        ("0 18 * *", "there are 4"),
        ("0 0 18 * * FRI", "there are 6"),
        ("@weekly", "there are 1"),
        ("0 25 * * *", "is not a cron pattern of five fields"),
        ("0 0 30 2 *", "fits no time"),
    ] {
        let error = cron(pattern).unwrap_err().to_string();
        assert!(error.contains(said), "{pattern}: {error}");
    }
    for bad in ["", "0s", "-1h", "soon", "1mo", "1y", "400d"] {
        assert!(duration(bad).is_err(), "{bad}");
    }
    assert!(duration("1w 2d 3h 4m 5s").is_ok());
    for bad in [
        "2026-12-18T18:00:00Z",
        "2026-12-18T18:00",
        "2026-12-18T18:00:00+05:00[Europe/Zurich]",
        "2026-12-18T18:00[Europe/Atlantis]",
    ] {
        assert!(time(bad).is_err(), "{bad}");
    }
    assert!(zone("Europe/Atlantis").is_err());
    for bad in ["", "   ", "two\nlines", "\u{7}", &"x".repeat(201)] {
        assert!(reason(bad).is_err(), "{bad:?}");
    }
    assert_eq!(reason(" year's end ").unwrap(), "year's end");
}

#[test]
fn an_end_is_shown_when_it_is_over() {
    let end = time("2027-01-04T08:00:01[Europe/Zurich]").unwrap();
    assert_eq!(shown(&end), "2027-01-04 08:01 Europe/Zurich");
}
