//! A receiver of messages.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use http::{HeaderMap, Response, StatusCode};
use serde_json::Value;
use syncgate::body;
use syncgate::config::{self, Secret};
use syncgate::listener::{Limits, Listener, Stop};
use tokio_util::task::TaskTracker;

use super::{Outside, World, eventually};

/// Who is told what has happened.
pub(crate) struct Receiver {
    address: SocketAddr,
    pub(crate) got: Arc<Mutex<Vec<(HeaderMap, Value)>>>,
    pub(crate) status: Arc<Mutex<StatusCode>>,
}

impl Receiver {
    /// An address at which nobody answers yet.
    pub(crate) fn down() -> Self {
        let place = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            address: place.local_addr().unwrap(),
            got: Arc::default(),
            status: Arc::default(),
        }
    }

    pub(crate) async fn up(&self, tasks: &TaskTracker) {
        let listener = Listener::bind(self.address, None, Limits::default());
        let listener = listener.await.unwrap();
        let (got, status) = (Arc::clone(&self.got), Arc::clone(&self.status));
        let answer = move |request: http::Request<body::Body>| {
            let (got, status) = (Arc::clone(&got), Arc::clone(&status));
            async move {
                let (head, body) = request.into_parts();
                let body = body::collect(body, 1 << 20).await.unwrap();
                let event = serde_json::from_slice(&body).unwrap();
                got.lock().unwrap().push((head.headers, event));
                let mut response = Response::new(body::empty());
                *response.status_mut() = *status.lock().unwrap();
                response
            }
        };
        tasks.spawn(listener.serve(answer, Stop::default(), tasks.clone()));
    }

    /// A gate that tells this receiver what `change` leaves it to want.
    pub(crate) async fn world(
        &self,
        outside: Outside,
        change: impl FnOnce(&mut config::Receiver),
    ) -> World {
        let mut receiver = config::Receiver {
            url: format!("http://{}/hook", self.address).parse().unwrap(),
            ca: None,
            token: Some(Secret::Value("canary-of-the-receiver".to_owned())),
            slack: None,
            events: Vec::new(),
            environments: Vec::new(),
        };
        change(&mut receiver);
        World::with(outside, |config| config.receivers.push(receiver)).await
    }

    /// The section that tells this receiver everything.
    pub(crate) fn section(&self) -> String {
        format!("[[notify]]\nurl = \"http://{}/hook\"\n", self.address)
    }

    pub(crate) async fn gets(&self, count: usize) -> Vec<(HeaderMap, Value)> {
        eventually("messages", || async {
            let got = self.got.lock().unwrap();
            (got.len() >= count).then(|| got.clone())
        })
        .await
    }
}
