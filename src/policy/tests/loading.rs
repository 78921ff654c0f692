//! Folders: what is taken, and what is refused where and why.

use std::fs;
use std::path::Path;

use super::super::report::test_source;
use super::super::{Source, check, load, test};
use super::*;

/// `LINE:COLUMN CODE` of every problem.
fn faults(policies: &str) -> Vec<String> {
    let problems = edited(policies).unwrap_err().problems;
    let place = |place: Option<(usize, usize)>| {
        place.map_or("-".into(), |(line, column)| format!("{line}:{column}"))
    };
    problems
        .iter()
        .map(|p| format!("{} {}", place(p.place), p.fault.code()))
        .collect()
}

#[test]
fn the_shipped_folder_is_what_the_binary_carries_and_every_policy_is_determined() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    assert_eq!(Source::read(&folder).unwrap(), Source::shipped());
    let report = test(&folder);
    assert!(report.ok, "{report}");
    assert!(report.cases.len() >= report.policies);
    let policies = load(&folder).unwrap();
    assert!(
        policies
            .all_written()
            .all(|written| written.advice.is_some())
    );
    assert_eq!(report.digest.as_deref(), Some(policies.digest()));
}

#[test]
fn the_schema_has_every_method_of_argo_cd_in_one_group() {
    let actions = shipped().actions();
    let methods = actions.iter().filter(|(name, _)| name.contains("Service."));
    assert_eq!(methods.clone().count(), 109);
    assert!(methods.clone().all(|(_, groups)| groups.len() == 1));
    let of = |group: &str| methods.clone().filter(|(_, g)| g.contains(group)).count();
    assert_eq!(
        [
            of("read"),
            of("report"),
            of("write"),
            of("deploy"),
            of("administer")
        ],
        [56, 0, 2, 12, 39]
    );
}

#[test]
fn what_policies_name_can_be_compared_with_the_configuration() {
    let policies = shipped();
    let texts = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>();
    assert_eq!(
        texts(policies.environments()),
        ["ambiguous", "dev", "prod", "staging", "unassigned"]
    );
    assert_eq!(
        texts(policies.roles()),
        [
            "argocd-controller",
            "argocd-server",
            "break-glass",
            "cluster-admin",
            "engineer",
            "freeze-passer",
            "platform-admin",
            "release-manager",
            "security",
            "test-job"
        ]
    );
}

#[test]
fn text_that_is_not_cedar() {
    assert_eq!(
        faults("@id(\"a\") permit (principal, action, resource);\n  permit principal;"),
        ["2:10 syntax"]
    );
}

#[test]
fn a_policy_without_an_id() {
    assert_eq!(
        faults(
            "@id(\"a\") permit (principal, action, resource);\n\n  // why\n  permit (principal, action, resource);"
        ),
        ["4:3 missing-id"]
    );
}

#[test]
fn a_policy_with_an_id_that_is_taken() {
    let problems = edited(
        "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") permit (principal, action, resource);",
    )
    .unwrap_err();
    assert_eq!(
        problems.to_string(),
        "edited.cedar:2:1: policy id `a` is already that of the policy at edited.cedar:1; \
         give each policy an id of its own"
    );
}

#[test]
fn a_policy_with_an_id_that_cannot_stand_in_a_record() {
    assert_eq!(
        faults("@id(\"a b\") permit (principal, action, resource);"),
        ["1:1 bad-id"]
    );
}

#[test]
fn a_template() {
    assert_eq!(
        faults("@id(\"a\")\npermit (principal == ?principal, action, resource);"),
        ["1:1 template"]
    );
}

#[test]
fn an_attribute_that_the_schema_does_not_have() {
    let problems = edited(
        "@id(\"a\")\npermit (principal, action == Syncgate::Action::\"Run.report\", resource)\nwhen { resource.enviroment == Syncgate::Environment::\"dev\" };",
    )
    .unwrap_err();
    assert_eq!(
        problems.to_string(),
        "edited.cedar:3:8: policy `a` does not fit the schema: attribute `enviroment` on entity \
         type `Syncgate::Application` not found; did you mean `environment`?"
    );
}

#[test]
fn an_action_that_the_schema_does_not_have() {
    assert_eq!(
        faults("@id(\"a\") permit (principal, action == Syncgate::Action::\"Sync\", resource);"),
        ["1:39 invalid"]
    );
}

#[test]
fn a_policy_that_can_never_match() {
    assert_eq!(
        faults(
            "@id(\"a\")\npermit (principal, action, resource)\nwhen { resource is Syncgate::Gate && resource is Syncgate::ArgoCd };"
        ),
        ["1:1 never-matches"]
    );
}

#[test]
fn text_that_deceives_the_eye() {
    assert_eq!(
        faults(
            "@id(\"a\")\npermit (principal, action, resource) when { context.wire == \"gr\u{440}c\" };"
        ),
        ["2:61 suspicious"]
    );
}

#[test]
fn all_problems_are_told_at_once() {
    assert_eq!(
        faults(
            "permit (principal, action, resource);\n@id(\"b\") permit (principal, action, resource) when { context.nothing };"
        ),
        ["1:1 missing-id", "2:54 invalid"]
    );
}

#[test]
fn a_schema_that_is_none() {
    let mut source = Source::shipped();
    source.schema.text.push_str("\nentity;");
    let problems = Policies::build(&source).unwrap_err().problems;
    let last_line = source.schema.text.lines().count();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].fault.code(), "schema");
    assert_eq!(
        problems[0].place.map(|(line, _)| line),
        Some(last_line),
        "{}",
        problems[0]
    );
}

#[test]
fn a_schema_older_than_the_gate() {
    let unfit = |part: &str| {
        let mut source = Source::shipped();
        assert!(source.schema.text.contains(part), "{part}");
        source.schema.text = source.schema.text.replace(part, "");
        let permit = "@id(\"a\") permit (principal, action, resource);";
        source.policies = vec![File {
            name: "a.cedar".into(),
            text: permit.into(),
        }];
        Policies::build(&source).unwrap_err().to_string()
    };
    assert_eq!(
        unfit("    \"ApplicationService.Rollback\",\n"),
        "schema.cedarschema: the schema does not fit `ApplicationService.Rollback` as this gate \
         asks about it: there is no action `ApplicationService.Rollback`; take the schema that \
         comes with this version of syncgate"
    );
    assert_eq!(
        unfit("    auto_sync: Bool,\n"),
        "schema.cedarschema: the schema does not fit `Application.Extension` as this gate asks \
         about it: entity does not conform to the schema: attribute `auto_sync` on \
         `Syncgate::Application::\"probe\"` should not exist according to the schema; take the \
         schema that comes with this version of syncgate"
    );
}

#[test]
fn folders_that_cannot_be_read() {
    let empty = tempfile::tempdir().unwrap();
    let codes = |dir: &Path| {
        let problems = load(dir).unwrap_err().problems;
        problems.iter().map(|p| p.fault.code()).collect::<Vec<_>>()
    };
    assert_eq!(codes(empty.path()), ["no-schema", "no-policy"]);
    assert_eq!(codes(&empty.path().join("missing")), ["unreadable"]);

    let dir = empty.path();
    fs::write(
        dir.join("schema.cedarschema"),
        &Source::shipped().schema.text,
    )
    .unwrap();
    fs::create_dir(dir.join("folder.cedar")).unwrap();
    fs::write(dir.join("large.cedar"), vec![b' '; 1024 * 1024 + 1]).unwrap();
    fs::write(dir.join("bytes.cedar"), [0xff]).unwrap();
    let mut found = codes(dir);
    found.sort_unstable();
    assert_eq!(found, ["not-text", "too-large", "unreadable"]);

    for n in 0..520 {
        fs::write(dir.join(format!("{n}.cedar")), "").unwrap();
    }
    assert_eq!(codes(dir), ["too-many"]);
    assert!(!check(dir).ok);
}

fn with_cases(policies: &str, cases: &str) -> super::super::Report {
    let mut source = Source::shipped();
    source.policies = vec![File {
        name: "edited.cedar".into(),
        text: policies.into(),
    }];
    source.cases = vec![File {
        name: "edited.cases.json".into(),
        text: cases.into(),
    }];
    test_source(&source)
}

const ONE: &str = "@id(\"one\") permit (principal in Syncgate::Role::\"engineer\", action == Syncgate::Action::\"Log.read\", resource);";

#[test]
fn a_policy_that_no_case_determines_fails_the_test() {
    let report = with_cases(ONE, "[]");
    assert_eq!(
        report.to_string().lines().next(),
        Some(
            "edited.cedar:1:1: no case is decided by policy `one`; \
             add a case to the file's `.cases.json` that names it in `reason`"
        )
    );
    assert!(!report.ok);
}

#[test]
fn a_case_that_comes_out_otherwise_says_how() {
    let report = with_cases(
        ONE,
        r#"[{"name": "n", "caller": {"roles": ["engineer"]}, "action": "Log.read",
             "decision": "deny", "reason": ["two"]}]"#,
    );
    let told = report.to_string();
    assert!(
        told.starts_with(
            "edited.cases.json: case `n` fails: expected deny, is allow; \
             expected `two` to determine it, is `one`;"
        ),
        "{told}"
    );
    assert!(
        told.contains("1 policy, 0 of 1 case pass, 2 problems"),
        "{told}"
    );
    assert!(!report.cases[0].passed);
}

#[test]
fn cases_that_are_none() {
    for (cases, expected) in [
        ("[", "edited.cases.json:1:1: not a file of cases: EOF"),
        ("[{}]", "case `number 1`: wrong form: missing field `name`"),
        (
            r#"[{"name": "n", "caller": {"role": []}, "action": "Log.read", "decision": "deny"}]"#,
            "case `n`: wrong form: unknown field `role`",
        ),
        (
            r#"[{"name": "n", "caller": {}, "action": "Nothing", "decision": "deny"}]"#,
            "case `n`: the schema has no action `Nothing`",
        ),
        (
            r#"[{"name": "n", "caller": {}, "action": "Run.read", "decision": "deny"}]"#,
            "case `n`: `Run.read` needs an `application`",
        ),
        (
            r#"[{"name": "n", "request": {"principal": "Ada", "action": "Syncgate::Action::\"Log.read\"",
                 "resource": "Syncgate::Gate::\"syncgate\""}, "entities": [], "decision": "deny",
                 "reason": []}]"#,
            "case `n`: its context does not fit the schema:",
        ),
    ] {
        let told = with_cases(ONE, cases).to_string();
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn a_report_is_readable_by_machines() {
    let json = serde_json::to_value(with_cases(ONE, "[]")).unwrap();
    assert_eq!(json["ok"], false);
    let problem = &json["problems"][0];
    assert_eq!(problem["code"], "undetermined");
    assert_eq!(
        (&problem["line"], &problem["column"]),
        (&1.into(), &1.into())
    );
}
