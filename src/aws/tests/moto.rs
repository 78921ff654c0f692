//! Against an STS that nobody here wrote, which recomputes signatures: moto's server, with its
//! authentication on. `tests/run real` runs it; by hand, with the program `moto_server` of `pip install
//! 'moto[server]'`:
//!
//! ```text
//! SYNCGATE_MOTO_SERVER=$(which moto_server) cargo test --lib aws::tests::moto -- --ignored
//! ```

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::clock::Clock;
use crate::identity::aws::{AwsPrincipal, Sts};
use crate::identity::reason::Reason;

/// What is done before moto begins to check: a user with a key and a policy, and a role.
const UNCHECKED: &str = "4";
const ANYTHING: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"arn:aws:iam::123456789012:user/ci"}}]}"#;

/// A moto of one's own.
struct Moto {
    url: String,
    process: Child,
    key: Credentials,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Moto {
    async fn start() -> Self {
        let program = std::env::var_os("SYNCGATE_MOTO_SERVER").expect("SYNCGATE_MOTO_SERVER");
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .env("INITIAL_NO_AUTH_ACTION_COUNT", UNCHECKED)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut moto = Self {
            url: format!("http://{address}"),
            process,
            key: workload(None, None).credentials,
        };
        while TcpStream::connect(address).await.is_err() {
            assert_eq!(moto.process.try_wait().unwrap(), None, "moto has ended");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        moto.iam(&[("Action", "CreateUser"), ("UserName", "ci")])
            .await;
        let key = moto
            .iam(&[("Action", "CreateAccessKey"), ("UserName", "ci")])
            .await;
        moto.iam(&[
            ("Action", "PutUserPolicy"),
            ("UserName", "ci"),
            ("PolicyName", "anything"),
            ("PolicyDocument", ANYTHING),
        ])
        .await;
        moto.iam(&[
            ("Action", "CreateRole"),
            ("RoleName", "deployer"),
            ("Path", "/teams/"),
            ("AssumeRolePolicyDocument", TRUST),
        ])
        .await;
        let of = |name: &str| {
            let (_, rest) = key.split_once(&format!("<{name}>")).unwrap();
            rest.split_once('<').unwrap().0.to_owned()
        };
        moto.key = credentials(&of("AccessKeyId"), &of("SecretAccessKey"));
        moto
    }

    /// Asks its IAM, whose answer must be good. The header only tells moto which service is meant.
    async fn iam(&self, form: &[(&str, &str)]) -> String {
        let mut body = url::form_urlencoded::Serializer::new("Version=2010-05-08".to_owned());
        let body = body.extend_pairs(form).finish();
        let host = self.url.strip_prefix("http://").unwrap();
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: {CONTENT_TYPE}\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261123/us-east-1/iam/aws4_request, \
             SignedHeaders=host, Signature=00\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(host).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        answer
    }

    /// Whom the gate takes for whoever signs with `credentials`, when `change` was at the proof.
    async fn identity(
        &self,
        credentials: Credentials,
        change: impl FnOnce(&mut serde_json::Value),
    ) -> Result<AwsPrincipal, Reason> {
        let endpoint = sts(&self.url);
        let now = Clock::system().now();
        let signer = Workload {
            credentials,
            region: None,
        };
        let proof = signer.prove(&challenge(GATE), &endpoint, now).unwrap();
        let (mut json, _) = parts(&proof);
        change(&mut json);
        let rules = Rules {
            endpoints: vec![endpoint],
            audience: GATE.into(),
        };
        let way = Sts::new(rules, None).unwrap();
        let proof = Proof::parse(&URL_SAFE_NO_PAD.encode(json.to_string()), way.rules(), now)?;
        way.identity(proof).await
    }

    /// Why nobody is taken.
    async fn refusal(
        &self,
        credentials: Credentials,
        change: impl FnOnce(&mut serde_json::Value),
    ) -> String {
        let reason = self.identity(credentials, change).await.unwrap_err();
        assert_eq!(reason.code(), "aws-refused");
        reason.to_string()
    }
}

fn credentials(key: &str, secret: &str) -> Credentials {
    Credentials::new(key, secret, None, None, "test")
}

#[tokio::test]
#[ignore = "needs SYNCGATE_MOTO_SERVER"]
async fn what_moto_signs_for_is_who_it_says_and_nothing_else() {
    let moto = Moto::start().await;
    let user = moto.identity(moto.key.clone(), |_| ()).await.unwrap();
    assert_eq!(user.arn.as_str(), "arn:aws:iam::123456789012:user/ci");
    assert_eq!((user.name.as_str(), user.session), ("ci", None));

    // A signed header that was changed behind the signature.
    for (header, value) in [
        ("x-syncgate-challenge", "another-challenge".to_owned()),
        ("content-type", format!("{CONTENT_TYPE}; charset=utf-8")),
    ] {
        let sentence = moto
            .refusal(moto.key.clone(), |proof| {
                proof["headers"][header] = json!(value);
            })
            .await;
        assert!(
            sentence.contains("`SignatureDoesNotMatch`"),
            "{header}: {sentence}"
        );
    }
    let wrong = credentials(moto.key.access_key_id(), "wrong");
    let sentence = moto.refusal(wrong, |_| ()).await;
    assert!(sentence.contains("`SignatureDoesNotMatch`"), "{sentence}");
    let nobody = credentials("AKIAIOSFODNN7EXAMPLE", "wrong");
    let sentence = moto.refusal(nobody, |_| ()).await;
    assert!(sentence.contains("`InvalidClientTokenId`"), "{sentence}");

    // A role that the command assumes first, as `--role-arn` has it.
    let found = aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(&moto.url)
        .credentials_provider(moto.key.clone())
        .region(GLOBAL)
        .load()
        .await;
    let role = "arn:aws:iam::123456789012:role/teams/deployer";
    let session = assumed(&found, role.into()).await.unwrap();
    assert!(session.session_token().is_some());
    let role = moto.identity(session.clone(), |_| ()).await.unwrap();
    assert_eq!(role.arn.as_str(), "arn:aws:iam::123456789012:role/deployer");
    assert_eq!(role.session.as_deref(), Some(SESSION));
    let sentence = moto
        .refusal(session, |proof| {
            proof["headers"]["x-amz-security-token"] = json!("another");
        })
        .await;
    assert!(sentence.contains("AWS STS refused the proof"), "{sentence}");
}
