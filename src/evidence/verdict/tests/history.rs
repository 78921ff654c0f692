//! A run beside the newest passing one.

use super::*;

/// The newest passing run, of these attempts and under these options.
fn before(attempts: &[(&str, u32, Outcome)], options: &[&str]) -> Before {
    let told = Told::of(attempts);
    let (verdict, _) = told.judged();
    assert_eq!(verdict, Verdict::Passed);
    Before {
        tests: Seen::of(&told.tally).tests,
        options: options.iter().map(|it| (*it).to_owned()).collect(),
        tally: told.tally,
    }
}

/// `now`, run under `options` that leave out one test, beside `before`.
fn selected(
    now: &[(&str, u32, Outcome)],
    options: &[&str],
    before: impl Into<Option<Before>>,
) -> (Verdict, Vec<&'static str>) {
    let told = Told::of(now).but(|told| {
        told.options = options.iter().map(|it| (*it).to_owned()).collect();
        told.collected.deselected = 1;
        told.before = before.into();
    });
    told.judged()
}

#[test]
fn a_suite_may_lose_a_tenth_of_its_tests_and_no_more() {
    let names: Vec<String> = (0..9).map(|n| format!("t{n}")).collect();
    let attempts: Vec<(&str, u32, Outcome)> = names
        .iter()
        .map(|name| (name.as_str(), 1, Passed))
        .collect();
    let of = |total| {
        let before = Before {
            tests: Tests {
                total,
                ..Tests::default()
            },
            options: Vec::new(),
            tally: Tally::default(),
        };
        Told::of(&attempts)
            .but(|t| t.before = Some(before))
            .judged()
    };
    assert_eq!(of(10), (Verdict::Passed, vec![]));
    assert_eq!(of(11), (Verdict::Refused, vec!["shrunk"]));
    assert_eq!(of(u64::MAX).0, Verdict::Refused);
    // A skipped test did not run.
    let skipped = Told::of(&[("a", 1, Passed), ("b", 1, Skipped)]);
    let both = before(&[("a", 1, Passed), ("b", 1, Passed)], &[]);
    assert_eq!(
        skipped.but(|t| t.before = Some(both)).judged().1,
        ["shrunk"]
    );
}

#[test]
fn what_options_leave_out_is_told_and_must_not_have_run_before() {
    let all = [("a", 1, Passed), ("b", 1, Passed)];
    let told = (Verdict::Passed, vec!["deselected"]);
    assert_eq!(selected(&all, &["-k not c"], None), told);
    // A test that did not run before is no loss, and the same selection as before is the suite.
    assert_eq!(selected(&all, &["-k not c"], before(&all, &[])), told);
    let with_skipped = [("a", 1, Passed), ("b", 1, Passed), ("c", 1, Skipped)];
    assert_eq!(
        selected(&all, &["-k not c"], before(&with_skipped, &[])),
        told
    );
    let many: Vec<String> = (0..20).map(|n| format!("t{n}")).collect();
    let many: Vec<(&str, u32, Outcome)> = many.iter().map(|it| (it.as_str(), 1, Passed)).collect();
    let fewer = &many[1..];
    let same = ["-m fast"];
    assert_eq!(selected(fewer, &same, before(&many, &same)), told);
    // One of twenty would be few enough, if options did not leave it out.
    let narrowed = (Verdict::Refused, vec!["narrowed"]);
    assert_eq!(
        selected(fewer, &["-k not t0"], before(&many, &[])),
        narrowed
    );
    assert_eq!(
        selected(fewer, &["-k not t0"], before(&many, &same)),
        narrowed
    );
}

#[test]
fn a_test_that_passed_must_not_be_expected_to_fail_now() {
    let xfailed = [("a", 1, Passed), ("b", 1, Xfailed)];
    let beside = |then| {
        let then = before(&[("a", 1, Passed), ("b", 1, then)], &[]);
        Told::of(&xfailed).but(|t| t.before = Some(then)).judged()
    };
    let turned = (Verdict::Refused, vec!["turned-xfail"]);
    assert_eq!(beside(Passed), turned);
    for then in [Xfailed, Xpassed, Skipped] {
        assert_eq!(beside(then), (Verdict::Passed, vec![]), "{then:?}");
    }
    let new = Told::of(&xfailed).but(|t| t.before = Some(before(&[("a", 1, Passed)], &[])));
    assert_eq!(new.judged(), (Verdict::Passed, vec![]));
}
