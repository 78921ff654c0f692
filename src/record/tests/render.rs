//! What people see.

use super::cli::{render_entry, render_list};
use super::*;
use crate::gate::{ApplicationPlan, Finding, Gap, GapKind, PinnedSource};
use crate::hold::Hold;
use crate::names::{Commit, Component, EnvironmentName, SourceDigest, Suite};

fn entry(opening: Opening, outcome: Option<Outcome>) -> LogEntry {
    let closing = outcome.map(|outcome| Closing {
        decision: opening.decision,
        at: instant("2026-11-23T12:00:01.5Z"),
        outcome,
        detail: Some("no run".into()),
    });
    LogEntry {
        decision: opening.decision,
        seq: Seq(0),
        opening,
        closing,
        snapshot: None,
        ends: Vec::new(),
    }
}

fn fixed(last: char) -> DecisionId {
    DecisionId(format!("01JDC7Q480000000000000000{last}").parse().unwrap())
}

fn planned() -> Planned {
    let digest = SourceDigest::parse("1".repeat(64)).unwrap();
    Planned {
        application: app("shop-prod"),
        action: "ApplicationService.Sync".into(),
        changes: vec!["sync".into()],
        plan: Some(ApplicationPlan {
            application: app("shop-prod"),
            uid: "uid-1".into(),
            environment: EnvironmentName::parse("prod").unwrap(),
            component: Component::parse("shop").unwrap(),
            sources: vec![PinnedSource {
                repository: "https://git.example.com/shop".into(),
                asked: "main".into(),
                commit: Commit::parse("3f2c1a93f2c1a93f2c1a93f2c1a93f2c1a93f2c1").unwrap(),
            }],
            multi_source: false,
            source_digest: digest.clone(),
            promotion_digest: digest,
        }),
        finding: Some(Finding::Blocked {
            gaps: vec![Gap {
                kind: GapKind::Failed,
                suite: Some(Suite::parse("integration").unwrap()),
                environment: Some(EnvironmentName::parse("staging").unwrap()),
                last: Some("failed 14:02, 2 tests".into()),
                run: Some("01J".into()),
                would_pass: Some(vec![
                    Commit::parse("9ab12cd9ab12cd9ab12cd9ab12cd9ab12cd9ab12").unwrap(),
                ]),
                detail: String::new(),
            }],
        }),
        moves: "forward".into(),
        break_glass: None,
        held: Hold::default(),
    }
}

#[test]
fn a_list_is_a_table_with_one_line_each() {
    let anonymous = Opening {
        caller: None,
        applications: Vec::new(),
        operation: "version.VersionService/Version".into(),
        word: Word::Answer,
        ..opening(fixed('1'))
    };
    let table = render_list(&[
        entry(opening(fixed('2')), None),
        entry(anonymous, Some(Outcome::Answered)),
    ]);
    let expected = "\
TIME                  DECISION                    CALLER             OPERATION                            APPLICATION  DECIDED  OUTCOME
2026-11-23 12:00:00Z  01JDC7Q4800000000000000002  alice@example.com  application.ApplicationService/Sync  shop-prod    permit   still open
2026-11-23 12:00:00Z  01JDC7Q4800000000000000001  nobody verified    version.VersionService/Version       -            answer   answered
";
    assert_eq!(table, expected);
    assert_eq!(render_list(&[]), "no records\n");
}

#[test]
fn a_record_is_told_as_a_story() {
    let denied = Opening {
        word: Word::Deny,
        planned: vec![planned()],
        ..opening(fixed('1'))
    };
    let story = render_entry(&entry(
        denied,
        Some(Outcome::Refused {
            code: "evidence".into(),
        }),
    ));
    let expected = format!(
        "\
decision     01JDC7Q4800000000000000001
time         2026-11-23 12:00:00Z
caller       alice@example.com (https://issuer#alice), engineer, from 10.0.0.7
operation    application.ApplicationService/Sync (deploy, grpc-web)
application  shop-prod
plan         shop-prod: shop in prod, https://git.example.com/shop at 3f2c1a93f2c1a93f2c1a93f2c1a93f2c1a93f2c1 (main)
blocked      failed 'integration' in staging, last: failed 14:02, 2 tests, newest that would pass: 9ab12cd
decided      deny, by policy0
policies     {}
outcome      refused, evidence, after 1500 ms
detail       no run
",
        "p".repeat(64)
    );
    assert_eq!(story, expected);
}

#[test]
fn what_others_wrote_cannot_steer_the_terminal() {
    let nasty = "shop\u{1b}[2J\u{7}\n\u{202e}prod\u{9b}31m";
    let opening = Opening {
        applications: vec![app(nasty)],
        operation: nasty.into(),
        determining: vec![nasty.into()],
        ..opening(fixed('1'))
    };
    let entry = entry(opening, Some(Outcome::Refused { code: nasty.into() }));
    for text in [
        render_list(std::slice::from_ref(&entry)),
        render_entry(&entry),
    ] {
        let steering = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!text.contains(steering), "{text:?}");
        assert!(
            text.contains(r"shop\u{1b}[2J\u{7}\u{a}\u{202e}prod\u{9b}31m"),
            "{text}"
        );
    }
}

#[test]
fn the_json_form_is_read_back_as_it_was() {
    let list = LogList {
        entries: vec![entry(
            Opening {
                planned: vec![planned()],
                ..opening(fixed('1'))
            },
            Some(forwarded()),
        )],
    };
    let text = serde_json::to_string(&list).unwrap();
    assert_eq!(serde_json::from_str::<LogList>(&text).unwrap(), list);
}
