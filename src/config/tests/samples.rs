//! The samples in `config/` are files that load, and the complete one is complete.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use toml::{Table, Value};

use super::super::Config;

/// Files that samples name. What is in them is not looked at here.
const NAMED: [&str; 27] = [
    "argocd-token",
    "argocd.crt",
    "gate.kubeconfig",
    "secrets/alerts-token",
    "secrets/argocd-token",
    "secrets/assertion.key",
    "secrets/cart-password",
    "secrets/checkout-token",
    "secrets/cluster-token",
    "secrets/git-key",
    "secrets/git-token",
    "secrets/slack-webhook",
    "slack.j2",
    "tls/admission.crt",
    "tls/admission.key",
    "tls/alerts-ca.crt",
    "tls/argocd-ca.crt",
    "tls/aws-ca.crt",
    "tls/cluster-ca.crt",
    "tls/cluster-client-ca.crt",
    "tls/gate.crt",
    "tls/gate.key",
    "tls/gitlab-ca.crt",
    "tls/ledger-client.crt",
    "tls/ledger-client.key",
    "tls/login-ca.crt",
    "tls/staging-ca.crt",
];

fn samples() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let files = [folder.clone(), folder.join("providers")]
        .into_iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap());
    let samples = files.filter(|file| file.path().extension().is_some_and(|end| end == "toml"));
    samples
        .map(|file| {
            let name = file.file_name().into_string().unwrap();
            (name, fs::read_to_string(file.path()).unwrap())
        })
        .collect()
}

/// A folder with the files that samples name.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in NAMED {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // An address where one is needed.
        fs::write(path, "https://hooks.example/contents").unwrap();
    }
    folder
}

#[test]
fn every_sample_loads() {
    let (samples, folder) = (samples(), folder());
    for name in ["syncgate.toml", "local.toml", "okta.toml"] {
        assert!(samples.contains_key(name), "{name}");
    }
    for (name, text) in samples {
        let path = folder.path().join(&name);
        fs::write(&path, text).unwrap();
        let config = Config::load(&path).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(!config.environments.is_empty(), "{name}");
    }
}

#[test]
fn the_configuration_for_a_cluster_loads_where_its_files_are_mounted() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "argocd/ca.crt",
        "argocd/token",
        "cluster/ca.crt",
        "cluster/token",
        "tls/admission/tls.crt",
        "tls/admission/tls.key",
        "tls/public/tls.crt",
        "tls/public/tls.key",
        "config/syncgate.toml",
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("config/kubernetes/base/syncgate.toml")).unwrap();
    let path = folder.path().join("config/syncgate.toml");
    fs::write(&path, text).unwrap();
    let config = Config::load(&path).unwrap_or_else(|problems| panic!("{problems}"));
    let door = config.admission.unwrap();
    // The conditions of the webhook name the same accounts.
    let webhook = fs::read_to_string(root.join("config/kubernetes/webhook/webhook.yaml")).unwrap();
    for account in &door.argocd {
        let user = format!(
            "system:serviceaccount:{}:{}",
            account.namespace, account.name
        );
        assert!(webhook.contains(&format!("\"{user}\"")), "{user}");
    }
}

/// An unknown key in every table makes the reader list the keys that exist there; the sample must
/// show each.
#[test]
fn the_complete_sample_shows_every_key() {
    let folder = folder();
    let mut root: Table = samples()["syncgate.toml"].parse().unwrap();
    let mut shown = BTreeMap::new();
    spoil("", &mut root, &mut shown);
    let problems = Config::parse(&toml::to_string(&root).unwrap(), folder.path()).unwrap_err();
    let mut tables = 0;
    for problem in problems {
        let known = problem.message.strip_prefix("is not a key; keys here: ");
        let known = known.unwrap_or_else(|| panic!("{problem:?}"));
        let table = without_places(problem.key.strip_suffix("unknown").unwrap());
        for key in known.split(", ") {
            assert!(shown[&table].contains(key), "`{table}{key}` is not shown");
        }
        tables += 1;
    }
    assert!(tables >= 10, "{tables}");
}

/// Adds a key `unknown` to `table` and all below, and notes which keys each kind of table has.
fn spoil(path: &str, table: &mut Table, shown: &mut BTreeMap<String, BTreeSet<String>>) {
    // Names of labels are free.
    if path.ends_with("labels.") {
        return;
    }
    let keys = table.keys().cloned();
    shown.entry(path.to_owned()).or_default().extend(keys);
    for (key, value) in table.iter_mut() {
        let path = format!("{path}{key}.");
        match value {
            Value::Table(inner) => spoil(&path, inner, shown),
            Value::Array(items) => {
                for inner in items.iter_mut().filter_map(Value::as_table_mut) {
                    spoil(&path, inner, shown);
                }
            }
            _ => {}
        }
    }
    table.insert("unknown".to_owned(), Value::Boolean(true));
}

/// `environment[1].requires[0].` as `environment.requires.`.
fn without_places(path: &str) -> String {
    let mut out = String::new();
    for part in path.split('[') {
        let rest = part.split_once(']').map_or(part, |(_, rest)| rest);
        out.push_str(rest);
    }
    out
}
