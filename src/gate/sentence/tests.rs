//! The sentences, as callers read them.

use super::*;
use crate::gate::PinnedSource;
use crate::names::{Component, EnvironmentName, SourceDigest, Suite};

fn plan() -> ApplicationPlan {
    let digest = SourceDigest::parse("0".repeat(64)).unwrap();
    ApplicationPlan {
        application: AppRef {
            namespace: Some("argocd".into()),
            name: "checkout-prod".into(),
        },
        uid: "u".into(),
        environment: EnvironmentName::parse("prod").unwrap(),
        component: Component::parse("checkout").unwrap(),
        sources: vec![PinnedSource {
            repository: "r".into(),
            asked: "main".into(),
            commit: Commit::parse("3f2c1a93f2c1a93f2c1a93f2c1a93f2c1a93f2c1").unwrap(),
        }],
        multi_source: false,
        source_digest: digest.clone(),
        promotion_digest: digest,
    }
}

fn one<'a>(plan: &'a ApplicationPlan, gaps: &'a [Gap]) -> Refused<'a> {
    Refused {
        application: &plan.application,
        plan: Some(plan),
        gaps,
    }
}

/// What is said where the application that is called is the only one in the way.
fn alone(operation: &str, plan: &ApplicationPlan, gaps: &[Gap]) -> String {
    sentence(operation, &plan.application, &[one(plan, gaps)])
}

fn unplanned(application: &AppRef, gaps: &[Gap]) -> String {
    let refused = Refused {
        application,
        plan: None,
        gaps,
    };
    sentence("sync", application, &[refused])
}

fn gap(kind: GapKind, last: Option<&str>, would_pass: Option<&str>) -> Gap {
    Gap {
        kind,
        suite: Some(Suite::parse("integration").unwrap()),
        environment: Some(EnvironmentName::parse("staging").unwrap()),
        last: last.map(str::to_owned),
        run: None,
        would_pass: would_pass.map(|c| vec![Commit::parse(c.repeat(40)).unwrap()]),
        detail: String::new(),
    }
}

#[test]
fn a_gap_is_told_with_its_last_run_and_the_way_out() {
    let failed = gap(GapKind::Failed, Some("failed 14:02, 2 tests"), Some("9"));
    insta::assert_snapshot!(
        alone("sync", &plan(), &[failed]),
        @"sync of checkout-prod refused: checkout@3f2c1a9 has no passing 'integration' run in staging (last: failed 14:02, 2 tests); newest that would pass: 9999999"
    );
    insta::assert_snapshot!(
        alone("sync", &plan(), &[gap(GapKind::Missing, None, None)]),
        @"sync of checkout-prod refused: checkout@3f2c1a9 has no passing 'integration' run in staging"
    );
}

#[test]
fn a_source_that_cannot_be_pinned_is_told_without_a_commit() {
    let mut unpinnable = gap(GapKind::Unpinnable, None, None);
    unpinnable.suite = None;
    unpinnable.environment = None;
    unpinnable.detail = "it has no source".into();
    insta::assert_snapshot!(
        unplanned(&plan().application, &[unpinnable]),
        @"sync of checkout-prod refused: checkout-prod cannot be pinned: it has no source"
    );
}

#[test]
fn several_gaps_stand_side_by_side_and_too_many_are_counted() {
    let missing = gap(GapKind::Missing, None, None);
    let two = alone("sync", &plan(), &[missing.clone(), missing.clone()]);
    assert_eq!(two.matches("has no passing").count(), 2);
    assert!(two.contains("in staging; checkout@"));
    let many = alone("sync", &plan(), &vec![missing; 50]);
    assert!(many.len() <= MAX_LENGTH, "{}", many.len());
    let told = many.matches("has no passing").count();
    assert!(
        many.ends_with(&format!("; and {} more", 50 - told)),
        "{many}"
    );
}

#[test]
fn children_are_named_before_their_gaps_and_those_without_room_behind_them() {
    let child = |name: &str| ApplicationPlan {
        application: AppRef {
            namespace: None,
            name: name.to_owned(),
        },
        ..plan()
    };
    let missing = [gap(GapKind::Missing, None, None)];
    let (a, b) = (child("a-prod"), child("b-prod"));
    let said = sentence(
        "sync",
        &plan().application,
        &[one(&a, &missing), one(&b, &missing)],
    );
    insta::assert_snapshot!(
        said,
        @"sync of checkout-prod refused: a-prod: checkout@3f2c1a9 has no passing 'integration' run in staging; b-prod: checkout@3f2c1a9 has no passing 'integration' run in staging"
    );
    let many: Vec<ApplicationPlan> = (0..200).map(|n| child(&format!("c{n}-prod"))).collect();
    let refused: Vec<_> = many.iter().map(|plan| one(plan, &missing)).collect();
    let said = sentence("sync", &plan().application, &refused);
    assert!(said.len() <= MAX_LENGTH, "{}", said.len());
    assert!(said.contains("; also c"), "{said}");
    let named = (0..200)
        .filter(|n| said.contains(&format!("c{n}-prod")))
        .count();
    assert!(
        said.ends_with(&format!("; and {} more", 200 - named)),
        "{said}"
    );
}

proptest::proptest! {
    #[test]
    fn any_text_becomes_one_bounded_line_of_printable_ascii(
        text in "\\PC{0,2000}|.{0,400}",
        count in 1usize..20,
    ) {
        let mut gap = gap(GapKind::Failed, Some(&text), None);
        let mut plan = plan();
        plan.application.name = text.clone();
        let planned = alone(&text, &plan, &vec![gap.clone(); count]);
        gap.suite = None;
        gap.detail = text;
        let unplanned = super::tests::unplanned(&plan.application, &vec![gap; count]);
        for line in [planned, unplanned] {
            proptest::prop_assert!(line.len() <= MAX_LENGTH);
            proptest::prop_assert!(line.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'%'));
        }
    }
}
