//! Mistakes are named with their key path, all at once.

use jiff::SignedDuration;

use super::*;
use crate::evidence::verdict::LeastShare;
use crate::pattern::Pattern;

mod ci;
mod endpoints;
mod samples;
mod signers;

const GOOD: &str = r#"
url = "https://gate.example"
[listen]
address = "127.0.0.1:0"
[upstream]
url = "https://argocd.example"
token = "canary-token"
[[oidc]]
issuer = "https://idp.example/"
cli_client_id = "argocd-cli"
[[kubernetes]]
issuer = "https://kubernetes.default.svc"
audience = "syncgate"
[[role]]
name = "engineer"
groups = [{ issuer = "https://idp.example/", group = "engineering" }]
service_accounts = ["ci/deployer"]
[[environment]]
name = "staging"
mode = "enforce"
applications = { names = ["*-staging"], namespaces = ["shop"] }
component = "{component}-staging"
[[environment]]
name = "prod"
mode = "observe"
applications = { labels = { "tier" = "prod" } }
component = "label:component"
[[environment.requires]]
suite = "integration"
environment = "staging"
max_age = "7d"
[[workload]]
service_account = "shop-staging/checkout-tests"
applications = "checkout-*"
"#;

fn problems(text: &str) -> Vec<String> {
    Config::parse(text, Path::new("."))
        .unwrap_err()
        .into_iter()
        .map(|p| format!("{}: {}", p.key, p.message))
        .collect()
}

#[test]
fn a_good_file_is_taken() {
    let config = Config::parse(GOOD, Path::new(".")).unwrap();
    assert_eq!(config.environments.len(), 2);
    let requirement = &config.environments[1].requires[0];
    assert_eq!(
        requirement.max_age,
        Some(jiff::SignedDuration::from_hours(7 * 24))
    );
    assert_eq!(config.issuers[0].issuer, "https://idp.example/");
    assert!(!format!("{config:?}").contains("canary-token"));
}

#[test]
fn every_mistake_is_named_with_its_key_path() {
    let text = r#"
urll = "https://gate.example"
[listen]
address = "localhost"
[upstream]
url = "http://argocd.example"
token = "${SYNCGATE_TEST_NOT_SET}"
[[role]]
name = "engineer"
groups = [{ issuer = "https://other.example", group = "x" }]
service_accounts = ["no-slash"]
[[environment]]
name = "Staging"
mode = "warn"
applications = {}
component = "staging"
varies = ["helm"]
[[environment.requires]]
environment = "nowhere"
max_age = "soon"
[[notify]]
url = "http://alerts.example"
"#;
    let expected = [
        "url: is required",
        "listen.address: `localhost` is not an address and port such as `127.0.0.1:8443`",
        "upstream.url: `http://argocd.example` is plain http off loopback; use https",
        "upstream.token: names the environment variable `SYNCGATE_TEST_NOT_SET`, which is not set",
        "role[0].groups[0].issuer: `https://other.example` is not an issuer of this file",
        "role[0].service_accounts: `no-slash` needs a [[kubernetes]] issuer in this file",
        "environment[0].requires[0].suite: is required",
        "environment[0].requires[0].max_age: is not a duration such as `30s` or `7d`",
        "environment[0].name: \"Staging\" is not an environment name (lower-case letters, digits, `-`, `.`)",
        "environment[0].mode: `warn` is not a mode; use `enforce` or `observe`",
        "environment[0].applications: fits every application; name at least one of names, projects, clusters, namespaces, labels",
        "environment[0].component: `staging` is neither `label:NAME` nor a name with `{component}` in it",
        "environment[0].varies: `helm` changes what runs, so it may never vary",
        "notify[0].url: `http://alerts.example` is plain http off loopback; use https",
        "environment[0].requires[0].environment: `nowhere` is not an environment of this file",
    ];
    let found = problems(text);
    for line in expected {
        assert!(
            found.iter().any(|p| p == line),
            "missing: {line}\nfound: {found:#?}"
        );
    }
    assert!(
        found
            .iter()
            .any(|p| p.starts_with("urll: is not a key; keys here: ")),
        "{found:#?}"
    );
    assert!(
        found
            .iter()
            .any(|p| p.starts_with("listen.certificate: is required off loopback"))
    );
    assert_eq!(found.len(), expected.len() + 2, "{found:#?}");
}

#[test]
fn callers_are_named_only_where_argo_cd_can_trust_what_names_them() {
    let with = |url: &str, callers: &str| {
        let text = GOOD.replace("https://gate.example", url);
        text.replace("[[oidc]]", &format!("callers = \"{callers}\"\n[[oidc]]"))
    };
    for url in ["https://gate.example", "http://127.0.0.1:8080"] {
        let config = Config::parse(&with(url, "named"), Path::new(".")).unwrap();
        assert_eq!(config.upstream.callers, Callers::Named);
        assert_eq!(config.argocd_issuer(), format!("{url}/syncgate/argocd"));
    }
    assert_eq!(
        problems(&with("http://gate.example", "named")),
        [
            "upstream.callers: `named` needs a `url` that nobody can listen to or change on the way: \
          `http://gate.example/` is plain http off loopback; use https"
        ]
    );
    assert_eq!(
        problems(&with("https://gate.example", "myself")),
        ["upstream.callers: `myself` is not how callers arrive; use `account` or `named`"]
    );
}

#[test]
fn the_gate_is_no_issuer_of_its_own_callers() {
    for issuer in [
        "https://gate.example/syncgate/argocd",
        "https://gate.example/syncgate/",
    ] {
        let text = GOOD.replace("https://idp.example/", issuer);
        let message = format!("url: `{issuer}` is the gate itself, which vouches for nobody here");
        assert_eq!(problems(&text), [message]);
    }
}

#[test]
fn who_is_told_what_is_checked() {
    let found = problems(
        r#"
[[notify]]
url = "https://alerts.example"
events = ["run.failed", "run.odd"]
environments = ["nowhere"]
format = "mail"
template = "Cargo.toml"
[[notify]]
url = "file:not-there"
format = "slack"
template = "not-there"
"#,
    );
    for line in [
        "notify[0].events[1]: `run.odd` is not an event; use break-glass.opened, break-glass.overdue, deploy.refused, operation.unexplained, rollback.ended, rollback.proposed, rollback.started, rollback.stuck, run.failed",
        "notify[0].environments[0]: `nowhere` is not an environment of this file",
        "notify[0].format: `mail` is not a format; use `cloudevents` or `slack`",
        "notify[0].template: is for the format `slack` only",
        "notify[1].url: cannot read ./not-there: No such file or directory (os error 2)",
        "notify[1].template: cannot read ./not-there: No such file or directory (os error 2)",
    ] {
        assert!(
            found.iter().any(|p| p == line),
            "missing: {line}\nfound: {found:#?}"
        );
    }
}

#[test]
fn the_least_share_of_a_suite_is_a_percentage() {
    let of = |share: &str| GOOD.replace("max_age = \"7d\"", &format!("least_share = {share}"));
    for (share, least) in [("0", 0), ("75", 75), ("100", 100)] {
        let config = Config::parse(&of(share), Path::new(".")).unwrap();
        let requirement = &config.environments[1].requires[0];
        assert_eq!(requirement.least_share, LeastShare::percent(least));
    }
    for share in ["101", "-1", "0.9", "\"90\"", "[]"] {
        let expected =
            "environment[1].requires[0].least_share: is not a whole number from 0 to 100";
        assert_eq!(problems(&of(share)), [expected], "{share}");
    }
}

#[test]
fn what_changes_what_runs_may_not_vary() {
    let fields = [
        "repoURL",
        "targetRevision",
        "chart",
        "helm.values",
        "kustomize",
        "plugin.env",
    ];
    for field in fields {
        let text = format!(
            "{GOOD}\n[[environment]]\nname = \"x\"\nmode = \"observe\"\ncomponent = \"label:c\"\napplications = {{ namespaces = [\"x-*\"] }}\nvaries = [\"path\", \"{field}\"]\n"
        );
        let expected = format!("`{field}` changes what runs, so it may never vary");
        let found = problems(&text);
        assert!(
            found.len() == 1 && found[0].ends_with(&expected),
            "{field}: {found:#?}"
        );
    }
}

#[test]
fn plain_http_off_loopback_must_be_said() {
    let open = GOOD.replace("127.0.0.1:0", "0.0.0.0:8080");
    assert_eq!(problems(&open).len(), 1);
    let said = open.replace("\"0.0.0.0:8080\"", "\"0.0.0.0:8080\"\nplaintext = true");
    Config::parse(&said, Path::new(".")).unwrap();
}

fn named(name: &str) -> crate::names::AppRef {
    crate::names::AppRef {
        namespace: None,
        name: name.to_owned(),
    }
}

#[test]
fn a_name_in_another_namespace_is_another_application() {
    let elsewhere = crate::names::AppRef {
        namespace: Some("team-x".to_owned()),
        ..named("checkout-staging")
    };
    for (pattern, home, away) in [
        ("*-staging", true, false),
        ("*/checkout-staging", false, true),
        ("team-*/*", false, true),
        ("team-y/*", false, false),
    ] {
        let pattern = crate::pattern::Pattern::new(pattern);
        assert_eq!(
            fits(&pattern, &named("checkout-staging")),
            home,
            "{pattern:?}"
        );
        assert_eq!(fits(&pattern, &elsewhere), away, "{pattern:?}");
    }
}

#[test]
fn an_environment_without_requirements_says_where_its_applications_go() {
    let by_name = GOOD.replace(r#", namespaces = ["shop"]"#, "");
    let found = problems(&by_name);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("environment[0].applications: must name clusters or namespaces"));
}

#[test]
fn an_application_in_two_environments_is_in_none() {
    let config = Config::parse(GOOD, Path::new(".")).unwrap();
    let labels = [("tier".to_owned(), "prod".to_owned())].into();
    let traits = environments::Traits {
        application: &named("checkout-staging"),
        project: "shop",
        cluster: "in-cluster",
        namespace: "shop",
        labels: &labels,
    };
    assert_eq!(
        Assignment::of(&config.environments, traits).name(),
        "ambiguous"
    );
    let none = std::collections::BTreeMap::new();
    let traits = environments::Traits {
        labels: &none,
        ..traits
    };
    assert_eq!(
        Assignment::of(&config.environments, traits).name(),
        "staging"
    );
    let traits = environments::Traits {
        application: &named("other"),
        ..traits
    };
    assert_eq!(
        Assignment::of(&config.environments, traits).name(),
        "unassigned"
    );
}

#[test]
fn the_admission_door_knows_its_cluster_and_argo_cd_s_accounts() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["tls.crt", "tls.key"] {
        std::fs::write(folder.path().join(name), "x").unwrap();
    }
    let with = |text: &str, lines: &str| {
        let pair = "certificate = \"tls.crt\"\nkey = \"tls.key\"\n";
        let section = format!("[admission]\naddress = \"127.0.0.1:0\"\n{pair}{lines}\n[[oidc]]");
        Config::parse(&text.replacen("[[oidc]]", &section, 1), folder.path())
    };
    let door = with(GOOD, "").unwrap().admission.unwrap();
    assert_eq!(door.issuer, "https://kubernetes.default.svc");
    let names: Vec<String> = door
        .argocd
        .iter()
        .map(|a| format!("{}#{}/{}", a.issuer, a.namespace, a.name))
        .collect();
    assert_eq!(names.len(), 3);
    assert_eq!(
        names[2],
        "https://kubernetes.default.svc#argocd/argocd-server"
    );
    let own = with(GOOD, "argocd = [\"gitops/server\"]").unwrap();
    assert_eq!(own.admission.unwrap().argocd[0].namespace, "gitops");
    for (lines, said) in [
        (
            "issuer = \"https://other\"",
            "admission.issuer: `https://other` is not a [[kubernetes]] issuer of this file",
        ),
        (
            "argocd = [\"server\"]",
            "admission.argocd[0]: `server` is not `NAMESPACE/NAME`",
        ),
        (
            "client_ca = \"none.crt\"",
            "admission.client_ca: cannot read",
        ),
    ] {
        let found = with(GOOD, lines).unwrap_err();
        assert_eq!(found.len(), 1, "{found:?}");
        let found = format!("{}: {}", found[0].key, found[0].message);
        assert!(found.starts_with(said), "{found}");
    }
    let bare = GOOD.replacen("[[oidc]]", "[admission]\n[[oidc]]", 1);
    assert_eq!(
        problems(&bare),
        [
            "admission.address: is required",
            "admission.certificate: is required",
            "admission.key: is required"
        ]
    );
}

#[test]
fn the_admission_door_must_know_as_whom_the_gate_takes_rollouts_back() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["tls.crt", "tls.key", "gate.kubeconfig"] {
        std::fs::write(folder.path().join(name), "x").unwrap();
    }
    let door =
        "[admission]\naddress = \"127.0.0.1:0\"\ncertificate = \"tls.crt\"\nkey = \"tls.key\"\n";
    let with = |door: &str, lines: &str| {
        let section = format!("{door}[rollback]\n{lines}\n[[oidc]]");
        Config::parse(&GOOD.replacen("[[oidc]]", &section, 1), folder.path())
    };
    assert!(
        Config::parse(GOOD, folder.path())
            .unwrap()
            .rollback
            .is_none()
    );
    let usual = with("", "").unwrap().rollback.unwrap();
    assert_eq!(
        (usual.kubeconfig, usual.account, usual.prune),
        (None, None, false)
    );
    assert_eq!(usual.patience, SignedDuration::from_mins(15));
    let lines = "kubeconfig = \"gate.kubeconfig\"\naccount = \"syncgate/gate\"\npatience = \"90s\"\nprune = true";
    let told = with(door, lines).unwrap().rollback.unwrap();
    let account = told.account.unwrap();
    assert_eq!(
        (
            account.issuer.as_str(),
            account.namespace.as_str(),
            account.name.as_str()
        ),
        ("https://kubernetes.default.svc", "syncgate", "gate")
    );
    assert_eq!(told.patience, SignedDuration::from_secs(90));
    assert!(told.prune);
    for (door, lines, said) in [
        (door, "", "rollback.account: is required beside [admission]"),
        (
            door,
            "account = \"gate\"",
            "rollback.account: `gate` is not `NAMESPACE/NAME`",
        ),
        (
            "",
            "kubeconfig = \"none\"",
            "rollback.kubeconfig: cannot read",
        ),
        ("", "patience = \"soon\"", "rollback.patience: "),
        ("", "accounts = 1", "rollback.accounts: is not a key"),
    ] {
        let found = with(door, lines).unwrap_err();
        assert_eq!(found.len(), 1, "{found:?}");
        let found = format!("{}: {}", found[0].key, found[0].message);
        assert!(found.starts_with(said), "{found}");
    }
}

#[test]
fn the_same_account_in_two_clusters_must_say_which() {
    let second =
        "[[kubernetes]]\nissuer = \"https://other.example\"\naudience = \"syncgate\"\n[[role]]";
    let two = GOOD.replacen("[[role]]", second, 1);
    assert_eq!(problems(&two).len(), 2, "{:?}", problems(&two));
    let said = two
        .replace("\"ci/deployer\"", "\"https://other.example#ci/deployer\"")
        .replace(
            "\"shop-staging/",
            "\"https://kubernetes.default.svc#shop-staging/",
        );
    let config = Config::parse(&said, Path::new(".")).unwrap();
    assert_eq!(
        config.roles[0].service_accounts[0].issuer,
        "https://other.example"
    );
}

#[test]
fn aws_is_asked_where_the_file_says_and_its_roles_are_named_as_sessions_show_them() {
    let read = |section: &str, arns: &str| {
        let text = GOOD.replacen("[[role]]", &format!("{section}\n[[role]]\naws = {arns}"), 1);
        Config::parse(&text, Path::new("."))
    };
    let role = r#"["arn:aws:iam::123456789012:role/deployer"]"#;
    let config = read("[aws]", role).unwrap();
    let sts = config.aws.unwrap().sts;
    assert_eq!(sts[0].as_str(), "https://sts.amazonaws.com/");
    assert_eq!(
        config.roles[0].aws[0].as_str(),
        "arn:aws:iam::123456789012:role/deployer"
    );
    let told = |section: &str, arns: &str| {
        let problems = read(section, arns).unwrap_err();
        let [problem] = problems.as_slice() else {
            panic!("{problems:?}");
        };
        format!("{}: {}", problem.key, problem.message)
    };
    assert_eq!(
        told("", role),
        "role[0].aws: needs the section [aws] in this file"
    );
    for (section, arns, key, message) in [
        ("[aws]\nsts = []", "[]", "aws.sts: ", "names no endpoint"),
        (
            "[aws]\nsts = [\"http://sts.example\"]",
            "[]",
            "aws.sts[0]: ",
            "write `https://HOST`",
        ),
        (
            "[aws]",
            r#"["arn:aws:sts::123456789012:assumed-role/deployer/run"]"#,
            "role[0].aws[0]: ",
            "write the role, `arn:aws:iam::123456789012:role/deployer`",
        ),
        (
            "[aws]",
            r#"["arn:aws:iam::123456789012:role/ci/deployer"]"#,
            "role[0].aws[0]: ",
            "write `arn:aws:iam::123456789012:role/deployer`",
        ),
    ] {
        let told = told(section, arns);
        assert!(told.starts_with(key) && told.contains(message), "{told}");
    }
}

#[test]
fn freezes_are_read() {
    let text = r#"
[[freeze]]
name = "year-end"
environments = ["prod"]
reason = "the books are closed"
from = "2026-12-18T18:00[Europe/Zurich]"
until = "2027-01-04T08:00[Europe/Zurich]"
[[freeze]]
name = "weekend"
environments = ["staging", "prod"]
reason = "nobody is on call"
cron = "0 18 * * FRI"
duration = "2d 14h"
time_zone = "Europe/Zurich"
"#;
    let config = Config::parse(&format!("{GOOD}\n{text}"), Path::new(".")).unwrap();
    assert_eq!(config.freezes.len(), 2);
    assert!(config.freezes[1].concerns("staging") && !config.freezes[0].concerns("staging"));
}

#[test]
fn mistakes_of_freezes_are_told_all_at_once() {
    let text = r#"
[[freeze]]
name = "Year End"
environments = ["production"]
reason = " "
from = "2026-12-18T18:00:00Z"
[[freeze]]
name = "weekend"
environments = "prod"
reason = "nobody is on call"
cron = "0 18 * *"
duration = "soon"
time_zone = "Zurich"
[[freeze]]
name = "both"
environments = ["prod"]
reason = "x"
from = "2026-12-18T18:00[Europe/Zurich]"
cron = "0 18 * * *"
[[freeze]]
name = "backwards"
environments = ["prod"]
reason = "x"
from = "2026-12-18T18:00[Europe/Zurich]"
until = "2026-12-18T18:00[Europe/Zurich]"
"#;
    assert_eq!(
        problems(&format!("{GOOD}\n{text}")),
        [
            "freeze[0].name: \"Year End\" is not a freeze name (lower-case letters, digits, `-`, `.`)",
            "freeze[0].environments: `production` is not an environment of this file",
            "freeze[0].environments: names no environment of this file",
            "freeze[0].reason: must be one line of 1 to 200 characters: who is refused reads it",
            "freeze[0].from: `2026-12-18T18:00:00Z` is not a time with its zone (RFC 9557) such as \
             `2026-12-18T18:00[Europe/Zurich]`",
            "freeze[0].until: is required",
            "freeze[1].environments: must be a list, is text",
            "freeze[1].environments: names no environment of this file",
            "freeze[1].cron: `0 18 * *` is not a cron pattern of five fields: there are 4",
            "freeze[1].duration: `soon` is not a duration such as `62h` or `2d 14h`, of a year at the most",
            "freeze[1].time_zone: `Zurich` is not a time zone of the IANA database such as `Europe/Zurich`",
            "freeze[2].from: say when: either `from` and `until`, or `cron`, `duration` and `time_zone`",
            "freeze[3].until: is not after `from`",
        ]
    );
}
