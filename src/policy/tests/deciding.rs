//! Questions, answers and decisions.

use super::super::{Decision, Denial, DenialCode, Permitted, answer_again, decide};
use super::*;

fn allowed(decision: Decision<&'static str>) -> Permitted<&'static str> {
    match decision {
        Decision::Allow(permitted) => permitted,
        Decision::Deny(denial) => panic!("refused: {denial:?}"),
    }
}

fn denied(decision: Decision<&'static str>) -> Denial {
    match decision {
        Decision::Allow(permitted) => panic!("permitted: {permitted:?}"),
        Decision::Deny(denial) => denial,
    }
}

#[test]
fn a_permit_carries_the_call_and_what_permitted_it() {
    let (caller, app) = (person(&["release-manager"]), app("prod"));
    let question = about(&caller, SYNC, &app, FindingWord::Satisfied);
    let permitted = allowed(decide(shipped(), &[question], "the call"));
    assert_eq!(permitted.policies(), ["release-manager-deploy"]);
    assert_eq!(permitted.observed(), None);
    let (call, grounds) = permitted.into_parts();
    assert_eq!(call, "the call");
    assert_eq!(grounds.answers.len(), 1);
}

#[test]
fn missing_tests_are_the_reason_only_where_tests_would_help() {
    let app = app("prod");
    let refusal = |role| {
        let caller = person(&[role]);
        denied(decide(
            shipped(),
            &[about(&caller, SYNC, &app, FindingWord::Blocked)],
            "",
        ))
    };

    let manager = refusal("release-manager");
    assert_eq!(
        (manager.code, manager.evidence),
        (DenialCode::Evidence, true)
    );
    assert_eq!(manager.policies(), ["evidence-required"]);
    assert_eq!(
        manager.advice(),
        ["run the missing tests for these commits, or roll out a commit that has passed them"]
    );

    let engineer = refusal("engineer");
    assert_eq!(
        (engineer.code, engineer.evidence),
        (DenialCode::NotPermitted, false)
    );
    assert_eq!(
        engineer.advice(),
        [
            "deploying to prod needs the role `release-manager`",
            "changing Argo CD itself needs the role `platform-admin`"
        ],
        "the role that permits least comes first"
    );
}

#[test]
fn a_caller_without_a_role_may_nothing_but_ask_about_themselves() {
    let caller = person(&[]);
    for (name, groups) in shipped().actions().iter().filter(|(name, groups)| {
        !groups.is_empty() && !["Preflight.check", "Session.begin"].contains(&name.as_str())
    }) {
        for environment in ["dev", "unassigned"] {
            let (app, endpoint) = (app(environment), endpoint(environment));
            for resource in [
                Resource::Application(&app),
                Resource::ArgoCd,
                Resource::Endpoint(&endpoint),
                Resource::Gate,
            ] {
                let context = context(name, FindingWord::Satisfied);
                let question = Question {
                    caller: &caller,
                    action: name,
                    resource,
                    context,
                };
                let denial = denied(decide(shipped(), &[question], ""));
                assert_ne!(denial.code, DenialCode::Evidence, "{name} {groups:?}");
                assert_ne!(
                    denial.code,
                    DenialCode::UnassignedEnvironment,
                    "{name} {groups:?}"
                );
            }
        }
    }
}

#[test]
fn an_unknown_action_is_refused() {
    let (caller, app) = (person(&["platform-admin"]), app("dev"));
    for action in [
        "ApplicationService.Explode",
        "",
        "deploy\"",
        "applicationservice.sync",
    ] {
        let question = about(&caller, action, &app, FindingWord::Satisfied);
        let denial = denied(decide(shipped(), &[question], ""));
        assert_eq!(denial.code, DenialCode::PolicyError, "{action}");
        assert_eq!(
            denial.answers[0].errors,
            [format!("the schema has no action `{action}`")]
        );
    }
}

#[test]
fn an_action_on_the_wrong_kind_of_resource_is_refused() {
    let caller = person(&["platform-admin"]);
    let context = context(SYNC, FindingWord::Satisfied);
    let question = Question {
        caller: &caller,
        action: SYNC,
        resource: Resource::ArgoCd,
        context,
    };
    assert_eq!(
        denied(decide(shipped(), &[question], "")).code,
        DenialCode::PolicyError
    );
}

#[test]
fn a_sync_without_its_options_is_refused() {
    let (caller, app) = (person(&["platform-admin"]), app("dev"));
    let mut question = about(&caller, SYNC, &app, FindingWord::Satisfied);
    question.context.sync = None;
    assert_eq!(
        denied(decide(shipped(), &[question], "")).code,
        DenialCode::PolicyError
    );
}

#[test]
fn a_call_about_nothing_is_refused() {
    let denial = denied(decide(shipped(), &[], ""));
    assert_eq!(
        (denial.code, denial.evidence),
        (DenialCode::PolicyError, false)
    );
}

/// Cedar alone skips a forbid that errs and says yes; `now` plus the largest number overflows.
#[test]
fn a_forbid_that_errs_is_a_refusal() {
    let policies = edited(
        r#"
        @id("everything") permit (principal, action, resource);
        @id("erring") forbid (principal, action, resource)
          when { context.now + 9223372036854775807 == 0 };
        "#,
    )
    .unwrap();
    let (caller, app) = (person(&["platform-admin"]), app("dev"));
    for finding in FindingWord::ALL {
        let denial = denied(decide(
            &policies,
            &[about(&caller, SYNC, &app, finding)],
            "",
        ));
        assert_eq!(
            (denial.code, denial.evidence),
            (DenialCode::PolicyError, false)
        );
        assert_eq!(denial.answers[0].errors.len(), 1);
        assert_eq!(
            denial.answers[0].errors[0],
            "error while evaluating policy `erring`: integer overflow while attempting to add the \
             values `1795406400` and `9223372036854775807`"
        );
    }
}

#[test]
fn policies_see_a_role_of_aws_with_its_account() {
    let policies = edited(
        r#"
        @id("aws") permit (principal is Syncgate::Workload, action, resource)
          when {
            context.scheme == "aws" && principal.kind == "aws" &&
            principal.namespace == "123456789012" && principal.name == "deployer" &&
            principal.subject == "arn:aws:iam::123456789012:role/deployer" &&
            principal.issuer == "https://sts.amazonaws.com" && principal.groups.isEmpty()
          };
        "#,
    )
    .unwrap();
    let in_account = |account: &str| Caller {
        subject: Subject::AwsPrincipal {
            arn: format!("arn:aws:iam::{account}:role/deployer"),
            account: account.into(),
            name: "deployer".into(),
            session: Some("run-42".into()),
        },
        issuer: crate::identity::aws::ISSUER.into(),
        groups: BTreeSet::new(),
        ..person(&[])
    };
    let app = app("dev");
    let may = |caller: &Caller| {
        let question = about(caller, GET, &app, FindingWord::None);
        matches!(decide(&policies, &[question], ""), Decision::Allow(_))
    };
    assert!(may(&in_account("123456789012")));
    assert!(!may(&in_account("123456789013")));
    assert!(!may(&workload(&[])));
}

#[test]
fn every_application_of_a_call_must_be_permitted() {
    let caller = person(&["engineer"]);
    let (staging, prod) = (app("staging"), app("prod"));
    let questions = [
        about(&caller, SYNC, &staging, FindingWord::Satisfied),
        about(&caller, SYNC, &prod, FindingWord::Satisfied),
    ];
    let denial = denied(decide(shipped(), &questions, ""));
    assert_eq!(denial.code, DenialCode::NotPermitted);
    assert_eq!(
        denial.answers.iter().map(|a| a.allowed).collect::<Vec<_>>(),
        [true, false]
    );
}

#[test]
fn one_refusal_that_tests_cannot_mend_hides_that_tests_are_missing() {
    let caller = person(&["engineer"]);
    let (staging, prod) = (app("staging"), app("prod"));
    let questions = [
        about(&caller, SYNC, &staging, FindingWord::Blocked),
        about(&caller, SYNC, &prod, FindingWord::Blocked),
    ];
    let denial = denied(decide(shipped(), &questions, ""));
    assert_eq!(
        (denial.code, denial.evidence),
        (DenialCode::NotPermitted, false)
    );
}

#[test]
fn what_belongs_nowhere_is_refused_as_such() {
    for environment in ["unassigned", "ambiguous"] {
        let app = app(environment);
        for role in ["engineer", "platform-admin"] {
            let caller = person(&[role]);
            let question = about(&caller, SYNC, &app, FindingWord::Blocked);
            let denial = denied(decide(shipped(), &[question], ""));
            assert_eq!(denial.code, DenialCode::UnassignedEnvironment);
            assert!(!denial.evidence);
        }
        let caller = person(&[]);
        let question = about(&caller, SYNC, &app, FindingWord::Blocked);
        let denial = denied(decide(shipped(), &[question], ""));
        assert_eq!(
            denial.code,
            DenialCode::NotPermitted,
            "a stranger is not told"
        );
    }
}

#[test]
fn an_environment_that_observes_permits_and_keeps_the_refusal() {
    let (caller, prod) = (person(&["engineer"]), app("prod"));
    let mut question = about(&caller, SYNC, &prod, FindingWord::Blocked);
    question.context.mode = Mode::Observe;
    let permitted = allowed(decide(shipped(), &[question.clone()], ""));
    assert_eq!(
        permitted.observed().map(|d| d.code),
        Some(DenialCode::NotPermitted)
    );
    assert!(permitted.policies().is_empty(), "nothing permitted it");

    let enforced = about(&caller, SYNC, &prod, FindingWord::Blocked);
    let denial = denied(decide(shipped(), &[question, enforced], ""));
    assert_eq!(
        denial.answers.len(),
        2,
        "an environment that enforces is not overruled"
    );
}

#[test]
fn only_an_application_in_an_environment_can_be_observed() {
    let caller = person(&[]);
    for environment in ["unassigned", "ambiguous"] {
        let app = app(environment);
        let mut question = about(&caller, SYNC, &app, FindingWord::Satisfied);
        question.context.mode = Mode::Observe;
        denied(decide(shipped(), &[question], ""));
    }
    for (action, resource) in [
        ("ProjectService.Update", Resource::ArgoCd),
        ("Endpoint.read", Resource::Endpoint(&endpoint("observed"))),
        ("Log.read", Resource::Gate),
    ] {
        let mut context = context(action, FindingWord::None);
        context.mode = Mode::Observe;
        denied(decide(
            shipped(),
            &[Question {
                caller: &caller,
                action,
                resource,
                context,
            }],
            "",
        ));
    }
}

#[test]
fn a_test_job_reports_for_what_it_tests_and_for_nothing_else() {
    let policies = shipped();
    let caller = workload(&["test-job"]);
    let (mut own, other) = (app("staging"), app("staging"));
    own.tested_by_caller = true;
    for action in ["Run.report", "Run.read", GET] {
        let yes = about(&caller, action, &own, FindingWord::None);
        assert_eq!(policies.answer(&yes).policies, ["test-job"], "{action}");
        let no = about(&caller, action, &other, FindingWord::None);
        assert!(!policies.answer(&no).allowed, "{action}");
    }
}

/// What a policy can say about a job of CI is the job's alone: it is empty for other workloads.
#[test]
fn a_policy_names_repository_and_ref_of_a_job_and_no_service_account_has_them() {
    let policies = edited(
        r#"
        @id("job")
        @advice("a job of main")
        permit (principal is Syncgate::Workload, action, resource)
        when {
          context.scheme == "ci" && principal.kind == "github" &&
          principal.repository == "acme/checkout" && principal.repository_id == "74" &&
          principal.ref == "refs/heads/main" && principal.ref_protected &&
          principal.workflow like "acme/checkout/*" && principal.ci_environment == "" &&
          principal.event == "push" && principal.run == "1" &&
          principal.namespace == "" && principal.name == ""
        };
        @id("account")
        @advice("a service account")
        permit (principal is Syncgate::Workload, action, resource)
        when {
          context.scheme == "kubernetes" && principal.repository == "" &&
          principal.repository_id == "" && principal.ref == "" && !principal.ref_protected &&
          principal.workflow == "" && principal.ci_environment == "" && principal.event == "" &&
          principal.run == ""
        };
        "#,
    )
    .unwrap();
    let app = app("staging");
    for (caller, expected) in [
        (job(&[], true), vec!["job"]),
        (job(&[], false), vec![]),
        (workload(&[]), vec!["account"]),
        (person(&[]), vec![]),
    ] {
        let answer = policies.answer(&about(&caller, GET, &app, FindingWord::None));
        assert_eq!(
            (&answer.policies, answer.errors.len()),
            (&expected.iter().map(ToString::to_string).collect(), 0)
        );
        let again = answer_again(&policies, &answer.recorded.to_json()).unwrap();
        assert_eq!(again, (answer.allowed, answer.policies));
    }
}

#[test]
fn names_from_outside_stay_names() {
    let policies = shipped();
    let mut caller = person(&["engineer"]);
    caller.issuer = r#"x" ]; permit(principal, action, resource); //"#.into();
    let mut facts = app("staging");
    facts.app.name = "\"}\u{202e}\0\n, Syncgate::Role::\"platform-admin\"".into();
    facts.labels.insert("a\"b".into(), "\\\"".into());
    let question = about(&caller, GET, &facts, FindingWord::None);
    let answer = policies.answer(&question);
    assert_eq!(
        (answer.allowed, &*answer.policies),
        (true, &["engineer-read".to_owned()][..])
    );
    let again = answer_again(policies, &answer.recorded.to_json()).unwrap();
    assert_eq!(again, (answer.allowed, answer.policies));
}

/// The question of `about`, in an environment that is held.
fn held<'a>(
    mut question: Question<'a>,
    freezes: &[&str],
    stopped: bool,
    moves: Moves,
) -> Question<'a> {
    question.context.deploy = Some(Deploying {
        moves,
        freezes: freezes.iter().map(ToString::to_string).collect(),
        stopped,
        ..Deploying::default()
    });
    question
}

#[test]
fn what_holds_an_environment_is_the_reason_only_where_its_end_would_help() {
    let app = app("prod");
    let refusal = |roles: &[&str], finding, freezes: &[&str], stopped| {
        let caller = person(roles);
        let question = about(&caller, SYNC, &app, finding);
        let question = held(question, freezes, stopped, Moves::Forward);
        let denial = denied(decide(shipped(), &[question], ""));
        let advice = denial.advice().into_iter().map(str::to_owned);
        (denial.code, denial.evidence, advice.collect::<Vec<_>>())
    };
    let wait = "wait until the freeze ends, or ask somebody with the role `freeze-passer`";
    let start = "wait until the line is started again";
    for finding in [FindingWord::Satisfied, FindingWord::Blocked] {
        assert_eq!(
            refusal(&["release-manager"], finding, &["year-end"], false),
            (DenialCode::Held, false, vec![wait.to_owned()]),
            "also where tests are missing besides"
        );
        assert_eq!(
            refusal(
                &["release-manager", "freeze-passer"],
                finding,
                &["year-end"],
                true
            ),
            (DenialCode::Held, false, vec![start.to_owned()]),
            "who may pass the freeze is told of the stop"
        );
        let (code, evidence, advice) = refusal(&["engineer"], finding, &["year-end"], true);
        assert_eq!((code, evidence), (DenialCode::NotPermitted, false));
        assert_eq!(
            advice[0], "deploying to prod needs the role `release-manager`",
            "who may not deploy there is not told to wait"
        );
    }
    // Tests alone are missing.
    let passer = ["release-manager", "freeze-passer"];
    let (code, evidence, _) = refusal(&passer, FindingWord::Blocked, &["year-end"], false);
    assert_eq!((code, evidence), (DenialCode::Evidence, true));
}

#[test]
fn one_held_application_holds_the_call_and_is_told_before_missing_tests() {
    let caller = person(&["release-manager"]);
    let (staging, prod) = (app("staging"), app("prod"));
    let questions = [
        about(&caller, SYNC, &staging, FindingWord::Blocked),
        held(
            about(&caller, SYNC, &prod, FindingWord::Satisfied),
            &[],
            true,
            Moves::Forward,
        ),
    ];
    let denial = denied(decide(shipped(), &questions, ""));
    assert_eq!((denial.code, denial.evidence), (DenialCode::Held, false));
    let told: Vec<_> = denial
        .answers
        .iter()
        .map(|a| (a.evidence_would_allow, a.held))
        .collect();
    assert_eq!(told, [(true, false), (false, true)]);
}

#[test]
fn a_hold_is_observed_where_refusals_are() {
    let (caller, app) = (person(&["release-manager"]), app("prod"));
    let mut question = about(&caller, SYNC, &app, FindingWord::Satisfied);
    question.context.mode = Mode::Observe;
    let question = held(question, &["year-end"], false, Moves::Forward);
    let permitted = allowed(decide(shipped(), &[question], ""));
    assert_eq!(permitted.observed().unwrap().code, DenialCode::Held);
}

#[test]
fn a_deploy_without_its_facts_is_refused_and_a_recorded_one_is_answered_alike() {
    let (caller, app) = (person(&["release-manager"]), app("prod"));
    let mut question = about(&caller, SYNC, &app, FindingWord::Satisfied);
    question.context.deploy = None;
    assert_eq!(
        denied(decide(shipped(), &[question], "")).code,
        DenialCode::PolicyError
    );
    let question = about(&caller, SYNC, &app, FindingWord::Satisfied);
    let question = held(question, &["year-end"], true, Moves::Forward);
    let denial = denied(decide(shipped(), &[question], ""));
    let recorded = denial.answers[0].recorded.to_json();
    assert_eq!(
        recorded["request"]["context"]["freezes"],
        serde_json::json!(["year-end"])
    );
    let again = answer_again(shipped(), &recorded).unwrap();
    assert_eq!(
        again,
        (false, vec!["freeze".to_owned(), "stopped-line".to_owned()])
    );
}
