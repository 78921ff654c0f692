//! The built binary.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::{Child, Command};

use super::{Gate, Outside, eventually, within};

const BINARY: &str = env!("CARGO_BIN_EXE_syncgate");

/// A command of the binary, without anything of this process's own environment that it reads.
fn command<I, S>(arguments: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(BINARY);
    command.args(arguments).kill_on_drop(true);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SYNCGATE_") {
            command.env_remove(name);
        }
    }
    command
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs the binary to its end.
pub(crate) async fn run<I, S>(arguments: I) -> Ran
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    run_with(arguments, &[]).await
}

/// The same with these variables in its environment.
pub(crate) async fn run_with<I, S>(arguments: I, variables: &[(&str, &str)]) -> Ran
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = command(arguments);
    command.envs(variables.iter().copied());
    let ran = within("a command", command.output()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran {
        code: ran.status.code().expect("ended by itself"),
        out: text(ran.stdout),
        err: text(ran.stderr),
    }
}

/// A running `syncgate serve`.
pub(crate) struct Process {
    child: Child,
    pub(crate) gate: Gate,
    /// Where probes and metrics are.
    pub(crate) admin: Gate,
    out: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Starts it over `outside`, and waits until it says where it listens.
    pub(crate) async fn serve(outside: &Outside) -> Self {
        Self::serve_with(outside, &[], None).await
    }

    /// The same with further arguments, and a named place at which to stop for its death.
    pub(crate) async fn serve_with(
        outside: &Outside,
        arguments: &[&str],
        failpoint: Option<&str>,
    ) -> Self {
        outside.write_config("");
        Self::serve_sections(outside, "", arguments, failpoint).await
    }

    /// The same, with `sections` behind the configuration that is written.
    pub(crate) async fn serve_sections(
        outside: &Outside,
        sections: &str,
        arguments: &[&str],
        failpoint: Option<&str>,
    ) -> Self {
        let config = outside.add_config(sections);
        let (out, log) = (outside.path().join("out"), outside.path().join("log"));
        let file = |path: &PathBuf| Stdio::from(std::fs::File::create(path).unwrap());
        let mut command = command(["serve".as_ref(), "--config".as_ref(), config.as_os_str()]);
        command
            .args(arguments)
            .stdout(file(&out))
            .stderr(file(&log));
        if let Some(failpoint) = failpoint {
            command.env("SYNCGATE_FAILPOINT", failpoint);
        }
        let mut child = command.spawn().unwrap();
        let announced = eventually("an announcement", || {
            let ended = child.try_wait().unwrap();
            let (out, log) = (&out, &log);
            async move {
                let said = std::fs::read_to_string(out).unwrap();
                let why = || std::fs::read_to_string(log).unwrap();
                assert!(ended.is_none(), "it does not start: {ended:?} {}", why());
                (said.lines().count() == 2).then_some(said)
            }
        })
        .await;
        let gate = |line: &str| {
            let url = line.split(' ').next_back().unwrap();
            Gate::new(url, None, outside.tasks.clone())
        };
        let lines: Vec<&str> = announced.lines().collect();
        assert!(lines[0].starts_with("syncgate listening on http://127.0.0.1:"));
        assert!(lines[1].starts_with("admin on http://127.0.0.1:"));
        Self {
            gate: gate(lines[0]),
            admin: gate(lines[1]),
            child,
            out,
            log,
        }
    }

    /// What it printed and logged.
    pub(crate) fn printed(&self) -> String {
        let read = |path| std::fs::read_to_string(path).unwrap();
        read(&self.out) + &read(&self.log)
    }

    /// SIGKILL.
    #[cfg(feature = "failpoints")]
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM, without waiting for the end.
    pub(crate) async fn terminate(&self) {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.await.unwrap().success());
    }

    /// Waits for the end and gives the exit code.
    pub(crate) async fn ended(&mut self) -> i32 {
        let status = within("the end", self.child.wait()).await.unwrap();
        status.code().expect("ended by itself")
    }
}
