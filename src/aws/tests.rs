//! Proofs that are made are proofs that are taken; and what a gate must not be able to have signed.

mod moto;

use aws_credential_types::Credentials;

use super::*;
use crate::identity::aws::{Proof, Rules};

const GATE: &str = "https://gate.example";
const NOW: &str = "2026-11-23T14:14:30Z";

fn workload(token: Option<&str>, region: Option<&'static str>) -> Workload {
    Workload {
        credentials: Credentials::new(
            "ASIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            token.map(str::to_owned),
            None,
            "test",
        ),
        region: region.map(Region::from_static),
    }
}

fn challenge(audience: &str) -> Challenge {
    Challenge {
        challenge: "c4_h-a.l~lenge".into(),
        expires_in: 120,
        audience: audience.into(),
        aws_sts: vec![],
    }
}

fn sts(text: &str) -> StsUrl {
    StsUrl::parse(text).unwrap()
}

/// The JSON of a proof, and the `Authorization` in it.
fn parts(proof: &str) -> (serde_json::Value, String) {
    let json: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(proof).unwrap()).unwrap();
    let authorization = json["headers"]["authorization"]
        .as_str()
        .unwrap()
        .to_owned();
    (json, authorization)
}

#[test]
fn what_is_made_is_taken_by_the_gate_and_by_no_other() {
    let now: Timestamp = NOW.parse().unwrap();
    for (endpoint, token) in [
        ("https://sts.amazonaws.com", None),
        (
            "https://sts.eu-central-1.amazonaws.com",
            Some("FwoGZXIvYXdzEJr//w=="),
        ),
        ("http://127.0.0.1:5000", Some("FwoGZXIvYXdzEJr//w==")),
    ] {
        let endpoint = sts(endpoint);
        let proof = workload(token, None);
        let proof = proof.prove(&challenge(GATE), &endpoint, now).unwrap();
        let rules = |audience: &str| Rules {
            endpoints: vec![endpoint.clone()],
            audience: audience.into(),
        };
        let taken = Proof::parse(&proof, &rules(GATE), now).unwrap();
        assert_eq!(taken.challenge(), "c4_h-a.l~lenge");
        let other = Proof::parse(&proof, &rules("https://other.example"), now).unwrap_err();
        assert_eq!(other.code(), "aws-audience");
        let (json, _) = parts(&proof);
        assert_eq!(
            json["headers"].get("x-amz-security-token").is_some(),
            token.is_some()
        );
        assert!(!json.to_string().contains("wJalrXUtnFEMI"));
    }
}

/// By the algorithm as AWS documents it, with nothing of the library that signs.
#[test]
fn the_signature_covers_every_header_and_the_body() {
    use aws_lc_rs::hmac;
    let now: Timestamp = NOW.parse().unwrap();
    let endpoint = sts("https://sts.eu-central-1.amazonaws.com");
    let proof = workload(Some("token"), None).prove(&challenge(GATE), &endpoint, now);
    let (json, authorization) = parts(&proof.unwrap());
    let headers = json["headers"].as_object().unwrap();
    let names: Vec<&str> = headers
        .keys()
        .map(String::as_str)
        .filter(|name| *name != "authorization")
        .collect();
    let line = |name: &&str| format!("{name}:{}\n", headers[*name].as_str().unwrap());
    let lines = names.iter().map(line).collect::<Vec<_>>().concat();
    let names = names.join(";");
    let hash = crate::digest::sha256_hex;
    let canonical = format!("POST\n/\n\n{lines}\n{names}\n{}", hash(BODY.as_bytes()));
    let scope = "20261123/eu-central-1/sts/aws4_request";
    let text = format!(
        "AWS4-HMAC-SHA256\n20261123T141430Z\n{scope}\n{}",
        hash(canonical.as_bytes())
    );
    let sign = |key: &[u8], text: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
    };
    let secret = b"AWS4wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_vec();
    let key = scope.split('/').fold(secret, |key, part| sign(&key, part));
    let signature = crate::digest::hex(&sign(&key, &text));
    assert_eq!(
        authorization,
        format!(
            "AWS4-HMAC-SHA256 Credential=ASIAIOSFODNN7EXAMPLE/{scope}, SignedHeaders={names}, \
             Signature={signature}"
        )
    );
    assert_eq!(
        names,
        "content-type;host;x-amz-date;x-amz-security-token;x-syncgate-audience;x-syncgate-challenge"
    );
}

/// A gate that asks for a proof for another one could sign in there with it.
#[test]
fn a_proof_is_made_only_for_the_gate_that_was_asked() {
    let gate = Url::parse(GATE).unwrap();
    check_audience(&challenge(GATE), &gate, None).unwrap();
    check_audience(&challenge("https://gate.example/"), &gate, None).unwrap();
    for other in [
        "https://other.example",
        "https://gate.example:8443",
        "http://gate.example",
        "https://gate.example.evil.example",
        "https://gate.example/x",
        "gate.example",
        "",
    ] {
        assert!(
            check_audience(&challenge(other), &gate, None).is_err(),
            "{other}"
        );
    }
    let inner = Url::parse("https://syncgate.argocd.svc").unwrap();
    let error = check_audience(&challenge(GATE), &inner, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the gate calls itself https://gate.example, and was asked as \
         https://syncgate.argocd.svc/: name it so with --gate; or, if you know that both are one \
         gate, say --audience https://gate.example"
    );
    check_audience(&challenge(GATE), &inner, Some(&gate)).unwrap();
    check_audience(&challenge(inner.as_str()), &inner, Some(&gate)).unwrap_err();
}

#[test]
fn the_endpoint_is_one_that_the_gate_asks_and_near_if_there_is_one() {
    let asks = [
        "https://sts.us-east-1.amazonaws.com".to_owned(),
        "https://sts.eu-central-1.amazonaws.com/".to_owned(),
    ];
    let near = |region| workload(None, region).endpoint(&asks, None).unwrap();
    assert_eq!(near(Some("eu-central-1")), sts(&asks[1]));
    assert_eq!(near(Some("eu-west-1")), sts(&asks[0]));
    assert_eq!(near(None), sts(&asks[0]));
    let anywhere = workload(None, None);
    let chosen = anywhere.endpoint(&asks, Some(sts(&asks[1]))).unwrap();
    assert_eq!(chosen, sts(&asks[1]));
    let other = anywhere
        .endpoint(&asks, Some(StsUrl::default()))
        .unwrap_err();
    assert_eq!(
        other.to_string(),
        "this gate does not ask https://sts.amazonaws.com/: choose one of \
         https://sts.us-east-1.amazonaws.com/, https://sts.eu-central-1.amazonaws.com/"
    );
    let none = anywhere.endpoint(&[], Some(StsUrl::default())).unwrap_err();
    assert!(matches!(none, Error::NotTaken));
    let bad = ["http://sts.evil.example".to_owned()];
    assert!(matches!(
        anywhere.endpoint(&bad, None),
        Err(Error::Endpoint(_))
    ));
}

#[test]
fn the_region_is_that_of_the_endpoint() {
    for (endpoint, region) in [
        ("https://sts.amazonaws.com", Some("us-east-1")),
        (
            "https://sts.eu-central-1.amazonaws.com",
            Some("eu-central-1"),
        ),
        (
            "https://sts-fips.us-east-2.amazonaws.com",
            Some("us-east-2"),
        ),
        (
            "https://sts.cn-north-1.amazonaws.com.cn",
            Some("cn-north-1"),
        ),
        ("https://sts.us-west-2.api.aws", Some("us-west-2")),
        (
            "https://vpce-0a1b-2c3d.sts.eu-west-1.vpce.amazonaws.com",
            Some("eu-west-1"),
        ),
        ("http://127.0.0.1:5000", None),
        ("https://proxy.example", None),
    ] {
        let found = region_of(&sts(endpoint));
        assert_eq!(found.as_ref().map(Region::as_ref), region, "{endpoint}");
    }
    let now: Timestamp = NOW.parse().unwrap();
    let scope = |region, endpoint: &str| {
        let proof = workload(None, region).prove(&challenge(GATE), &sts(endpoint), now);
        let (_, authorization) = parts(&proof.unwrap());
        authorization.split('/').nth(2).unwrap().to_owned()
    };
    assert_eq!(
        scope(Some("eu-west-1"), "https://sts.eu-central-1.amazonaws.com"),
        "eu-central-1"
    );
    assert_eq!(
        scope(Some("eu-west-1"), "http://127.0.0.1:5000"),
        "eu-west-1"
    );
    assert_eq!(scope(None, "http://127.0.0.1:5000"), "us-east-1");
}
