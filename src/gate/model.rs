//! The model of evidence: every order of up to six events, held against a plain specification.
//!
//! [`Event`] is what can happen, [`Specification`] what then holds, written without a look at the
//! code. Here [`find()`] is held against it, for all orders; the tests of the service hold the store
//! and all that lies between against it, for a part of them.

use jiff::{SignedDuration, Timestamp};

use super::find::tests::{commit, now, plan, requirement, run, withdrawn};
use super::{ApplicationPlan, EvidenceFor, Finding, Requirement, RunFacts, Worth, find};
use crate::evidence::hook::{HookPhase, HookResult, weigh};
use crate::evidence::verdict::{Reason, ReasonCode, Verdict, verdict_of};
use crate::names::SignerName;

/// One of two commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Old,
    New,
}

impl At {
    pub(crate) const BOTH: [Self; 2] = [Self::Old, Self::New];
}

/// What can happen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// The tests are run and pass, and who has to signs.
    Pass(At),
    /// The tests are run and pass, and nobody who has to signs.
    PassUnsigned(At),
    /// The tests are run and fail; nobody signs.
    Fail(At),
    /// The tests are run and pass, and the hook Job that they ran in fails.
    PassInFailedHook(At),
    /// The first run about the commit is withdrawn.
    WithdrawFirst(At),
    /// The last run about the commit is withdrawn.
    WithdrawLast(At),
    /// More time passes than a pass is good for.
    Expire,
    /// Somebody tries to roll the commit out.
    Promote(At),
}

/// Every event that bears on the old commit, and those of the new one that could disturb it.
pub(crate) const EVENTS: [Event; 9] = [
    Event::Pass(At::Old),
    Event::Fail(At::Old),
    Event::PassInFailedHook(At::Old),
    Event::WithdrawFirst(At::Old),
    Event::WithdrawLast(At::Old),
    Event::Expire,
    Event::Promote(At::Old),
    Event::Pass(At::New),
    Event::Promote(At::New),
];

/// The same, where a pass must be signed: an unsigned pass may come between any two of them.
pub(crate) const SIGNED_EVENTS: [Event; 8] = [
    Event::Pass(At::Old),
    Event::PassUnsigned(At::Old),
    Event::Fail(At::Old),
    Event::WithdrawFirst(At::Old),
    Event::WithdrawLast(At::Old),
    Event::Expire,
    Event::Promote(At::Old),
    Event::PassUnsigned(At::New),
];

/// What holds about the two commits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Specification {
    /// What has become of each run.
    runs: [Vec<&'static str>; 2],
    ran: [bool; 2],
}

impl Specification {
    pub(crate) fn happens(&mut self, event: Event) {
        match event {
            Event::Pass(at) => self.runs[at as usize].push("passed"),
            Event::PassUnsigned(at) => self.runs[at as usize].push("unsigned"),
            Event::Fail(at) | Event::PassInFailedHook(at) => {
                self.runs[at as usize].push("failed");
            }
            Event::WithdrawFirst(at) => {
                if let Some(run) = self.runs[at as usize].first_mut() {
                    *run = "withdrawn";
                }
            }
            Event::WithdrawLast(at) => {
                if let Some(run) = self.runs[at as usize].last_mut() {
                    *run = "withdrawn";
                }
            }
            Event::Expire => {
                let passes = self.runs.iter_mut().flatten();
                let passes = passes.filter(|run| **run == "passed");
                passes.for_each(|run| *run = "stale");
            }
            Event::Promote(at) => {
                self.ran[at as usize] |= ["satisfied", "incumbent"].contains(&self.finds(at));
            }
        }
    }

    /// What is found when somebody asks for `at`: the last run decides, but an unsigned pass has nothing
    /// to say.
    pub(crate) fn finds(&self, at: At) -> &'static str {
        let runs = &self.runs[at as usize];
        let word = runs.iter().rev().find(|run| **run != "unsigned");
        match (word.or(runs.last()).copied(), self.ran[at as usize]) {
            (Some("passed"), _) => "satisfied",
            (Some("failed"), _) => "failed",
            (Some("withdrawn"), _) => "withdrawn",
            (_, true) => "incumbent",
            (None, false) => "missing",
            (Some(stale_or_unsigned), false) => stale_or_unsigned,
        }
    }
}

/// A finding, in the words of the specification.
pub(crate) fn word(finding: &Finding) -> String {
    match finding {
        Finding::Blocked { gaps } => {
            assert_eq!(gaps.len(), 1);
            let kind = serde_json::to_value(gaps[0].kind).unwrap();
            kind.as_str().unwrap().to_owned()
        }
        open => open.word().to_owned(),
    }
}

fn ci() -> SignerName {
    SignerName::parse("ci").unwrap()
}

/// The facts from which `find` finds.
struct Facts {
    plans: [ApplicationPlan; 2],
    requirements: [Requirement; 1],
    runs: EvidenceFor,
    ran: [bool; 2],
    now: Timestamp,
}

impl Facts {
    fn about(&self, at: At) -> Finding {
        let (plan, ran) = (&self.plans[at as usize], self.ran[at as usize]);
        find(plan, &self.requirements, &self.runs, ran, self.now)
    }

    /// The place of the first or last run about `at`, if there is one that is not withdrawn.
    fn withdrawable(&self, event: Event) -> Option<usize> {
        let (Event::WithdrawFirst(at) | Event::WithdrawLast(at)) = event else {
            return None;
        };
        let commit = &self.plans[at as usize].sources[0].commit;
        let runs = &self.runs.runs;
        let mut about = (0..runs.len()).filter(|place| runs[*place].commits[0] == *commit);
        let place = match event {
            Event::WithdrawFirst(_) => about.next(),
            _ => about.next_back(),
        };
        place.filter(|place| runs[*place].withdrawn.is_none())
    }

    /// Lets `event` happen, does `then`, and takes it back.
    fn with(&mut self, event: Event, then: impl FnOnce(&mut Self)) {
        match event {
            Event::Pass(at)
            | Event::PassUnsigned(at)
            | Event::Fail(at)
            | Event::PassInFailedHook(at) => {
                let (verdict, reasons) = word_of(event);
                let signs = matches!(event, Event::Pass(_));
                let place = self.runs.runs.len() as u64;
                let run = RunFacts {
                    commits: vec![self.plans[at as usize].sources[0].commit.clone()],
                    finished_at: self.now,
                    reasons,
                    signed_by: signs.then(ci).into_iter().collect(),
                    ..run(place, verdict)
                };
                self.runs.runs.push(run);
                then(self);
                self.runs.runs.pop();
            }
            Event::WithdrawFirst(_) | Event::WithdrawLast(_) => {
                let place = self.withdrawable(event);
                if let Some(place) = place {
                    self.runs.runs[place].withdrawn = Some(withdrawn());
                }
                then(self);
                if let Some(place) = place {
                    self.runs.runs[place].withdrawn = None;
                }
            }
            Event::Expire => {
                let before = self.now;
                self.now += SignedDuration::from_hours(25);
                then(self);
                self.now = before;
            }
            Event::Promote(at) => {
                let before = self.ran;
                self.ran[at as usize] |= !matches!(self.about(at), Finding::Blocked { .. });
                then(self);
                self.ran = before;
            }
        }
    }

    /// Holds what is found against `specification`, also of what is shown of each run.
    fn check(&self, specification: &Specification, so_far: &[Event]) {
        for at in At::BOTH {
            let finding = self.about(at);
            assert_eq!(
                word(&finding),
                specification.finds(at),
                "{at:?}: {so_far:?}"
            );
            let plan = &self.plans[at as usize];
            let meeting = self.runs.runs.iter().filter(|run| {
                let among = (&self.requirements[0], &plan.environment);
                run.commits[0] == plan.sources[0].commit
                    && matches!(
                        run.worth_among(&self.runs.runs, among.0, among.1, self.now),
                        Worth::Meets { .. }
                    )
            });
            let meeting: Vec<&str> = meeting.map(|run| run.id.as_str()).collect();
            match &finding {
                Finding::Satisfied { runs } => assert_eq!(meeting, *runs, "{at:?}: {so_far:?}"),
                _ => assert!(meeting.is_empty(), "{at:?}: {so_far:?}"),
            }
        }
    }
}

/// What a run is worth that ended as `event` says.
fn word_of(event: Event) -> (Verdict, Vec<Reason>) {
    let mut reasons = Vec::new();
    if matches!(event, Event::Fail(_)) {
        reasons.push(Reason {
            code: ReasonCode::FailedTests,
            detail: "1 test failed".into(),
        });
    }
    let failed = matches!(event, Event::PassInFailedHook(_));
    let hook = HookResult {
        kind: Some("PostSync".into()),
        job: Some("shop/tests".into()),
        phase: if failed {
            HookPhase::Failed
        } else {
            HookPhase::Succeeded
        },
        message: String::new(),
        seen_at: now(),
    };
    reasons.extend(weigh(&reasons, &hook, false).map(|weighed| weighed.reason));
    (verdict_of(&reasons), reasons)
}

/// All orders that begin with `so_far`; gives how many.
fn orders(
    events: &[Event],
    facts: &mut Facts,
    specification: &Specification,
    so_far: &mut Vec<Event>,
) -> u64 {
    let mut count = 0;
    for event in events.iter().copied() {
        let mut specification = specification.clone();
        specification.happens(event);
        so_far.push(event);
        facts.with(event, |facts| {
            facts.check(&specification, so_far);
            count += 1;
            if so_far.len() < 6 {
                count += orders(events, facts, &specification, so_far);
            }
        });
        so_far.pop();
    }
    count
}

#[test]
fn whatever_happens_in_whatever_order_the_gate_finds_what_is_specified() {
    hold(&EVENTS, requirement());
}

#[test]
fn where_a_pass_must_be_signed_no_order_lets_an_unsigned_one_through_or_hides_a_failure() {
    let signed = Requirement {
        signed_by: vec![ci()],
        ..requirement()
    };
    hold(&SIGNED_EVENTS, signed);
}

/// Holds all orders of `events` against the specification.
fn hold(events: &[Event], requirement: Requirement) {
    let of = |digit| {
        let mut plan = plan();
        plan.sources[0].commit = commit(digit);
        plan
    };
    let mut facts = Facts {
        plans: [of('a'), of('b')],
        requirements: [requirement],
        runs: EvidenceFor::default(),
        ran: [false; 2],
        now: now(),
    };
    let specification = Specification::default();
    let count = orders(events, &mut facts, &specification, &mut Vec::new());
    let of = events.len() as u64;
    assert_eq!(count, (1..=6).map(|length| of.pow(length)).sum::<u64>());
}
