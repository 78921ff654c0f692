//! `syncgate evidence submit` while the gate is killed and started again.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::world::{Call, Outside, Process, Wire, run};

/// An address that stays, before a gate that moves. Cuts one connection once `left` bytes of requests
/// have passed, and says so.
struct Line {
    gate: Mutex<Option<SocketAddr>>,
    left: Mutex<usize>,
    cut: Notify,
}

impl Line {
    async fn serve(self: Arc<Self>, listener: TcpListener, tasks: TaskTracker) {
        while let Ok((caller, _)) = listener.accept().await {
            let line = Arc::clone(&self);
            // Whatever becomes of one connection: the next one is another.
            tasks.spawn(async move { line.carry(caller).await });
        }
    }

    async fn carry(&self, caller: TcpStream) -> Option<()> {
        let gate = (*self.gate.lock().unwrap())?;
        let (mut from_gate, mut to_gate) = TcpStream::connect(gate).await.ok()?.into_split();
        let (mut from_caller, mut to_caller) = caller.into_split();
        let requests = async {
            let mut bytes = [0; 4096];
            loop {
                let count = from_caller.read(&mut bytes).await.ok().filter(|n| *n > 0)?;
                to_gate.write_all(&bytes[..count]).await.ok()?;
                let mut left = self.left.lock().unwrap();
                if *left > 0 {
                    *left = left.saturating_sub(count);
                    if *left == 0 {
                        *self.gate.lock().unwrap() = None;
                        self.cut.notify_one();
                        return None::<()>;
                    }
                }
            }
        };
        tokio::select! {
            _ = requests => {}
            _ = copy(&mut from_gate, &mut to_caller) => {}
        }
        Some(())
    }
}

fn report(tests: usize) -> String {
    let mut xml = format!("<testsuite name='s' tests='{tests}'>\n");
    for n in 0..tests {
        let _ = writeln!(xml, "<testcase classname='c' name='case {n}' time='0.1'/>");
    }
    xml + "</testsuite>\n"
}

/// The line is cut in the middle of a batch and the gate killed; another one takes up its file. The
/// run is there once, with each attempt once.
#[tokio::test]
async fn a_gate_that_is_killed_in_the_middle_gets_each_attempt_once() {
    let outside = Outside::start().await;
    let first = Process::serve(&outside).await;
    let (alice, tests) = (outside.alice(), outside.tests());
    first
        .gate
        .ask(Wire::Rest, &alice, &Call::sync("checkout-staging"))
        .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let line = Arc::new(Line {
        gate: Mutex::new(Some(first.gate.address)),
        left: Mutex::new(500_000),
        cut: Notify::new(),
    });
    let serving = Arc::clone(&line).serve(listener, outside.tasks.clone());
    let serving = outside.tasks.spawn(serving);
    let file = outside.path().join("report.xml");
    std::fs::write(&file, report(6_000)).unwrap();
    let submit = [
        "evidence",
        "submit",
        "--app",
        "checkout-staging",
        "--junit",
        file.to_str().unwrap(),
        "--gate",
        &url,
        "--token",
        &tests,
        "--output",
        "json",
    ];
    let (submitted, second) = tokio::join!(run(submit), async {
        line.cut.notified().await;
        first.kill().await;
        let second = Process::serve(&outside).await;
        *line.gate.lock().unwrap() = Some(second.gate.address);
        second
    });
    assert_eq!(submitted.code, 0, "{submitted:?}");
    let finished = submitted.json();
    assert_eq!(finished["tests"]["passed"], 6_000, "{finished}");
    let gate = second.gate.url();
    let shown = [
        "evidence",
        "show",
        finished["run"].as_str().unwrap(),
        "--output",
        "json",
    ];
    let options = ["--gate", gate.as_str(), "--token", tests.as_str()];
    let shown = run(shown.iter().copied().chain(options)).await.json();
    let attempts = shown["attempts"].as_array().unwrap();
    let names: HashSet<_> = attempts
        .iter()
        .map(|attempt| attempt["test"].as_str())
        .collect();
    assert_eq!((attempts.len(), names.len()), (6_000, 6_000));
    assert_eq!(shown["result"]["verdict"], "passed");
    serving.abort();
}
