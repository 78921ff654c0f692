//! Who may sign.

use super::*;
use crate::evidence::dsse::tests::{Hand, fixture};

fn read(sections: &str) -> Result<Vec<Signer>, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ci.pem"), Hand::new(1).pem()).unwrap();
    let config = Config::parse(&format!("{GOOD}\n{sections}"), folder.path());
    config.map(|config| config.signers).map_err(|problems| {
        let line = |p: Problem| format!("{}: {}", p.key, p.message);
        problems.into_iter().map(line).collect()
    })
}

fn signer(name: &str, key: &str, more: &str) -> String {
    format!("[[signer]]\nname = \"{name}\"\npublic_key = \"\"\"{key}\"\"\"\n{more}\n")
}

#[test]
fn keys_are_taken_inline_and_from_files() {
    let inline = signer("qa", &fixture("ecdsa.pem"), "keyid = \"abc\"");
    let both = read(&(signer("ci", "file:ci.pem", "") + &inline)).unwrap();
    let names: Vec<&str> = both.iter().map(|signer| signer.name.as_str()).collect();
    assert_eq!(names, ["ci", "qa"]);
    assert_eq!(both[0].key, Hand::new(1).signer("ci").key);
    assert_eq!(both[1].keyid.as_deref(), Some("abc"));
}

#[test]
fn mistakes_are_named_with_what_to_do() {
    let ci = signer("ci", "file:ci.pem", "");
    let again = signer("ci", &fixture("ecdsa.pem"), "");
    let same_key = signer("qa", &Hand::new(1).pem(), "");
    let private = "-----BEGIN PRIVATE KEY-----";
    for (sections, told) in [
        ("[[signer]]".to_owned(), "signer[0].name: is required"),
        ("[[signer]]".to_owned(), "signer[0].public_key: is required"),
        (
            signer("c i", "file:ci.pem", ""),
            "signer[0].name: \"c i\" is not a signer's name",
        ),
        (
            signer("ci", "file:gone", ""),
            "signer[0].public_key: cannot read ",
        ),
        (
            signer("ci", private, ""),
            "signer[0].public_key: is a private key; give the public one",
        ),
        (
            signer("ci", "x", ""),
            "signer[0].public_key: is no public key in PEM",
        ),
        (
            ci.clone() + &again,
            "signer[1].name: `ci` is declared twice",
        ),
        (
            ci.clone() + &same_key,
            "signer[1].public_key: is the key of `ci`, too",
        ),
        (
            signer("ci", "file:ci.pem", "keyId = \"\""),
            "signer[0].keyId: is not a key; keys here: keyid, name, public_key",
        ),
    ] {
        let problems = read(&sections).unwrap_err();
        assert!(
            problems.iter().any(|it| it.starts_with(told)),
            "{sections}: {problems:?}"
        );
    }
}

#[test]
fn a_requirement_names_signers_of_the_file() {
    let required = |signed_by: &str| {
        let text = GOOD.replace("max_age = \"7d\"", &format!("signed_by = {signed_by}"));
        let text = format!("{text}\n{}", signer("ci", &Hand::new(1).pem(), ""));
        Config::parse(&text, Path::new(".")).map_err(|problems| {
            let line = |p: Problem| format!("{}: {}", p.key, p.message);
            problems.into_iter().map(line).collect::<Vec<_>>()
        })
    };
    let config = required("[\"ci\"]").unwrap();
    let [requirement] = &config.environments[1].requires[..] else {
        panic!("one requirement");
    };
    assert_eq!(requirement.signed_by, [config.signers[0].name.clone()]);
    let key = "environment[1].requires[0].signed_by: ";
    for (signed_by, told) in [
        ("[\"qa\"]", "`qa` is not a [[signer]] of this file"),
        ("[\"ci\", \"qa\"]", "`qa` is not a [[signer]] of this file"),
        (
            "[]",
            "names no signer; leave it out to ask for no signature",
        ),
        ("\"ci\"", "must be a list, is text"),
    ] {
        let problems = required(signed_by).unwrap_err();
        assert_eq!(problems[0], format!("{key}{told}"));
    }
}
