//! What STS may answer: one form; and a server that answers as nobody should.

use std::time::Duration;

use futures_util::future::join_all;
use proptest::prelude::*;

use super::super::{AwsPrincipal, Fault, Proof, Sts, answer as read};
use super::testing::{AUDIENCE, FakeSts, SESSION, SIGNED, answer, encode, http, proof, rules};
use crate::identity::reason::Reason;

const XML: &str = "content-type: text/xml\r\n";

fn good() -> String {
    http("200 OK", XML, &answer(SESSION, "123456789012"))
}

async fn ask(sts: &FakeSts, way: &Sts) -> Result<AwsPrincipal, Fault> {
    let text = encode(&proof(&sts.url));
    let proof = Proof::parse(&text, way.rules(), SIGNED.parse().unwrap()).unwrap();
    way.identity(proof).await.map_err(|reason| match reason {
        Reason::Aws(fault) => fault,
        other => panic!("not of this room: {other:?}"),
    })
}

/// What comes of an STS that answers `whole`.
async fn answered(whole: &str) -> Result<AwsPrincipal, Fault> {
    let sts = FakeSts::answering(whole).await;
    ask(&sts, &Sts::new(rules(&sts.url), None).unwrap()).await
}

#[tokio::test]
async fn the_request_is_built_anew_and_the_session_is_its_role() {
    let sts = FakeSts::answering(&good()).await;
    let way = Sts::new(rules(&sts.url), None).unwrap();
    let principal = ask(&sts, &way).await.unwrap();
    assert_eq!(
        principal.arn.as_str(),
        "arn:aws:iam::123456789012:role/deployer"
    );
    assert_eq!(principal.account, "123456789012");
    assert_eq!(principal.name, "deployer");
    assert_eq!(principal.session.as_deref(), Some("run-42"));
    let asked = sts.asked();
    let [request] = asked.as_slice() else {
        panic!("asked {} times", asked.len());
    };
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, super::super::BODY);
    let mut lines: Vec<&str> = head.split("\r\n").collect();
    assert_eq!(lines.remove(0), "POST / HTTP/1.1");
    let mut names: Vec<&str> = lines
        .iter()
        .map(|line| line.split_once(':').unwrap().0)
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "authorization",
            "connection",
            "content-length",
            "content-type",
            "host",
            "user-agent",
            "x-amz-date",
            "x-amz-security-token",
            "x-syncgate-audience",
            "x-syncgate-challenge",
        ]
    );
    let host = format!("host: {}", sts.url.strip_prefix("http://").unwrap());
    assert!(lines.contains(&host.as_str()), "{head}");
    assert!(
        lines.contains(&format!("x-syncgate-audience: {AUDIENCE}").as_str()),
        "{head}"
    );
}

/// R15 and R20: the answer of another host is never taken.
#[tokio::test]
async fn r15_a_redirect_is_not_followed() {
    let other = FakeSts::answering(&good()).await;
    for status in [
        "301 Moved",
        "302 Found",
        "307 Temporary",
        "308 Permanent",
        "304 Not",
    ] {
        let headers = format!("location: {}/\r\n{XML}", other.url);
        let body = answer(SESSION, "123456789012");
        let fault = answered(&http(status, &headers, &body)).await.unwrap_err();
        assert!(fault.to_string().contains("it points elsewhere"), "{fault}");
        assert!(!fault.passes());
    }
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn only_xml_is_read_and_json_never() {
    let xml = answer(SESSION, "123456789012");
    let json = format!(
        r#"{{"GetCallerIdentityResponse":{{"GetCallerIdentityResult":{{"Account":"123456789012","Arn":"{SESSION}","UserId":"x"}}}}}}"#
    );
    for (headers, body) in [
        ("content-type: application/json\r\n", &json),
        (XML, &json),
        ("content-type: application/json\r\n", &xml),
        ("content-type: text/html\r\n", &xml),
        ("content-type: text/xml\r\ncontent-type: text/xml\r\n", &xml),
        ("content-type: text/xml, application/json\r\n", &xml),
        ("content-type: text/xml; charset=utf-16\r\n", &xml),
        ("", &xml),
    ] {
        let fault = answered(&http("200 OK", headers, body)).await.unwrap_err();
        assert_eq!(fault.code(), "aws-answer", "{headers}");
    }
    for headers in [
        "content-type: application/xml\r\n",
        "content-type: Text/XML; charset=UTF-8\r\n",
    ] {
        answered(&http("200 OK", headers, &xml)).await.unwrap();
    }
}

#[tokio::test]
async fn a_refusal_of_sts_is_told_by_its_code_alone() {
    let error = |code: &str, message: &str| {
        format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
        )
    };
    for (status, body, told) in [
        (
            "403 Forbidden",
            error("SignatureDoesNotMatch", "secret <b>words</b> %41"),
            "`SignatureDoesNotMatch`",
        ),
        ("403 Forbidden", error("ExpiredToken", ""), "`ExpiredToken`"),
        ("400 Bad", error("RequestExpired", ""), "`RequestExpired`"),
        ("403 Forbidden", error("a\r\nb", ""), "`403`"),
        ("403 Forbidden", "<Code>".into(), "`403`"),
        ("401 Unauthorized", String::new(), "`401`"),
    ] {
        let fault = answered(&http(status, XML, &body)).await.unwrap_err();
        assert_eq!(fault.code(), "aws-refused");
        let sentence = fault.to_string();
        assert!(sentence.contains(told), "{sentence}");
        assert!(!sentence.contains("secret"), "{sentence}");
    }
    // A good body does not make a bad status good.
    let body = answer(SESSION, "123456789012");
    let fault = answered(&http("403 Forbidden", XML, &body))
        .await
        .unwrap_err();
    assert_eq!(fault.code(), "aws-refused");
    for status in ["500 Internal", "503 Unavailable", "429 Too", "201 Created"] {
        let fault = answered(&http(status, XML, &body)).await.unwrap_err();
        assert!(fault.passes(), "{status}");
    }
    let throttled = error("Throttling", "Rate exceeded");
    assert!(
        answered(&http("400 Bad", XML, &throttled))
            .await
            .unwrap_err()
            .passes()
    );
}

#[tokio::test]
async fn an_answer_is_bounded_in_size_and_in_time() {
    let long = format!(
        "{}{}",
        " ".repeat(16 * 1024),
        answer(SESSION, "123456789012")
    );
    let fault = answered(&http("200 OK", XML, &long)).await.unwrap_err();
    assert_eq!(fault.code(), "aws-unavailable");
    let endless = format!("HTTP/1.1 200 OK\r\n{XML}\r\n{}", "x".repeat(64 * 1024));
    let fault = answered(&endless).await.unwrap_err();
    assert_eq!(fault.code(), "aws-unavailable");
    for broken in [
        "",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        "SSH-2.0\r\n",
    ] {
        let fault = answered(broken).await.unwrap_err();
        assert_eq!(fault.code(), "aws-unavailable", "{broken}");
    }
    // Each byte comes in time, the whole does not.
    let drops = good().chars().map(String::from).collect();
    let sts = FakeSts::start(drops, Duration::from_millis(50)).await;
    let way = Sts::new(rules(&sts.url), None).unwrap();
    let way = way.within(Duration::from_millis(300));
    let fault = ask(&sts, &way).await.unwrap_err();
    assert_eq!(
        fault.detail().as_deref(),
        Some("no whole answer within 0.3 s")
    );
    assert!(fault.passes());
}

#[tokio::test]
async fn nobody_there_passes() {
    let sts = FakeSts::answering("").await;
    let url = sts.url.clone();
    drop(sts);
    let way = Sts::new(rules(&url), None).unwrap();
    let text = encode(&proof(&url));
    // The listener closes a little after it was told to.
    let fault = loop {
        let proof = Proof::parse(&text, way.rules(), SIGNED.parse().unwrap()).unwrap();
        let reason = way.identity(proof).await.unwrap_err();
        if reason
            .detail()
            .is_some_and(|detail| detail.contains("refused"))
        {
            break reason;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(fault.passes());
    assert_eq!(fault.code(), "aws-unavailable");
}

#[tokio::test]
async fn no_more_than_32_questions_are_under_way() {
    let slow = vec![String::new(), good()];
    // Longer than anybody waits for a turn.
    let sts = FakeSts::start(slow, Duration::from_millis(2_800)).await;
    let way = Sts::new(rules(&sts.url), None).unwrap();
    let answers = join_all((0..40).map(|_| ask(&sts, &way))).await;
    let busy = answers.iter().filter(|a| **a == Err(Fault::Busy)).count();
    assert_eq!((busy, sts.asked().len()), (8, 32));
    assert_eq!(answers.iter().filter(|a| a.is_ok()).count(), 32);
    // And later again.
    ask(&sts, &way).await.unwrap();
}

#[tokio::test]
async fn a_proof_that_other_rules_took_goes_nowhere() {
    let (sts, other) = (
        FakeSts::answering(&good()).await,
        FakeSts::answering(&good()).await,
    );
    let text = encode(&proof(&other.url));
    let proof = Proof::parse(&text, &rules(&other.url), SIGNED.parse().unwrap()).unwrap();
    let way = Sts::new(rules(&sts.url), None).unwrap();
    let reason = way.identity(proof).await.unwrap_err();
    assert_eq!(reason.code(), "aws-url");
    assert!(sts.asked().is_empty() && other.asked().is_empty());
}

fn spoiled(from: &str, to: &str) -> Result<AwsPrincipal, Fault> {
    let good = answer(SESSION, "123456789012");
    assert!(good.contains(from), "{from}");
    read::read(good.replacen(from, to, 1).as_bytes())
}

/// In the good answer, the second text is put in place of the first.
const OTHER_FORMS: &[(&str, &str)] = &[
    ("<Arn>", "<Arn>arn:aws:iam::123456789012:user/x</Arn><Arn>"),
    ("<Account>", "<Account>123456789012</Account><Account>"),
    ("<UserId>AROA123EXAMPLE123EXAMPLE:run-42</UserId>", ""),
    (
        "<UserId>AROA123EXAMPLE123EXAMPLE:run-42</UserId>",
        "<UserId></UserId>",
    ),
    (
        "<UserId>AROA123EXAMPLE123EXAMPLE:run-42</UserId>",
        "<UserId/>",
    ),
    ("<Account>123456789012</Account>", ""),
    (
        "<Account>123456789012</Account>",
        "<Account>123456789013</Account>",
    ),
    (
        "<Account>123456789012</Account>",
        "<Account> 123456789012</Account>",
    ),
    (
        "<GetCallerIdentityResult>",
        "<GetCallerIdentityResult></GetCallerIdentityResult><GetCallerIdentityResult>",
    ),
    ("<GetCallerIdentityResult>", "<GetCallerIdentityResult><x/>"),
    (
        "<GetCallerIdentityResult>",
        "<GetCallerIdentityResult a=\"b\">",
    ),
    ("<GetCallerIdentityResponse", "<getcalleridentityresponse"),
    ("<GetCallerIdentityResponse", "<x:GetCallerIdentityResponse"),
    (" xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"", ""),
    (
        "https://sts.amazonaws.com/doc",
        "https://sts.evil.example/doc",
    ),
    (
        "<GetCallerIdentityResponse ",
        "<!DOCTYPE x [<!ENTITY a \"b\">]><GetCallerIdentityResponse ",
    ),
    (
        "<GetCallerIdentityResponse ",
        "<?xml version=\"1.0\"?><?xml version=\"1.0\"?><GetCallerIdentityResponse ",
    ),
    (
        "<GetCallerIdentityResponse ",
        "<?php x?><GetCallerIdentityResponse ",
    ),
    (
        "<GetCallerIdentityResponse ",
        "x<GetCallerIdentityResponse ",
    ),
    (
        "</GetCallerIdentityResponse>",
        "</GetCallerIdentityResponse><GetCallerIdentityResponse/>",
    ),
    (
        "</GetCallerIdentityResponse>",
        "</GetCallerIdentityResponse>x",
    ),
    ("</GetCallerIdentityResponse>", ""),
    ("</Arn>", "</arn>"),
    ("/run-42<", "/<!-- x -->run-42<"),
    ("/run-42<", "/<![CDATA[run-42]]><"),
    ("/run-42<", "/run&#45;42<"),
    ("/run-42<", "/run&amp;42<"),
    ("/run-42<", "/run&x;42<"),
    ("<Arn>", "<Arn><b>"),
    ("<ResponseMetadata>", "<ResponseMetadata><Arn>x</Arn>"),
    ("<ResponseMetadata>", "text<ResponseMetadata>"),
];

#[test]
fn an_answer_of_another_form_is_none() {
    for (from, to) in OTHER_FORMS {
        let fault = spoiled(from, to).unwrap_err();
        assert_eq!(fault.code(), "aws-answer", "{from} {to}: {fault}");
    }
    assert_eq!(read::read(b"\xff\xfe<").unwrap_err().code(), "aws-answer");
    assert_eq!(read::read(b"").unwrap_err().code(), "aws-answer");
}

#[test]
fn a_declaration_and_another_order_are_ordinary() {
    let declared = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}",
        answer(SESSION, "123456789012")
    );
    read::read(declared.as_bytes()).unwrap();
    let of_moto = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
        <GetCallerIdentityResult><UserId>2r9ox2z1c9xex28cdjmq</UserId><Account>123456789012</Account>\
        <Arn>arn:aws:iam::123456789012:user/ci</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>";
    let user = read::read(of_moto.as_bytes()).unwrap();
    assert_eq!(user.arn.as_str(), "arn:aws:iam::123456789012:user/ci");
    assert_eq!(user.session, None);
}

#[test]
fn who_is_neither_a_session_nor_a_user_cannot_call() {
    for (arn, account) in [
        ("arn:aws:iam::123456789012:root", "123456789012"),
        (
            "arn:aws:sts::123456789012:federated-user/ada",
            "123456789012",
        ),
        ("arn:aws:iam::123456789012:role/deployer", "123456789012"),
    ] {
        let fault = read::read(answer(arn, account).as_bytes()).unwrap_err();
        assert_eq!(fault.code(), "aws-not-principal", "{arn}");
        assert!(fault.to_string().contains(arn));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_are_an_answer(bytes in any::<Vec<u8>>(), text in "[<>/&;!?a-zA-Z \"=\\[\\]-]{0,200}") {
        prop_assert!(read::read(&bytes).is_err());
        prop_assert!(read::read(text.as_bytes()).is_err());
    }

    /// Whatever is put into the good answer: it is refused, or says the same, but for white space.
    #[test]
    fn what_is_put_in_changes_nothing_unseen(
        at in 0_usize..600,
        put in prop_oneof!["[ \\n\\t]{1,3}", "<[A-Za-z]{1,4}>", "<!--[a-z]{0,3}-->", "&[a-z#0-9]{1,4};", "[a-z/<>&]{1,3}"],
    ) {
        let mut text = answer(SESSION, "123456789012");
        let at = at % text.len();
        text.insert_str(at, &put);
        if let Ok(principal) = read::read(text.as_bytes()) {
            prop_assert_eq!(principal.account, "123456789012");
            let others = principal.name != "deployer" || principal.session.as_deref() != Some("run-42");
            // Only letters inside the name itself, which STS alone writes, make another name.
            prop_assert!(!others || put.bytes().all(|b| b.is_ascii_lowercase()), "{}", text);
        }
    }
}
