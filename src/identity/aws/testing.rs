//! A proof that tests can spoil, and an STS on loopback that answers byte for byte what it is told to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{BODY, CONTENT_TYPE, Rules, StsUrl};

/// The gate of the tests.
pub(crate) const AUDIENCE: &str = "https://gate.example";
/// When the proof was signed.
pub(crate) const SIGNED: &str = "2026-11-23T14:14:30Z";

/// The rules of the gate for the STS at `url`.
pub(crate) fn rules(url: &str) -> Rules {
    Rules {
        endpoints: vec![StsUrl::parse(url).unwrap()],
        audience: AUDIENCE.into(),
    }
}

/// A proof for `url` of the right form; nobody has signed it.
pub(crate) fn proof(url: &str) -> Value {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=ASIAIOSFODNN7EXAMPLE/20261123/eu-central-1/sts/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-syncgate-audience;\
         x-syncgate-challenge, Signature={}",
        "0f".repeat(32)
    );
    let url = StsUrl::parse(url).unwrap();
    json!({
        "url": url.as_str(),
        "body": BODY,
        "headers": {
            "Authorization": authorization,
            "Content-Type": CONTENT_TYPE,
            "Host": url.authority(),
            "X-Amz-Date": "20261123T141430Z",
            "X-Amz-Security-Token": "FwoGZXIvYXdzEJr//////////wEaDA==",
            "x-syncgate-audience": AUDIENCE,
            "x-syncgate-challenge": "c4_h-a.l~lenge",
        },
    })
}

/// Its text.
pub(crate) fn encode(proof: &Value) -> String {
    URL_SAFE_NO_PAD.encode(proof.to_string())
}

/// An STS. It keeps what it was asked.
pub(crate) struct FakeSts {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<String>>>,
    stop: CancellationToken,
}

impl FakeSts {
    /// One that answers with these bytes, one part after the other, with `pause` before each but the
    /// first, and closes then.
    pub(crate) async fn start(parts: Vec<String>, pause: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sts = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            asked: Arc::default(),
            stop: CancellationToken::new(),
        };
        let tasks = TaskTracker::new();
        let (asked, stop) = (Arc::clone(&sts.asked), sts.stop.clone());
        let (parts, of_each) = (Arc::new(parts), tasks.clone());
        tasks.spawn(stop.run_until_cancelled_owned(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (asked, parts) = (Arc::clone(&asked), Arc::clone(&parts));
                of_each.spawn(async move {
                    let mut request = Vec::new();
                    while !request.ends_with(BODY.as_bytes()) {
                        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let request = String::from_utf8(request).unwrap();
                    asked.lock().unwrap().push(request);
                    for (index, part) in parts.iter().enumerate() {
                        if index > 0 {
                            tokio::time::sleep(pause).await;
                        }
                        // A client that hangs up is a part of some tests.
                        if stream.write_all(part.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }));
        sts
    }

    /// One that answers at once.
    pub(crate) async fn answering(answer: &str) -> Self {
        Self::start(vec![answer.to_owned()], Duration::ZERO).await
    }

    /// The requests, whole.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for FakeSts {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A whole answer of HTTP/1.1.
pub(crate) fn http(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

/// The answer of STS about `arn` of `account`, as it writes it.
pub(crate) fn answer(arn: &str, account: &str) -> String {
    format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  \
         <GetCallerIdentityResult>\n    <Arn>{arn}</Arn>\n    \
         <UserId>AROA123EXAMPLE123EXAMPLE:run-42</UserId>\n    <Account>{account}</Account>\n  \
         </GetCallerIdentityResult>\n  <ResponseMetadata>\n    \
         <RequestId>01234567-89ab-cdef-0123-456789abcdef</RequestId>\n  </ResponseMetadata>\n\
         </GetCallerIdentityResponse>\n"
    )
}

/// The session that answers are about.
pub(crate) const SESSION: &str = "arn:aws:sts::123456789012:assumed-role/deployer/run-42";
