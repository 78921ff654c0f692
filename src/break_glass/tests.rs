//! What a break-glass covers, and for how long.

use super::*;
use crate::gate::finding::{commit, now, plan, requirement};

fn broken(scope: ApplicationPlan) -> BreakGlass {
    let at = now();
    BreakGlass {
        decision: DecisionId::new(at),
        by: "rita@shop.example".into(),
        caller: "https://idp#rita".into(),
        at,
        expires_at: at + SignedDuration::from_secs(5),
        due_at: at + SignedDuration::from_hours(24),
        justification: "payments are down".into(),
        scope: vec![Scope {
            application: scope.application.clone(),
            plan: scope,
            requires: vec![requirement()],
            paid: None,
        }],
        reminders: 0,
        closed_at: None,
    }
}

#[test]
fn it_lets_through_what_it_was_broken_for_until_it_expires_and_nothing_else() {
    let glass = broken(plan());
    let later = |seconds| now() + SignedDuration::from_secs(seconds);
    assert!(glass.covers(&plan(), now()));
    assert!(glass.covers(&plan(), later(4)));
    assert!(!glass.covers(&plan(), later(5)));
    let other = |change: fn(&mut ApplicationPlan)| {
        let mut plan = plan();
        change(&mut plan);
        plan
    };
    let others = [
        other(|plan| plan.sources[0].commit = commit('b')),
        other(|plan| plan.sources.push(plan.sources[0].clone())),
        other(|plan| plan.application.name.push('2')),
        other(|plan| plan.application.namespace = Some("team".into())),
        other(|plan| plan.uid.push('2')),
        other(|plan| plan.environment = "dev".parse().unwrap()),
        other(|plan| plan.source_digest = plan.promotion_digest.clone()),
    ];
    for other in others {
        assert!(!glass.covers(&other, now()), "{other:?}");
    }
    let (open, covered) = ([glass], plan());
    assert_eq!(word(&open, Some(&covered), now()), GlassWord::Open);
    assert_eq!(
        word(&open, None, now()),
        GlassWord::None,
        "what cannot be pinned"
    );
}

#[test]
fn a_justification_is_one_line_that_says_something() {
    assert_eq!(
        justification("  INC-1, down "),
        Ok("INC-1, down".to_owned())
    );
    for bad in ["", "  ", "a\nb", &"x".repeat(501)] {
        let problem = justification(bad).unwrap_err();
        assert!(problem.contains("one line of 1 to 500"), "{problem}");
    }
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ";
    let kept = justification(&format!("pasted {token}")).unwrap();
    assert!(!kept.contains(token), "{kept}");
}

#[test]
fn what_is_open_stands_out_and_says_what_it_owes() {
    let mut glass = broken(plan());
    let shown = cli::one(&glass, now(), true);
    assert!(
        shown.contains("\u{1b}[1;31m") && shown.contains("OPEN, tests due by"),
        "{shown}"
    );
    assert!(
        shown.contains("lets through until") && shown.contains("owes a passing 'integration'"),
        "{shown}"
    );
    let overdue = cli::one(&glass, glass.due_at, false);
    assert!(
        overdue.contains("OPEN, tests overdue since") && !overdue.contains('\u{1b}'),
        "{overdue}"
    );
    glass.justification = "down\u{1b}[2J".into();
    glass.scope[0].paid = Some(vec!["01J".into()]);
    glass.closed_at = Some(now());
    let closed = cli::one(&glass, now(), true);
    assert!(
        closed.contains("closed at") && closed.contains("passed since: run 01J"),
        "{closed}"
    );
    assert!(!closed.contains('\u{1b}'), "{closed}");
    assert!(cli::render(&[], now(), true).contains("no glass was broken"));
}
