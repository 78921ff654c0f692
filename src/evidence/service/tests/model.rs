//! The model of evidence over a real store: reports, withdrawals and roll-outs as they are stored, and
//! found again; where any pass will do, and where one must be signed.

use futures_util::{StreamExt as _, stream};

use super::attested::{ci, envelope, signers};
use super::*;
use crate::deployed::is_incumbent;
use crate::evidence::attestation::tests::statement;
use crate::evidence::hook::{Heard, hear};
use crate::evidence::run::Withdraw;
use crate::gate::model::{At, EVENTS, Event, SIGNED_EVENTS, Specification, word};
use crate::store::{DeploymentRow, DeploymentState, HookState};

/// How many events, at most.
const LONGEST: u32 = 6;

/// One order of events, about a component of its own.
struct Told {
    store: Store,
    runs: Runs,
    clock: Clock,
    seconds: Arc<AtomicI64>,
    component: Component,
    opened: [Vec<RunId>; 2],
    /// Whether a pass must be signed.
    signed: bool,
}

fn sha(at: At) -> &'static str {
    match at {
        At::Old => A,
        At::New => B,
    }
}

impl Told {
    fn new(store: Store, number: usize, signed: bool) -> Self {
        let (clock, seconds) = ticking();
        Self {
            runs: Runs::new(store.clone(), clock.clone(), "https://gate", Vec::new())
                .signed_by(signers()),
            store,
            clock,
            seconds,
            component: Component::parse(format!("c{number}")).unwrap(),
            opened: [Vec::new(), Vec::new()],
            signed,
        }
    }

    fn decision(&self) -> DecisionId {
        DecisionId::new(self.clock.now())
    }

    async fn find(&self, at: At) -> Finding {
        let plan = planned(&self.component, sha(at));
        let mut requirement = required().requirement;
        requirement.max_age = Some(jiff::SignedDuration::from_hours(24));
        if self.signed {
            requirement.signed_by = vec![ci().signer("ci").name];
        }
        let requirements = [requirement];
        let evidence = evidence_for(&self.store, &plan, &requirements).await;
        let incumbent = is_incumbent(&self.store, &plan).await.unwrap();
        let now = self.clock.now();
        gate::find(&plan, &requirements, &evidence.unwrap(), incumbent, now)
    }

    async fn report(&mut self, at: At, attempts: &[Attempt], signs: bool) {
        let mut app = single();
        app["status"]["sync"]["revision"] = sha(at).into();
        self.report_about(at, &app, attempts, signs).await;
    }

    /// As the loop has it: the operation, which is that of one Job, fails after the report.
    async fn pass_in_failed_hook(&mut self, at: At) {
        self.report_about(at, &running(sha(at)), &passing(), false)
            .await;
        let mut app = hooked(ended("Failed", sha(at)), "PostSync");
        let resources = &mut app["status"]["operationState"]["syncResult"]["resources"];
        resources[0]["hookPhase"] = "Failed".into();
        let run = *self.opened[at as usize].last().unwrap();
        let stored = self.store.run(run).await.unwrap().unwrap();
        let bound = stored.run.operation.unwrap();
        let Heard::Ended(hook) = hear(&bound, None, &facts(&app), self.clock.now()) else {
            panic!("it has ended")
        };
        // Of this run alone: other orders go on beside.
        let kept = self.store.keep_hook(run, HookState::Heard, Some(hook));
        assert!(kept.await.unwrap());
        let disputed = self.runs.disputed().await.unwrap();
        let disputed = disputed.iter().find(|it| it.stored.run.id == run);
        if let Some(disputed) = disputed {
            let decision = self.decision();
            self.runs.dispute(disputed, decision).await.unwrap();
        }
    }

    async fn report_about(&mut self, at: At, app: &Value, attempts: &[Attempt], signs: bool) {
        let started_at = self.clock.now();
        let attempts: Vec<Attempt> = attempts
            .iter()
            .cloned()
            .map(|attempt| Attempt {
                started_at,
                ..attempt
            })
            .collect();
        let now = facts(app);
        let pod = pod();
        let claims = Claims {
            pod: Some(&pod),
            ..Claims::default()
        };
        let binding = bind(&now, claims, &varies(), self.clock.now()).unwrap();
        let subject = Subject {
            component: self.component.clone(),
            ..subject()
        };
        let reporter = || Reporter {
            unique: JOB,
            decision: self.decision(),
        };
        let new = new_run(&attempts);
        let opened = self.runs.open(reporter(), None, new, &subject, binding);
        let run = opened.await.unwrap().run;
        let said = statement(sha(at), &attempts);
        let finish = Finish {
            attestation: signs.then(|| envelope(&ci(), &said)),
            ..finish_of(&attempts)
        };
        let batch = AttemptBatch {
            sequence: 0,
            attempts,
        };
        self.runs.add(reporter(), &run, batch).await.unwrap();
        let vouched = self.runs.vouched(&finish).await.unwrap();
        let finished = self
            .runs
            .finish(reporter(), &run, &finish, vouched, &now)
            .await;
        assert_ne!(finished.unwrap().verdict, Verdict::Refused);
        self.opened[at as usize].push(RunId(Ulid::from_string(&run).unwrap()));
    }

    async fn withdraw(&self, run: Option<&RunId>) {
        let Some(run) = run else { return };
        let withdrawer = Withdrawer {
            unique: "https://issuer#rita",
            display: "rita",
            decision: self.decision(),
        };
        let reason = "of this order".to_owned();
        let withdraw = Withdraw { reason };
        self.runs
            .withdraw(withdrawer, *run, &withdraw)
            .await
            .unwrap();
    }

    async fn promote(&self, at: At) {
        if matches!(self.find(at).await, Finding::Blocked { .. }) {
            return;
        }
        let plan = planned(&self.component, sha(at));
        let deployment = DeploymentRow {
            decision: self.decision(),
            commits: plan.sources.iter().map(|it| it.commit.clone()).collect(),
            application: plan.application,
            uid: plan.uid,
            environment: plan.environment,
            component: plan.component,
            source_digest: plan.source_digest,
            started_at: None,
            state: DeploymentState::Succeeded,
            ran: None,
        };
        self.store.upsert_deployment(deployment).await.unwrap();
    }

    async fn happens(&mut self, event: Event) {
        match event {
            Event::Pass(at) => self.report(at, &passing(), self.signed).await,
            Event::PassUnsigned(at) => self.report(at, &passing(), false).await,
            Event::Fail(at) => self.report(at, &failing(), false).await,
            Event::PassInFailedHook(at) => self.pass_in_failed_hook(at).await,
            Event::WithdrawFirst(at) => self.withdraw(self.opened[at as usize].first()).await,
            Event::WithdrawLast(at) => self.withdraw(self.opened[at as usize].last()).await,
            Event::Expire => {
                self.seconds.fetch_add(25 * 3600, Ordering::Relaxed);
            }
            Event::Promote(at) => self.promote(at).await,
        }
    }
}

/// The order number `number` of those of `length` events.
fn order(events: &[Event], length: u32, number: usize) -> Vec<Event> {
    let digit = |place| number / events.len().pow(place) % events.len();
    (0..length).map(|place| events[digit(place)]).collect()
}

#[tokio::test]
async fn what_is_stored_is_found_again_as_specified() {
    hold(&EVENTS, false).await;
}

#[tokio::test]
async fn what_is_signed_and_stored_is_found_again_as_specified() {
    hold(&SIGNED_EVENTS, true).await;
}

/// All orders of up to three of `events`, and some hundred of six.
async fn hold(events: &[Event], signed: bool) {
    let world = world();
    let short = (1..=3).flat_map(|length| {
        let all = 0..events.len().pow(length);
        all.map(move |number| order(events, length, number))
    });
    let long = (0..events.len().pow(LONGEST)).step_by(1_009);
    let orders: Vec<Vec<Event>> = short
        .chain(long.map(|number| order(events, LONGEST, number)))
        .collect();
    let of = events.len();
    let long = of.pow(LONGEST).div_ceil(1_009);
    assert_eq!(orders.len(), of + of.pow(2) + of.pow(3) + long);
    stream::iter(orders.into_iter().enumerate())
        .for_each_concurrent(64, |(number, order)| {
            let mut told = Told::new(world.store.clone(), number, signed);
            async move {
                let mut specification = Specification::default();
                for event in &order {
                    told.happens(*event).await;
                    specification.happens(*event);
                }
                for at in At::BOTH {
                    let finding = told.find(at).await;
                    assert_eq!(word(&finding), specification.finds(at), "{at:?}: {order:?}");
                }
            }
        })
        .await;
}
