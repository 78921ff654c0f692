//! What a proof may be: one form, and what becomes of every other.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::fault::{Fault, HeaderFault};
use super::super::{Proof, Rules, StsUrl};
use super::testing::{AUDIENCE, SIGNED, encode, proof, rules};
use crate::identity::reason::Reason;

const STS: &str = "https://sts.eu-central-1.amazonaws.com";

fn parse_at(text: &str, rules: &Rules, seconds: i64) -> Result<Proof, Fault> {
    let signed: Timestamp = SIGNED.parse().unwrap();
    let now = signed + SignedDuration::from_secs(seconds);
    Proof::parse(text, rules, now).map_err(|reason| match reason {
        Reason::Aws(fault) => fault,
        other => panic!("not of this room: {other:?}"),
    })
}

/// What becomes of the good proof when `spoil` was at it.
fn spoiled(spoil: impl FnOnce(&mut Value)) -> Result<Proof, Fault> {
    let mut value = proof(STS);
    spoil(&mut value);
    parse_at(&encode(&value), &rules(STS), 0)
}

/// The sentence of the refusal.
fn refused(spoil: impl FnOnce(&mut Value)) -> String {
    spoiled(spoil).unwrap_err().to_string()
}

fn headers(proof: &mut Value) -> &mut serde_json::Map<String, Value> {
    proof["headers"].as_object_mut().unwrap()
}

fn authorization(proof: &mut Value, from: &str, to: &str) {
    let text = proof["headers"]["Authorization"].as_str().unwrap();
    assert!(text.contains(from), "{from}");
    proof["headers"]["Authorization"] = json!(text.replacen(from, to, 1));
}

#[test]
fn the_one_form_is_taken_and_becomes_the_request() {
    let taken = spoiled(|_| ()).unwrap();
    assert_eq!(taken.challenge(), "c4_h-a.l~lenge");
    assert_eq!(taken.endpoint.as_str(), format!("{STS}/"));
    let mut names: Vec<&str> = taken.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "authorization",
            "content-type",
            "host",
            "x-amz-date",
            "x-amz-security-token",
            "x-syncgate-audience",
            "x-syncgate-challenge",
        ]
    );
    assert!(taken.headers["authorization"].is_sensitive());
    assert!(taken.headers["x-amz-security-token"].is_sensitive());
}

#[test]
fn what_signers_do_differently_is_taken() {
    for spoil in [
        |proof: &mut Value| {
            headers(proof).remove("X-Amz-Security-Token");
            authorization(proof, "x-amz-security-token;", "");
        },
        |proof: &mut Value| {
            proof["headers"]["Content-Type"] =
                json!("application/x-www-form-urlencoded; charset=utf-8");
        },
        |proof: &mut Value| {
            let hash = "ab821ae955788b0e33ebd34c208442ccfc2d406e2edc5e7a39bd6458fbb4f843";
            headers(proof).insert("X-Amz-Content-SHA256".into(), json!(hash));
            authorization(proof, ";x-amz-date", ";x-amz-content-sha256;x-amz-date");
        },
        |proof: &mut Value| {
            headers(proof).insert("Content-Length".into(), json!("43"));
        },
        |proof: &mut Value| {
            headers(proof).insert("content-length".into(), json!("43"));
            authorization(proof, "=content-type", "=content-length;content-type");
        },
    ] {
        let taken = spoiled(spoil).unwrap();
        assert!(!taken.headers.contains_key("content-length"));
    }
}

#[test]
fn nothing_but_base64url_of_one_json_object_is_a_proof() {
    let rules = rules(STS);
    let good = encode(&proof(STS));
    for text in [
        String::new(),
        "{}".into(),
        format!("{good}="),
        format!("{good}\n"),
        format!(" {good}"),
        good.replace(|c: char| c.is_ascii_digit(), "+"),
        encode(&json!([])),
        encode(&json!("x")),
    ] {
        let fault = parse_at(&text, &rules, 0).unwrap_err();
        assert!(matches!(fault, Fault::Encoding { .. }), "{text}: {fault}");
    }
    let long = "A".repeat(8 * 1024 + 1);
    let fault = parse_at(&long, &rules, 0).unwrap_err();
    assert_eq!(fault.code(), "aws-too-large");
}

#[test]
fn a_member_or_header_given_twice_is_refused_in_every_spelling() {
    use base64::Engine as _;
    let text = proof(STS).to_string();
    for (from, to, code) in [
        (
            "\"url\":",
            "\"url\":\"https://evil.example/\",\"url\":",
            "aws-repeated",
        ),
        ("\"url\":", "\"\\u0075rl\":\"x\",\"url\":", "aws-repeated"),
        (
            "\"Host\":",
            "\"Host\":\"evil.example\",\"Host\":",
            "aws-repeated",
        ),
        (
            "\"Host\":",
            "\"host\":\"evil.example\",\"Host\":",
            "aws-header",
        ),
    ] {
        assert!(text.contains(from));
        let twice = text.replacen(from, to, 1);
        let twice = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(twice);
        let fault = parse_at(&twice, &rules(STS), 0).unwrap_err();
        assert_eq!(fault.code(), code, "{to}");
    }
}

#[test]
fn the_members_are_three_texts_and_no_more() {
    for spoil in [
        |proof: &mut Value| proof["method"] = json!("GET"),
        |proof: &mut Value| proof["url"] = json!([format!("{STS}/")]),
        |proof: &mut Value| proof["body"] = json!(null),
        |proof: &mut Value| proof["headers"] = json!([]),
        |proof: &mut Value| proof["headers"]["Host"] = json!(["sts.amazonaws.com"]),
        |proof: &mut Value| {
            proof.as_object_mut().unwrap().remove("body");
        },
    ] {
        assert_eq!(spoiled(spoil).unwrap_err(), Fault::Members);
    }
}

/// R15: nobody steers where the gate asks (Vault's CVE-2020-16250 took the answer of another host).
#[test]
fn r15_the_url_is_one_of_the_configured_byte_by_byte() {
    for url in [
        "https://sts.eu-central-1.amazonaws.com",
        "https://sts.eu-central-1.amazonaws.com//",
        "https://sts.eu-central-1.amazonaws.com/?Action=AssumeRole",
        "https://sts.eu-central-1.amazonaws.com/#",
        "https://sts.eu-central-1.amazonaws.com:443/",
        "https://sts.eu-central-1.amazonaws.com.evil.example/",
        "https://sts.eu-central-1.amazonaws.com@evil.example/",
        "https://evil.example/",
        "https://STS.eu-central-1.amazonaws.com/",
        "http://sts.eu-central-1.amazonaws.com/",
        "https://sts.us-east-1.amazonaws.com/",
        "https://sts.eu-central-1.amazonaws.com/\n",
        "",
    ] {
        let fault = spoiled(|proof| proof["url"] = json!(url)).unwrap_err();
        assert_eq!(fault.code(), "aws-url", "{url}");
    }
    let several = Rules {
        endpoints: [STS, "https://sts.amazonaws.com"]
            .map(|url| StsUrl::parse(url).unwrap())
            .into(),
        audience: AUDIENCE.into(),
    };
    let other = encode(&proof("https://sts.amazonaws.com"));
    let taken = parse_at(&other, &several, 0).unwrap();
    assert_eq!(taken.endpoint.as_str(), "https://sts.amazonaws.com/");
    let none = Rules {
        endpoints: vec![],
        audience: AUDIENCE.into(),
    };
    assert_eq!(parse_at(&other, &none, 0).unwrap_err().code(), "aws-url");
}

#[test]
fn the_body_is_the_one_action() {
    for body in [
        "",
        "Action=AssumeRole&Version=2011-06-15",
        "Version=2011-06-15&Action=GetCallerIdentity",
        "Action=GetCallerIdentity&Version=2011-06-15&",
        "Action=GetCallerIdentity&Version=2011-06-15&Action=AssumeRole",
        "action=GetCallerIdentity&Version=2011-06-15",
        "Action=GetCallerIdentity&Version=2011-06-15\n",
        "Action=GetCallerIdentit%79&Version=2011-06-15",
    ] {
        let fault = spoiled(|proof| proof["body"] = json!(body)).unwrap_err();
        assert_eq!(fault, Fault::Body, "{body}");
    }
}

/// R15: nothing that changes what is asked, or in which form it is answered, goes along.
#[test]
fn r15_headers_are_a_closed_list() {
    for name in [
        "Accept",
        "Accept-Encoding",
        "Connection",
        "Content-Encoding",
        "Expect",
        "Transfer-Encoding",
        "User-Agent",
        "X-Amz-Target",
        "X-Amz-Expires",
        "X-Forwarded-Host",
        "X-HTTP-Method-Override",
        "x-syncgate-audience ",
        "x_syncgate_audience",
        "",
        "x\r\nevil",
    ] {
        let spoil = |proof: &mut Value| {
            headers(proof).insert(name.into(), json!("x"));
        };
        let sentence = refused(spoil);
        assert!(
            sentence.contains("is not one that a proof may have"),
            "{sentence}"
        );
    }
}

#[test]
fn each_header_has_its_one_value() {
    for (name, value) in [
        ("Host", "sts.amazonaws.com"),
        ("Host", "sts.eu-central-1.amazonaws.com:443"),
        ("Host", "sts.eu-central-1.amazonaws.com, evil.example"),
        ("Content-Type", "application/json"),
        (
            "Content-Type",
            "application/x-www-form-urlencoded; charset=utf-7",
        ),
        ("Content-Type", " application/x-www-form-urlencoded"),
        ("Content-Length", "0"),
        ("Content-Length", "+43"),
        ("X-Amz-Content-SHA256", "UNSIGNED-PAYLOAD"),
        ("X-Amz-Security-Token", ""),
        ("X-Amz-Security-Token", "a b"),
        ("X-Amz-Security-Token", "a\r\nAccept: application/json"),
        ("X-Amz-Security-Token", "\u{e9}"),
        ("x-syncgate-challenge", ""),
        ("x-syncgate-challenge", "a b"),
        ("x-syncgate-challenge", "a,b"),
        ("x-syncgate-challenge", "\u{430}"),
        ("X-Amz-Date", "2026-11-23T14:14:30Z"),
        ("X-Amz-Date", "20261123T141430"),
        ("X-Amz-Date", "20261123T141430Z "),
        ("X-Amz-Date", "+0261123T141430Z"),
        ("X-Amz-Date", "20261123T1414300Z"),
        ("X-Amz-Date", "20261123T141460Z"),
        ("X-Amz-Date", "20261323T141430Z"),
    ] {
        let fault = spoiled(|proof| {
            headers(proof).insert(name.into(), json!(value));
        });
        let fault = fault.unwrap_err();
        let is_value = matches!(
            &fault,
            Fault::Header {
                fault: HeaderFault::Value,
                ..
            }
        );
        assert!(is_value, "{name}: {value}: {fault}");
    }
    let long = "a".repeat(513);
    assert!(spoiled(|proof| proof["headers"]["x-syncgate-challenge"] = json!(long)).is_err());
}

#[test]
fn a_header_that_is_missing_or_not_signed_is_named() {
    for name in [
        "Authorization",
        "Content-Type",
        "Host",
        "X-Amz-Date",
        "x-syncgate-audience",
        "x-syncgate-challenge",
    ] {
        let lower = name.to_ascii_lowercase();
        let sentence = refused(|proof| {
            headers(proof).remove(name);
        });
        assert_eq!(
            sentence,
            format!("the proof's header `{lower}` is missing: sign the request with it")
        );
        if name == "Authorization" {
            continue;
        }
        let sentence = refused(|proof| {
            let text = proof["headers"]["Authorization"].as_str().unwrap();
            let less = text
                .replace(&format!(";{lower}"), "")
                .replace(&format!("{lower};"), "");
            proof["headers"]["Authorization"] = json!(less);
        });
        assert_eq!(
            sentence,
            format!("the proof's header `{lower}` is not among the signed headers: sign it")
        );
    }
    let sentence = refused(|proof| authorization(proof, "=content-type", "=accept;content-type"));
    assert_eq!(
        sentence,
        "the proof's header `accept` is signed but not sent: send what was signed"
    );
    let sentence = refused(|proof| {
        let hash = "ab821ae955788b0e33ebd34c208442ccfc2d406e2edc5e7a39bd6458fbb4f843";
        headers(proof).insert("x-amz-content-sha256".into(), json!(hash));
    });
    assert!(
        sentence.contains("is not among the signed headers"),
        "{sentence}"
    );
}

#[test]
fn the_authorization_has_one_form() {
    for (from, to) in [
        ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        ("AWS4-HMAC-SHA256", "aws4-hmac-sha256"),
        ("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256  "),
        (", SignedHeaders", ",SignedHeaders"),
        (", Signature", "; Signature"),
        ("Signature=", "signature="),
        ("Signature=0f", "Signature="),
        ("Signature=0f", "Signature=0F"),
        ("Signature=0f", "Signature=0f0f"),
        ("Signature=", "Signature=00, Signature="),
        ("ASIAIOSFODNN7EXAMPLE", ""),
        ("ASIAIOSFODNN7EXAMPLE", "asiaiosfodnn7example"),
        ("/eu-central-1/", "//"),
        ("/eu-central-1/", "/EU/"),
        ("/eu-central-1/", "/eu/central/"),
        ("/sts/", "/iam/"),
        ("/sts/", "/STS/"),
        ("aws4_request", "aws4_request/x"),
        ("content-type;host", "host;content-type"),
        ("content-type;host", "content-type;host;host"),
        ("content-type;host", "Content-Type;host"),
        ("content-type;host", "content-type;;host"),
        ("/20261123/", "/20261122/"),
        ("/20261123/", "/2026112/"),
        ("/20261123/", "//"),
    ] {
        let fault = spoiled(|proof| authorization(proof, from, to)).unwrap_err();
        let code = fault.code();
        // Names in another order or case are not those of headers.
        assert!(
            matches!(code, "aws-authorization" | "aws-header"),
            "{from} {to}: {fault}"
        );
    }
}

/// R15: what was signed for one gate is nothing at another, and nothing later.
#[test]
fn r15_a_proof_is_for_one_gate_and_for_five_minutes() {
    for audience in [
        "https://gate.example/",
        "https://gate.example:443",
        "https://Gate.example",
        "https://gate.example.evil.example",
        "http://gate.example",
        "gate.example",
        "",
    ] {
        let fault = spoiled(|proof| proof["headers"]["x-syncgate-audience"] = json!(audience));
        assert_eq!(fault.unwrap_err().code(), "aws-audience", "{audience}");
    }
    let (text, rules) = (encode(&proof(STS)), rules(STS));
    for (seconds, code) in [
        (-61, Some("aws-ahead")),
        (-60, None),
        (0, None),
        (300, None),
        (301, Some("aws-old")),
        (86_400, Some("aws-old")),
    ] {
        let fault = parse_at(&text, &rules, seconds).err();
        assert_eq!(fault.as_ref().map(Fault::code), code, "{seconds}");
    }
    let fault = parse_at(&text, &rules, 600).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "the proof was signed 14:14:30Z, 10 minutes ago: make a new one"
    );
}

#[test]
fn a_proof_shows_nothing_that_could_be_used() {
    let shown = format!("{:?}", spoiled(|_| ()).unwrap());
    assert_eq!(
        shown,
        "Proof { endpoint: \"https://sts.eu-central-1.amazonaws.com/\", .. }"
    );
}

/// JSON near the right form.
fn near() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        Just("Host".to_owned()),
        Just("X-Amz-Date".to_owned()),
        Just("x-syncgate-audience".to_owned()),
        Just("Authorization".to_owned()),
        "\\PC{0,12}",
    ];
    let value = prop_oneof![
        Just(json!(AUDIENCE)),
        Just(json!(null)),
        "\\PC{0,40}".prop_map(Value::from),
    ];
    (prop::collection::vec((name, value), 1..4), any::<bool>()).prop_map(|(changes, deep)| {
        let mut proof = proof(STS);
        for (name, value) in changes {
            let place = if deep {
                headers(&mut proof)
            } else {
                proof.as_object_mut().unwrap()
            };
            place.insert(name, value);
        }
        proof
    })
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_or_is_a_proof(text in "\\PC{0,300}", bytes in any::<Vec<u8>>()) {
        use base64::Engine as _;
        prop_assert!(parse_at(&text, &rules(STS), 0).is_err());
        let encoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        prop_assert!(parse_at(&encoded, &rules(STS), 0).is_err());
    }

    /// What is taken says what the good one says; what is refused is told in a line fit for gRPC.
    #[test]
    fn only_the_exact_form_passes(near in near()) {
        let good = proof(STS);
        match parse_at(&encode(&near), &rules(STS), 0) {
            Ok(taken) => {
                prop_assert_eq!(&near["url"], &good["url"]);
                prop_assert_eq!(&near["body"], &good["body"]);
                prop_assert_eq!(&taken.headers["host"], "sts.eu-central-1.amazonaws.com");
                prop_assert_eq!(&taken.headers["x-syncgate-audience"], AUDIENCE);
            }
            Err(fault) => {
                let line = fault.to_string();
                prop_assert!(line.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'%'), "{}", line);
            }
        }
    }
}
