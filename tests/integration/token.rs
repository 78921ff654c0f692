//! `syncgate token`: what it asks of a gate, what it prints, and whom it gives no proof.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use syncgate::clock::Clock;
use syncgate::identity::aws::{Proof, Rules, StsUrl};

use crate::world::{Ran, run_with};

const STS: &str = "https://sts.eu-central-1.amazonaws.com/";

/// The token endpoint of a gate: it takes proofs as the gate does, and asks no STS.
struct TokenEndpoint {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl TokenEndpoint {
    /// One that answers what `change` makes of a good challenge.
    fn start(change: impl Fn(&mut Value) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (audience, seen) = (url.clone(), Arc::clone(&asked));
        // Ends with the process; a test has one.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while let Some((path, body)) = request(&mut reader) {
                    seen.lock().unwrap().push(path.clone());
                    let (status, answer) = match path.as_str() {
                        "/syncgate/v1/token/challenge" => {
                            let mut challenge = json!({
                                "challenge": "one-of-its-kind",
                                "expires_in": 120,
                                "audience": audience,
                                "aws_sts": [STS],
                            });
                            change(&mut challenge);
                            ("200 OK", challenge)
                        }
                        _ => exchanged(&body, &audience),
                    };
                    let answer = answer.to_string();
                    let length = answer.len();
                    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n");
                    stream.write_all((head + &answer).as_bytes()).unwrap();
                }
            }
        });
        Self { url, asked }
    }

    async fn token(&self, more: &[&str]) -> Ran {
        let options = ["token", "aws", "--gate", self.url.as_str()];
        let variables = [
            ("AWS_ACCESS_KEY_ID", "ASIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "canary-secret"),
            ("AWS_SESSION_TOKEN", "FwoGZXIvYXdzEJr"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ];
        let ran = run_with(options.iter().chain(more), &variables).await;
        assert!(!format!("{ran:?}").contains("canary-secret"), "{ran:?}");
        ran
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Path and body of the next request; `None` at the end.
fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.strip_prefix("POST ")?.split(' ').next()?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim_end().split_once(": ") {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap();
            }
            Some((name, _)) => assert!(!name.eq_ignore_ascii_case("authorization")),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, String::from_utf8(body).unwrap()))
}

/// The token for a proof that is one.
fn exchanged(form: &str, audience: &str) -> (&'static str, Value) {
    let form: Vec<(String, String)> = url::form_urlencoded::parse(form.as_bytes())
        .into_owned()
        .collect();
    let [(grant, exchange), (subject, proof), (kind, of_aws)] = form.as_slice() else {
        panic!("{form:?}");
    };
    assert_eq!(
        (grant.as_str(), subject.as_str(), kind.as_str()),
        ("grant_type", "subject_token", "subject_token_type")
    );
    assert_eq!(exchange, "urn:ietf:params:oauth:grant-type:token-exchange");
    assert_eq!(of_aws, "urn:syncgate:params:oauth:token-type:aws-sts-proof");
    let rules = Rules {
        endpoints: vec![StsUrl::parse(STS).unwrap()],
        audience: audience.into(),
    };
    match Proof::parse(proof, &rules, Clock::system().now()) {
        Ok(proof) if proof.challenge() == "one-of-its-kind" => (
            "200 OK",
            json!({
                "access_token": "header.claims.signature",
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "token_type": "Bearer",
                "expires_in": 900,
            }),
        ),
        Ok(_) => (
            "400 Bad Request",
            json!({"error": "invalid_grant", "error_description": "the challenge is not ours"}),
        ),
        Err(reason) => (
            "400 Bad Request",
            json!({"error": "invalid_grant", "error_description": reason.to_string()}),
        ),
    }
}

#[tokio::test]
async fn the_token_stands_alone_on_standard_output() {
    let gate = TokenEndpoint::start(|_| ());
    let ran = gate.token(&[]).await;
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (0, "header.claims.signature\n", "")
    );
    assert_eq!(
        gate.asked(),
        ["/syncgate/v1/token/challenge", "/syncgate/v1/token"]
    );
    let json = gate.token(&["--output", "json"]).await.json();
    assert_eq!(json["access_token"], "header.claims.signature");
    assert_eq!(json["expires_in"], 900);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_gates_words() {
    let gate = TokenEndpoint::start(|challenge| challenge["challenge"] = json!("another"));
    let ran = gate.token(&[]).await;
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (
            1,
            "",
            "syncgate: the gate refused: the challenge is not ours\n"
        )
    );
}

/// Whoever is asked for a token could be after one of another gate.
#[tokio::test]
async fn a_gate_that_asks_for_a_proof_for_another_gets_none() {
    let gate =
        TokenEndpoint::start(|challenge| challenge["audience"] = json!("https://prod.example"));
    let ran = gate.token(&[]).await;
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(
        ran.err
            .contains("the gate calls itself https://prod.example"),
        "{}",
        ran.err
    );
    assert_eq!(gate.asked(), ["/syncgate/v1/token/challenge"]);
}

#[tokio::test]
async fn what_cannot_be_done_is_told_before_anything_is_signed() {
    let gate = TokenEndpoint::start(|challenge| challenge["aws_sts"] = json!([]));
    let ran = gate.token(&[]).await;
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("takes no identities of AWS"),
        "{}",
        ran.err
    );
    let gate = TokenEndpoint::start(|_| ());
    let ran = gate.token(&["--sts", "https://sts.evil.example"]).await;
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains(STS), "{}", ran.err);
    let ran = gate.token(&["--sts", "sts.amazonaws.com"]).await;
    assert_eq!(ran.code, 2);
    // Not as somebody else, though the environment has credentials.
    let ran = gate.token(&["--profile", "no-such-profile"]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("no credentials of AWS"), "{}", ran.err);
    assert_eq!(gate.asked(), ["/syncgate/v1/token/challenge"]);
}

#[tokio::test]
async fn a_gate_that_is_away_is_told_by_its_own_exit_code() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let gate = TokenEndpoint {
        url: format!("http://{closed}"),
        asked: Arc::default(),
    };
    let ran = gate.token(&[]).await;
    assert_eq!((ran.code, ran.out.as_str()), (69, ""));
}
