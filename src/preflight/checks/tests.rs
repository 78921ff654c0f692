//! Lifetimes and clocks.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const NOW: &str = "2026-11-23T12:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// A service account, in a pod or not, whose token lives for `seconds` more.
fn account(seconds: i64, pod: Option<&str>) -> Caller {
    Caller {
        subject: identity::Subject::KubernetesAccount {
            namespace: "shop-staging".into(),
            name: "checkout-tests".into(),
            pod: pod.map(str::to_owned),
        },
        issuer: "https://cluster".into(),
        groups: BTreeSet::new(),
        roles: BTreeSet::new(),
        expires_at: now() + SignedDuration::from_secs(seconds),
        sign_in: crate::identity::SignIn::default(),
    }
}

#[test]
fn a_caller_is_told_who_they_are_and_until_when() {
    let check = credential(&account(3_480, None), now());
    assert!(check.ok);
    insta::assert_snapshot!(
        check.detail,
        @"signed in as system:serviceaccount:shop-staging:checkout-tests by a service-account token of https://cluster, which ends 2026-11-23 12:58:00Z (in 58 min)"
    );
}

#[test]
fn a_token_must_outlive_the_run_by_a_minute() {
    let check = lifetime(&account(959, None), Some(900), now());
    assert!(!check.ok);
    insta::assert_snapshot!(
        check.detail,
        @"the token lives for another 15 min, but the run is expected to take 15 min"
    );
    insta::assert_snapshot!(check.mend.unwrap(), @"get a token that lives for 16 min or longer, or split the suite");
    assert!(lifetime(&account(960, None), Some(900), now()).ok);
}

#[test]
fn a_token_of_a_pod_is_renewed_and_a_run_of_unknown_length_needs_a_minute() {
    let check = lifetime(&account(61, Some("tests-x7k2p")), Some(3_600), now());
    assert!(
        check.ok && check.detail.contains("the kubelet replaces it"),
        "{check:?}"
    );
    assert!(check.mend.unwrap().contains("read the token file again"));
    assert!(lifetime(&account(60, None), None, now()).ok);
    let check = lifetime(&account(59, None), None, now());
    assert!(
        !check.ok && check.detail.contains("nobody has said how long"),
        "{check:?}"
    );
}

#[test]
fn a_skewed_clock_is_told_with_its_seconds_and_its_way() {
    for (skew, ok, told) in [
        (0, true, "the clocks agree"),
        (30, true, "30 seconds ahead of"),
        (-30, true, "30 seconds behind"),
        (31, false, "31 seconds ahead of"),
        (-3_600, false, "3600 seconds behind"),
    ] {
        let check = clock(now() + SignedDuration::from_secs(skew), now());
        assert_eq!(check.ok, ok, "{skew}");
        assert_eq!(check.mend.is_none(), ok);
        assert!(check.detail.contains(told), "{}", check.detail);
    }
    let check = clock(now() + SignedDuration::from_millis(30_001), now());
    assert!(!check.ok, "a part of a second counts");
}

#[test]
fn times_are_told_as_people_would() {
    for (seconds, told) in [
        (-5, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7_199, "119 min"),
        (7_200, "2 h"),
        (7_500, "2 h 5 min"),
        (172_800, "2 d"),
    ] {
        assert_eq!(span(SignedDuration::from_secs(seconds)), told);
    }
}

proptest! {
    /// Whatever is claimed, nothing panics; a bad check says what to do, and each is one line.
    #[test]
    fn a_check_that_fails_says_what_to_do_in_one_line(
        left in -1_000_000_i64..1_000_000_000,
        expected in proptest::option::of(any::<u64>()),
        theirs in -377_705_023_201_i64..=253_402_207_200,
        in_pod in any::<bool>(),
    ) {
        let caller = account(left, in_pod.then_some("pod"));
        let theirs = Timestamp::from_second(theirs).unwrap();
        for check in [
            credential(&caller, now()),
            lifetime(&caller, expected, now()),
            clock(theirs, now()),
        ] {
            prop_assert!(check.ok || check.mend.is_some());
            prop_assert!(!check.detail.contains('\n'));
        }
    }

    /// The more time a token has, the better; the longer a run, the worse.
    #[test]
    fn lifetime_is_monotonous(left in 0_i64..100_000, expected in 0_u64..100_000, more in 0_i64..1_000) {
        let ok = |left, expected| lifetime(&account(left, None), Some(expected), now()).ok;
        let seconds = u64::try_from(more).unwrap();
        prop_assert!(!ok(left, expected) || ok(left + more, expected));
        prop_assert!(!ok(left, expected + seconds) || ok(left, expected));
        prop_assert_eq!(ok(left, expected), left >= i64::try_from(expected).unwrap() + 60);
    }
}
