//! Who may sign attestations of test runs: `[[signer]]`.

use std::path::Path;

use super::reader::{Problems, Table};
use super::secret::Secret;
use crate::evidence::dsse::{PublicKey, Signer};
use crate::names::SignerName;

/// Signers, at most. Each signature is tried with the key of each.
const MAX_SIGNERS: usize = 32;

/// Reads `[[signer]]`.
pub(super) fn read(root: &mut Table, base: &Path, problems: &mut Problems) -> Vec<Signer> {
    let mut out: Vec<Signer> = Vec::new();
    for mut table in root.tables("signer", problems) {
        let (name_key, key_key) = (table.key("name"), table.key("public_key"));
        let name = table.required_parsed("name", problems, |text| SignerName::parse(text));
        let key = table.required_parsed("public_key", problems, |text| public_key(text, base));
        let keyid = table.text("keyid", problems);
        table.finish(problems);
        let (Some(name), Some(key)) = (name, key) else {
            continue;
        };
        if out.iter().any(|other| other.name == name) {
            problems.add(&name_key, format!("`{name}` is declared twice"));
        }
        // Else one signature would be that of two.
        if let Some(other) = out.iter().find(|other| other.key == key) {
            problems.add(key_key, format!("is the key of `{}`, too", other.name));
        }
        if out.len() == MAX_SIGNERS {
            problems.add(name_key, format!("is one too many; at most {MAX_SIGNERS}"));
            break;
        }
        out.push(Signer { name, keyid, key });
    }
    out
}

/// PEM, or `file:PATH` with PEM in it. It is no secret, and lies where they do.
fn public_key(text: &str, base: &Path) -> Result<PublicKey, String> {
    let pem = Secret::parse(text, base)?.read()?;
    PublicKey::from_pem(&pem).map_err(|error| error.to_string())
}
