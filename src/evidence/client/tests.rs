//! Which addresses a token is sent to.

use super::*;

fn refused(url: &str) -> String {
    check_url(&Url::parse(url).unwrap())
        .unwrap_err()
        .to_string()
}

#[test]
fn a_token_goes_in_clear_text_to_this_machine_only() {
    for url in [
        "https://gate.example",
        "http://127.0.0.1:8080",
        "http://[::1]:80/under/a/path",
        "http://localhost",
    ] {
        assert!(check_url(&Url::parse(url).unwrap()).is_ok(), "{url}");
    }
    assert!(refused("http://gate.example").contains("clear text"));
    assert!(refused("http://localhost.example").contains("clear text"));
    assert!(refused("ftp://gate.example").contains("neither"));
    assert!(refused("https://gate.example/?a=b").contains("query"));
    let secret = refused("https://me:secret@gate.example");
    assert!(
        secret.contains("user") && !secret.contains("secret"),
        "{secret}"
    );
}

#[test]
fn a_refusal_is_read_from_problem_details_and_cannot_steer_a_terminal() {
    let body = br#"{"status":409,"code":"gap","detail":"batch 3 comes too early\u001b[2J"}"#;
    let reply = |status, comes_later, body: &'static [u8]| Reply {
        status,
        comes_later,
        body: Bytes::from_static(body),
    };
    let error =
        read_answer::<Acknowledged>("u", &reply(StatusCode::CONFLICT, false, body)).unwrap_err();
    assert!(!error.may_pass());
    let Error::Refused { code, detail, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(code.as_deref(), Some("gap"));
    assert_eq!(detail, "batch 3 comes too early[2J");
    let later = reply(StatusCode::CONFLICT, true, body);
    let later = read_answer::<Acknowledged>("u", &later).unwrap_err();
    assert!(later.may_pass());
    let away = reply(StatusCode::BAD_GATEWAY, false, b"<html>");
    let error = read_answer::<Acknowledged>("u", &away).unwrap_err();
    assert!(error.may_pass());
    assert_eq!(
        error.to_string(),
        "the gate refused: status 502 Bad Gateway without a reason"
    );
}
