//! The section of rollbacks.

use std::path::{Path, PathBuf};

use jiff::SignedDuration;

use super::Admission;
use super::reader::{Problems, Table};
use super::sections::{ServiceAccount, account, file};

/// How long a step may take unless the file says otherwise.
const DEFAULT_PATIENCE: SignedDuration = SignedDuration::from_mins(15);

/// How the gate takes rollouts back.
#[derive(Clone, Debug)]
pub struct Rollback {
    /// A kubeconfig for the cluster of Argo CD; absent: the service account of the gate's own pod.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; absent: its current one.
    pub context: Option<String>,
    /// The service account as which the gate writes there, by which the admission door knows it.
    pub account: Option<ServiceAccount>,
    /// Whether what is not in the older commit is deleted, although the application does not prune by itself.
    pub prune: bool,
    /// How long one application may take to come back.
    pub patience: SignedDuration,
}

pub(super) fn read(
    root: &mut Table,
    base: &Path,
    admission: Option<&Admission>,
    problems: &mut Problems,
) -> Option<Rollback> {
    let mut table = root.table("rollback", problems)?;
    let kubeconfig = file(&mut table, "kubeconfig", base, problems);
    let context = table.text("context", problems);
    let key = table.key("account");
    let own = table.text("account", problems);
    let own = match (own, admission) {
        (Some(text), Some(door)) => account(&text, &door.issuer)
            .map_err(|message| problems.add(key, message))
            .ok(),
        (None, Some(_)) => {
            let why = "is required beside [admission], whose door knows the gate by it";
            problems.add(key, why);
            None
        }
        // Without the door, nobody asks who writes.
        (_, None) => None,
    };
    let rollback = Rollback {
        kubeconfig,
        context,
        account: own,
        prune: table.flag("prune", problems),
        patience: table
            .duration("patience", problems)
            .unwrap_or(DEFAULT_PATIENCE),
    };
    table.finish(problems);
    Some(rollback)
}
