//! The section of the admission door.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::reader::{Problems, Table};
use super::sections::{Issuer, ServerTls, ServiceAccount, account, address, clusters, file};

/// The door at which the API server of a cluster asks about writes of Argo CD's objects.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Address and port; always TLS.
    pub address: SocketAddr,
    /// Certificate and key.
    pub tls: ServerTls,
    /// A PEM file of the authorities one of which must have issued the API server's own certificate;
    /// absent: it need not show one.
    pub client_ca: Option<PathBuf>,
    /// The issuer of the cluster whose users and service accounts call there.
    pub issuer: String,
    /// The service accounts of Argo CD's own programs: they alone write the status of an
    /// application, and theirs are the writes that follow from a permitted call.
    pub argocd: Vec<ServiceAccount>,
}

/// The names that Argo CD's manifests give to the service accounts of its programs.
const STOCK_ACCOUNTS: [&str; 3] = [
    "argocd-application-controller",
    "argocd-applicationset-controller",
    "argocd-server",
];

pub(super) fn read(
    mut table: Table,
    base: &Path,
    issuers: &[Issuer],
    namespace: Option<&str>,
    problems: &mut Problems,
) -> Option<Admission> {
    let address = table.required_parsed("address", problems, address);
    for key in ["certificate", "key"] {
        if !table.has(key) {
            problems.add(table.key(key), "is required");
        }
    }
    let certificate = file(&mut table, "certificate", base, problems);
    let key = file(&mut table, "key", base, problems);
    let client_ca = file(&mut table, "client_ca", base, problems);
    let path = table.key("issuer");
    let issuer = cluster(table.text("issuer", problems), &clusters(issuers))
        .map_err(|message| problems.add(path, message))
        .ok();
    let argocd = argocd_accounts(&mut table, issuer.as_deref(), namespace, problems);
    table.finish(problems);
    Some(Admission {
        address: address?,
        tls: ServerTls {
            certificate: certificate?,
            key: key?,
        },
        client_ca,
        issuer: issuer?,
        argocd,
    })
}

/// The cluster that is meant: the one that is named, or the only one.
fn cluster(named: Option<String>, known: &[&str]) -> Result<String, String> {
    match (named, known) {
        (Some(issuer), known) if known.contains(&issuer.as_str()) => Ok(issuer),
        (Some(issuer), _) => Err(format!(
            "`{issuer}` is not a [[kubernetes]] issuer of this file"
        )),
        (None, [only]) => Ok((*only).to_owned()),
        (None, []) => Err("needs a [[kubernetes]] issuer in this file".to_owned()),
        (None, _) => Err("is required with several [[kubernetes]] issuers".to_owned()),
    }
}

fn argocd_accounts(
    table: &mut Table,
    issuer: Option<&str>,
    namespace: Option<&str>,
    problems: &mut Problems,
) -> Vec<ServiceAccount> {
    let (Some(issuer), Some(namespace)) = (issuer, namespace) else {
        // What is missing is told elsewhere.
        table.texts("argocd", problems);
        return Vec::new();
    };
    if !table.has("argocd") {
        let stock = STOCK_ACCOUNTS.map(|name| account(&format!("{namespace}/{name}"), issuer));
        return stock.into_iter().flatten().collect();
    }
    let key = table.key("argocd");
    let mut accounts = Vec::new();
    for (index, text) in table.texts("argocd", problems).iter().enumerate() {
        match account(text, issuer) {
            Ok(account) => accounts.push(account),
            Err(message) => problems.add(format!("{key}[{index}]"), message),
        }
    }
    accounts
}
