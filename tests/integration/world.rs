//! A gate, and everything around it.
//!
//! [`Outside`] is what is not ours: Argo CD, the issuers, a folder with configuration and policies.
//! [`World`] is the gate over it in this process; [`Process`] is the built binary over it. [`Gate`]
//! is where callers knock, on any [`Wire`].

mod answer;
mod argocd;
mod caller;
mod evidence;
mod issuer;
mod process;
mod receiver;
mod report;
mod service;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use serde_json::Value;
use syncgate::app::App;
use syncgate::body::{self, Body};
use syncgate::clock::Clock;
use syncgate::config::Config;
use syncgate::listener::{Limits, Listener, Stop};
use syncgate::names::DecisionId;
use syncgate::policy::Source;
use syncgate::record::{self, LogEntry};
use syncgate::store::Store;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

pub(crate) use argocd::{ArgoCd, CHART, FIRST, GATE_TOKEN, SECOND, push};
use caller::moment;
pub(crate) use caller::{Call, Gate, Said, Wire, new_run, raw_http1, raw_http2};
pub(crate) use evidence::passed;
pub(crate) use issuer::Issuer;
pub(crate) use process::{Process, Ran, run, run_with};
pub(crate) use receiver::Receiver;
pub(crate) use report::{Report, report};
pub(crate) use service::{Authority, Service};

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// `future`, or the end of the test.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(tokio::time::error::Elapsed { .. }) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// Waits until `look` gives something.
pub(crate) async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(what, looking).await
}

/// Argo CD, the issuers, and a folder for one gate.
pub(crate) struct Outside {
    pub(crate) argocd: Arc<ArgoCd>,
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) tasks: TaskTracker,
    folder: TempDir,
    address: SocketAddr,
}

impl Outside {
    /// Starts it, with the shipped policies in its folder.
    pub(crate) async fn start() -> Self {
        let (stop, tasks) = (Stop::default(), TaskTracker::new());
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind(loopback, None, Limits::default())
            .await
            .unwrap();
        let address = listener.address();
        let argocd = Arc::new(ArgoCd::new());
        let issuer = Arc::new(Issuer::new(format!("http://{address}")));
        let (a, i) = (Arc::clone(&argocd), Arc::clone(&issuer));
        let answer = move |request| answer(Arc::clone(&a), Arc::clone(&i), request);
        tasks.spawn(listener.serve(answer, stop, tasks.clone()));
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("policies")).unwrap();
        let outside = Self {
            argocd,
            issuer,
            tasks,
            folder,
            address,
        };
        let shipped = Source::shipped();
        let files = shipped.policies.iter().chain(&shipped.cases);
        for file in files.chain([&shipped.schema]) {
            outside.write_policy(&file.name, &file.text);
        }
        outside
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The store of the gate.
    pub(crate) fn store(&self) -> PathBuf {
        self.path().join("syncgate.db")
    }

    /// Writes a file into the folder of policies.
    pub(crate) fn write_policy(&self, name: &str, text: &str) {
        std::fs::write(self.path().join("policies").join(name), text).unwrap();
    }

    /// The configuration: `staging` requires nothing, `prod` the suite `integration` of staging,
    /// `observed` the same but only observes. Gives its file.
    pub(crate) fn write_config(&self, listen: &str) -> PathBuf {
        let text = include_str!("world/syncgate.toml")
            .replace("@LISTEN@", listen)
            .replace("@UPSTREAM@", &self.address.to_string())
            .replace("@UPSTREAM_TOKEN@", GATE_TOKEN)
            .replace("@PEOPLE@", &self.issuer.people())
            .replace("@WORKLOADS@", &self.issuer.workloads());
        let file = self.path().join("syncgate.toml");
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Adds to the configuration, at its end. Gives its file.
    pub(crate) fn add_config(&self, text: &str) -> PathBuf {
        let file = self.path().join("syncgate.toml");
        let text = text
            .replace("@CI@", &self.issuer.ci())
            .replace("@PEOPLE@", &self.issuer.people())
            .replace("@WORKLOADS@", &self.issuer.workloads());
        let old = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{old}\n{text}")).unwrap();
        file
    }

    /// A kubeconfig for the Kubernetes API of the stand-in, `kubeconfig`.
    pub(crate) fn write_kubeconfig(&self) {
        let text = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "u", "user": {"token": "of-the-gate"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(self.path().join("kubeconfig"), text.to_string()).unwrap();
    }

    /// A certificate for `localhost` and its key, `cert.pem` and `key.pem`. Gives the first.
    fn write_certificate(&self) -> PathBuf {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = self.path().join("cert.pem");
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        let key = self.path().join("key.pem");
        std::fs::write(key, made.signing_key.serialize_pem()).unwrap();
        certificate
    }

    // Who is who

    /// An engineer: deploys to staging.
    pub(crate) fn alice(&self) -> String {
        self.issuer.person("alice", &["engineering"])
    }

    /// A release manager: deploys to prod too.
    pub(crate) fn rita(&self) -> String {
        self.issuer.person("rita", &["release"])
    }

    /// Of the security team: reads the log.
    pub(crate) fn sam(&self) -> String {
        self.issuer.person("sam", &["security"])
    }

    /// Somebody without any role.
    pub(crate) fn nobody(&self) -> String {
        self.issuer.person("nils", &["canteen"])
    }

    /// The service account of the tests of `checkout-staging`.
    pub(crate) fn tests(&self) -> String {
        self.issuer.account("shop-staging", "checkout-tests")
    }
}

/// What must not have happened fails the test that made it happen.
impl Drop for Outside {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.argocd.assert_no_offence();
        }
    }
}

/// The one listener of everything outside.
async fn answer(
    argocd: Arc<ArgoCd>,
    issuer: Arc<Issuer>,
    request: Request<Body>,
) -> Response<Body> {
    match issuer.document(request.uri().path()) {
        Some(document) => {
            let mut response = Response::new(body::full(document.to_string()));
            let kind = HeaderValue::from_static("application/json");
            response.headers_mut().insert("content-type", kind);
            response
        }
        None => argocd.answer(request).await,
    }
}

/// The gate, in this process.
pub(crate) struct World {
    pub(crate) outside: Outside,
    pub(crate) app: Arc<App>,
    pub(crate) gate: Gate,
    /// Where the API server of the cluster asks, if it does.
    pub(crate) door: Option<Gate>,
}

impl World {
    /// A gate without TLS.
    pub(crate) async fn new() -> Self {
        Self::over(Outside::start().await).await
    }

    /// A gate without TLS over what is there.
    pub(crate) async fn over(outside: Outside) -> Self {
        let config = Config::load(&outside.write_config("")).unwrap();
        Self::start(outside, config, None, Clock::system()).await
    }

    /// A gate over what is there, configured otherwise by `change`.
    pub(crate) async fn with(outside: Outside, change: impl FnOnce(&mut Config)) -> Self {
        Self::with_at(Clock::system(), outside, change).await
    }

    /// The same, by another clock.
    pub(crate) async fn with_at(
        clock: Clock,
        outside: Outside,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config::load(&outside.write_config("")).unwrap();
        change(&mut config);
        Self::start(outside, config, None, clock).await
    }

    /// Stops the gate.
    pub(crate) async fn stop(self) -> Outside {
        syncgate::serve::stop(&self.app).await;
        self.outside
    }

    /// A gate with TLS.
    pub(crate) async fn with_tls() -> Self {
        let outside = Outside::start().await;
        let certificate = outside.write_certificate();
        let tls = "certificate = \"cert.pem\"\nkey = \"key.pem\"";
        let config = Config::load(&outside.write_config(tls)).unwrap();
        Self::start(outside, config, Some(&certificate), Clock::system()).await
    }

    /// A gate without TLS, with `sections` behind its configuration.
    pub(crate) async fn with_sections(outside: Outside, sections: &str) -> Self {
        Self::at(Clock::system(), outside, sections).await
    }

    /// The same, by another clock.
    pub(crate) async fn at(clock: Clock, outside: Outside, sections: &str) -> Self {
        outside.write_config("");
        let config = Config::load(&outside.add_config(sections)).unwrap();
        Self::start(outside, config, None, clock).await
    }

    /// A gate with an admission door, and with `lines` in its section.
    pub(crate) async fn with_admission(lines: &str) -> Self {
        Self::admitting(lines, |_| {}, Clock::system()).await
    }

    /// The same, by another clock.
    pub(crate) async fn with_admission_at(clock: Clock, lines: &str) -> Self {
        Self::admitting(lines, |_| {}, clock).await
    }

    /// A gate with an admission door, and with no Argo CD that answers.
    pub(crate) async fn with_admission_alone() -> Self {
        let nowhere = |config: &mut Config| {
            config.upstream.url = "http://127.0.0.1:9".parse().unwrap();
        };
        Self::admitting("", nowhere, Clock::system()).await
    }

    /// The admission door, of a gate that has one.
    pub(crate) fn door(&self) -> &Gate {
        self.door.as_ref().unwrap()
    }

    async fn admitting(lines: &str, edit: impl FnOnce(&mut Config), clock: Clock) -> Self {
        let outside = Outside::start().await;
        let ca = outside.write_certificate();
        outside.write_kubeconfig();
        outside.write_config("");
        outside.add_config(include_str!("world/admission.toml"));
        let mut config = Config::load(&outside.add_config(lines)).unwrap();
        edit(&mut config);
        Self::start(outside, config, Some(&ca), clock).await
    }

    async fn start(outside: Outside, mut config: Config, ca: Option<&Path>, clock: Clock) -> Self {
        // Metrics are one for a process: the binary shows them.
        config.admin = None;
        let app = App::start(config, clock, Stop::default()).unwrap();
        let bound = syncgate::serve::bind(Arc::clone(&app)).await.unwrap();
        let ca_of = |url: &str| ca.filter(|_| url.starts_with("https"));
        let gate = |url: &String| Gate::new(url, ca_of(url), outside.tasks.clone());
        let (door, gate) = (bound.admission.as_ref().map(gate), gate(&bound.public));
        Self {
            outside,
            app,
            gate,
            door,
        }
    }

    /// What the log says about a decision, once it is closed.
    pub(crate) async fn record(&self, decision: DecisionId) -> LogEntry {
        closed(&self.app.store, decision).await
    }

    /// Reports a run of the suite `integration` as the test Job of `checkout-staging`: one test,
    /// with this outcome. Gives the answer to its end.
    pub(crate) async fn report(&self, outcome: &str) -> Value {
        self.gate.report(&self.outside.tests(), outcome).await
    }
}

/// What the log in `store` says about a decision, once it is closed.
pub(crate) async fn closed(store: &Store, decision: DecisionId) -> LogEntry {
    eventually("a closing entry", || async {
        let entry = record::show(store, decision).await.unwrap();
        entry.filter(|entry| entry.closing.is_some())
    })
    .await
}
